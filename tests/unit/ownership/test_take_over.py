"""Which clusters a controller takes over and which it hands over."""

from __future__ import annotations

import itertools

import pytest

from dagengine.ownership.take_over import (
    HandOver,
    find_vacancies,
    plan_hand_over,
    plan_take_overs,
)
from dagengine.ownership.timings import Timings
from dagengine.store.membership import Fleet
from tests.support.fleets import cluster, fleet

TIMINGS = Timings()


def take(table: Fleet, me: int, *, free_s: float = 0.0, excluded: frozenset[str] = frozenset()):
    """Return the names that a controller takes when they have been free for `free_s`."""
    vacancies = find_vacancies({}, table, 100.0)
    planned = plan_take_overs(
        table, me, vacancies, excluded=excluded, now_s=100.0 + free_s, timings=TIMINGS
    )
    return [each.name for each in planned]


@pytest.mark.parametrize("owner", [None, 9], ids=["new", "dead owner"])
def test_take_over_of_free_cluster_is_immediate(owner: int | None) -> None:
    assert take(fleet([cluster("a", owner)], live=[1], dead=[9]), 1) == ["a"]


@pytest.mark.parametrize(("owner", "reason"), [(2, "LIVE"), (77, "joined after the read")], ids=str)
def test_take_over_of_owned_cluster_never_happens(owner: int, reason: str) -> None:
    assert take(fleet([cluster("a", owner)], live=[1, 2]), 1, free_s=99) == [], reason


def test_take_over_without_ready_file_never_happens() -> None:
    table = fleet([cluster("a")], live=[1, 2], not_ready=[(1, "a")])
    assert take(table, 1, free_s=99) == []
    assert take(table, 2) == ["a"]


def test_take_over_by_dead_controller_never_happens() -> None:
    assert take(fleet([cluster("a")], live=[2], dead=[1]), 1, free_s=99) == []


def test_take_over_of_excluded_cluster_never_happens() -> None:
    table = fleet([cluster("a"), cluster("b")], live=[1])
    assert take(table, 1, excluded=frozenset("a")) == ["b"]


def test_take_over_above_share_waits_a_second() -> None:
    table = fleet([cluster("a", 1), cluster("b", 1), cluster("c"), cluster("d")], live=[1, 2])
    assert take(table, 1, free_s=0.9) == []
    assert take(table, 1, free_s=1.0) == ["c", "d"]
    assert set(take(table, 2)) == {"c", "d"}


def test_take_over_shares_leave_each_controller_its_part() -> None:
    table = fleet([cluster(name) for name in "abcdef"], live=[1, 2, 3])
    taken = [take(table, me) for me in (1, 2, 3)]
    assert [len(each) for each in taken] == [2, 2, 2]
    assert sorted(itertools.chain(*taken)) == list("abcdef")


def test_take_over_of_reserved_cluster_waits_for_others() -> None:
    table = fleet([cluster("a", reserved_for=2)], live=[1, 2])
    assert take(table, 1, free_s=1.9) == []
    assert take(table, 1, free_s=2.0) == ["a"]
    assert take(table, 2) == ["a"]


def test_take_over_reserved_for_dead_controller_is_free() -> None:
    assert take(fleet([cluster("a", reserved_for=2)], live=[1], dead=[2]), 1) == ["a"]


def test_take_over_of_own_reservation_ignores_share() -> None:
    table = fleet([cluster("a", 1), cluster("b", reserved_for=1)], live=[1, 2])
    assert take(table, 1) == ["b"]


def test_vacancy_of_later_epoch_begins_again() -> None:
    before = find_vacancies({}, fleet([cluster("a", epoch=1)], live=[1]), 5.0)
    same = find_vacancies(before, fleet([cluster("a", epoch=1)], live=[1]), 6.0)
    later = find_vacancies(same, fleet([cluster("a", epoch=2)], live=[1]), 7.0)
    assert [each["a"].since_s for each in (before, same, later)] == [5.0, 5.0, 7.0]


def hand_over(table: Fleet, idle: str, last_at_s: float | None = None) -> HandOver | None:
    return plan_hand_over(table, 1, set(idle), last_at_s=last_at_s, now_s=100.0, timings=TIMINGS)


THREE = [cluster(name, 1) for name in "abc"]


def test_hand_over_goes_to_controller_with_fewest() -> None:
    table = fleet([*THREE, cluster("d", 2)], live=[1, 2, 3])
    assert hand_over(table, "bc") == HandOver("b", 3)


def test_hand_over_without_idle_cluster_waits() -> None:
    assert hand_over(fleet(THREE, live=[1, 2]), "") is None


def test_hand_over_needs_ready_receiver() -> None:
    table = fleet(THREE, live=[1, 2], not_ready=[(2, "a")])
    assert hand_over(table, "ab") == HandOver("b", 2)
    assert hand_over(table, "a") is None


def test_hand_over_of_similar_shares_never_happens() -> None:
    table = fleet([cluster("a", 1), cluster("b", 1), cluster("c", 2)], live=[1, 2])
    assert hand_over(table, "ab") is None


def test_hand_over_happens_once_a_minute() -> None:
    table = fleet(THREE, live=[1, 2])
    assert hand_over(table, "a", last_at_s=40.1) is None
    assert hand_over(table, "a", last_at_s=40.0) == HandOver("a", 2)


def test_hand_over_counts_clusters_on_their_way() -> None:
    table = fleet([*THREE, cluster("d", reserved_for=2)], live=[1, 2])
    assert hand_over(table, "abc") == HandOver("a", 2)
    table = fleet([*THREE, cluster("d", reserved_for=2), cluster("e", reserved_for=2)], live=[1, 2])
    assert hand_over(table, "abc") is None

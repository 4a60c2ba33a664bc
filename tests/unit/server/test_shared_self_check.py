"""The doctor's view of the controllers and clusters of a shared store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dagengine.extension import SelfCheckStatus
from dagengine.server.shared.self_check import PinnedValues, compare_lease, inspect_fleet
from dagengine.store.membership import Fleet, ServedCluster
from dagengine.store.mysql.settings import MysqlSettings
from tests.support.fleets import cluster, fleet

OK, WARN, BAD = SelfCheckStatus.OK, SelfCheckStatus.WARN, SelfCheckStatus.BAD
SETTINGS = MysqlSettings("127.0.0.1", 2881, "u", "d")


def results(of: Fleet) -> list[tuple[str, str, SelfCheckStatus]]:
    found = inspect_fleet(of, "store", ["a"])
    return [(each.subject, each.check, each.health) for each in found]


def test_fleet_of_equal_controllers_is_ok() -> None:
    of = fleet([cluster("a", 1), cluster("b", 2)], live=[1, 2])
    assert results(of) == [
        ("store", "controllers", OK),
        ("a", "owner", OK),
        ("b", "owner", OK),
    ]


def test_fleet_without_controllers_has_no_findings() -> None:
    assert results(fleet([cluster("a", 1)], dead=[1])) == [("store", "controllers", OK)]


def test_cluster_that_one_controller_can_serve_is_a_warning() -> None:
    of = fleet([cluster("a", 1)], live=[1, 2], not_ready=[(2, "a")])
    assert ("a", "owner", WARN) in results(of)
    assert ("a", "owner", OK) in results(fleet([cluster("a", 1)], live=[1]))


def test_cluster_that_no_controller_can_serve_is_bad() -> None:
    of = fleet([cluster("a", 1)], live=[1], not_ready=[(1, "a")])
    assert ("a", "owner", BAD) in results(of)
    assert ("a", "owner", BAD) in results(fleet([], live=[1]))  # in the engine file only


def test_different_cluster_files_name_their_controllers() -> None:
    of = fleet([cluster("a", 1)], live=[1, 2, 3])
    served = {**of.served, 2: [ServedCluster("a", "", "other", True)]}
    found = [each for each in inspect_fleet(replace(of, served=served), "s", []) if each.remedy]
    assert [(each.check, each.health) for each in found] == [("cluster files", WARN)]
    assert "c1, c3 / c2" in found[0].message


def test_controllers_of_two_versions_are_a_warning() -> None:
    of = fleet([], live=[1, 2])
    controllers = {**of.controllers, 2: replace(of.controllers[2], version="2")}
    (first, *_) = inspect_fleet(replace(of, controllers=controllers), "s", [])
    assert (first.health, first.message) == (WARN, "2 running: c1 (1), c2 (2)")


@pytest.mark.parametrize(
    ("pinned", "health"), [(None, OK), ("2.5", OK), ("10", BAD), ("2.50", BAD)]
)
def test_lease_is_compared_with_the_store(pinned: str | None, health: SelfCheckStatus) -> None:
    assert compare_lease(SETTINGS, PinnedValues(pinned, None)).health is health

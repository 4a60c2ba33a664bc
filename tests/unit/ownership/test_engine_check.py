"""The comparison of owned clusters with the engines that run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dagengine.model.fencing import Ownership
from dagengine.ownership.engine_check import EngineCheck, check_engines, find_unserved
from dagengine.store.membership import Fleet
from tests.support.fleets import cluster, fleet

A = Ownership("a", 1, 1, 0)
NOTHING = EngineCheck(frozenset(), (), ())


def check(table: Fleet, held: dict[str, Ownership], **more: Any) -> EngineCheck:
    sets = {"running": frozenset(), "busy": frozenset(), "failed": frozenset(), **more}
    return check_engines(table, 1, held, **sets)


def test_engine_check_of_running_engine_finds_nothing() -> None:
    table = fleet([cluster("a", 1)], live=[1])
    assert check(table, {"a": A}, running={"a"}) == NOTHING


def test_engine_check_drops_engine_of_later_epoch() -> None:
    table = fleet([cluster("a", 1, epoch=2)], live=[1])
    assert check(table, {"a": A}, running={"a"}).lost == {"a"}


def test_engine_check_drops_engine_of_other_owner() -> None:
    table = fleet([cluster("a", 2)], live=[1, 2])
    assert check(table, {"a": A}, running={"a"}).lost == {"a"}
    assert check(table, {"a": A}, running={"a"}, busy={"a"}) == NOTHING


def test_engine_check_opens_missing_engine() -> None:
    table = fleet([cluster("a", 1)], live=[1, 2])
    assert check(table, {}).reopen == (A,)
    assert check(table, {}, busy={"a"}) == NOTHING


def test_engine_check_after_failure_gives_cluster_to_other() -> None:
    table = fleet([cluster("a", 1)], live=[1, 2])
    assert check(table, {}, failed={"a"}) == EngineCheck(frozenset(), (), (A,))


def test_engine_check_after_failure_waits_without_other() -> None:
    table = fleet([cluster("a", 1)], live=[1])
    assert check(table, {}, failed={"a"}) == NOTHING
    assert check(table, {}).reopen == (A,)


def test_engine_check_without_file_gives_cluster_to_other() -> None:
    table = fleet([cluster("a", 1)], live=[1, 2], not_ready=[(1, "a")])
    assert check(table, {}).give_away == (A,)


def test_engine_check_releases_running_engine_that_is_refused() -> None:
    table = fleet([cluster("a", 1)], live=[1], not_ready=[(1, "a")])
    assert check(table, {"a": A}, running={"a"}) == replace(NOTHING, release=frozenset({"a"}))
    assert check(table, {"a": A}, running={"a"}, busy={"a"}) == NOTHING
    unannounced = replace(table, served={})
    assert check(unannounced, {"a": A}, running={"a"}) == NOTHING


def test_unserved_cluster_has_no_ready_live_controller() -> None:
    clusters = [cluster("a"), cluster("b")]
    table = fleet(clusters, live=[1], dead=[2], not_ready=[(1, "a")])
    assert find_unserved(table) == {"a"}

"""What a command affects, as listed before the question."""

from __future__ import annotations

from typing import Any

import pytest

from dagengine.cli.confirmation import (
    is_risky_stop,
    render_pass_effects,
    render_rollback_effects,
    render_stop_effects,
)
from tasks.operations.start import START

CONTROLLER = "10.0.0.9:2886"
AGENTS = [{"ip": f"10.0.0.{number}", "port": 2886, "zone": f"zone{number}"} for number in (3, 2, 1)]


def sub_task(place: str, state: str, *, times: int = 1, line: str = "") -> dict[str, Any]:
    ip, _, port = place.rpartition(":")
    return {
        "execute_agent": {"ip": ip, "port": int(port)},
        "state": state,
        "execute_times": times,
        "task_logs": [line] if line else None,
    }


DAG: dict[str, Any] = {
    "additional_data": None,
    "id": "D",
    "name": "Start OB",
    "nodes": [
        {"name": "Lock", "sub_tasks": [sub_task(CONTROLLER, "SUCCEED")]},
        {
            "name": "Check",
            "sub_tasks": [
                sub_task("10.0.0.1:2886", "SUCCEED"),
                sub_task("10.0.0.2:2886", "FAILED", line="the disk is full"),
                sub_task("10.0.0.3:2886", "PENDING", times=0),
            ],
        },
        {"name": "Verify", "sub_tasks": [sub_task(CONTROLLER, "PENDING", times=0)]},
    ],
}


@pytest.mark.parametrize(
    ("scope", "force", "terminate", "is_risky"),
    [
        ("GLOBAL", False, False, True),
        ("GLOBAL", True, False, True),
        ("ZONE", False, False, False),
        ("SERVER", False, False, False),
        ("SERVER", True, False, True),
        ("ZONE", False, True, True),
    ],
)
def test_risky_stop_ends_processes_or_affects_all(
    scope: str, force: bool, terminate: bool, is_risky: bool
) -> None:
    assert is_risky_stop(scope, force=force, terminate=terminate) is is_risky


@pytest.mark.parametrize(
    ("scope", "targets", "numbers"),
    [
        ("GLOBAL", [], [1, 2, 3]),
        ("ZONE", ["zone2", "zone3"], [2, 3]),
        ("SERVER", ["10.0.0.1:2886"], [1]),
    ],
)
def test_stop_effects_list_the_servers_in_scope(
    scope: str, targets: list[str], numbers: list[int]
) -> None:
    head, *servers = render_stop_effects(AGENTS, scope, targets, force=True, terminate=False)
    assert servers == [f"  zone{number}  10.0.0.{number}:2886" for number in numbers]
    assert f"{len(numbers)} of 3 servers at once, without a minor freeze" in head


@pytest.mark.parametrize(
    ("scope", "target"), [("SERVER", "10.0.0.1"), ("SERVER", "10.0.0.8:2886"), ("ZONE", "zone9")]
)
def test_stop_effects_list_targets_in_other_spellings(scope: str, target: str) -> None:
    """The controller decides what they mean: the user is asked in any case."""
    head, *servers = render_stop_effects(AGENTS, scope, [target], force=True, terminate=False)
    assert "1 of 3 servers at once" in head
    assert servers == [f"  {target} (as it was written)"]


@pytest.mark.parametrize(
    ("force", "terminate", "effect"),
    [
        (True, False, "ends the processes of 3 of 3 servers at once"),
        (False, True, "ends the processes of 3 of 3 servers after a minor freeze"),
        (False, False, "takes 3 of 3 servers out of service by SQL"),
    ],
)
def test_stop_effects_name_the_mode(force: bool, terminate: bool, effect: str) -> None:
    lines = render_stop_effects(AGENTS, "GLOBAL", [], force=force, terminate=terminate)
    assert effect in lines[0]


def test_rollback_effects_list_servers_that_steps_reached() -> None:
    head, *servers = render_rollback_effects(DAG, CONTROLLER)
    assert "undoes Start OB D" in head
    suffix = ", if this DAG has started it"
    assert servers == [f"  10.0.0.1:2886{suffix}", f"  10.0.0.2:2886{suffix}"]


@pytest.mark.parametrize(
    ("evidence", "times", "lines"),
    [
        ([True, False, None], [1, 1, 1], ["1:2886", "3:2886, if this DAG has started it"]),
        ([False, False, None], [1, 1, 0], []),
        ([None, None, None], [0, 0, 0], []),
    ],
)
def test_rollback_effects_list_only_started_servers(
    evidence: list[bool | None], times: list[int], lines: list[str]
) -> None:
    names = [f"10.0.0.{number}:2886" for number in (1, 2, 3)]
    ran = [sub_task(name, "SUCCEED", times=count) for name, count in zip(names, times, strict=True)]
    nodes = [*DAG["nodes"], {"name": "Start observers", "sub_tasks": ran}]
    facts = {n: {"started": s} for n, s in zip(names, evidence, strict=True) if s is not None}
    dag = {**DAG, "nodes": nodes, "additional_data": {"evidence": facts}}
    head, *servers = render_rollback_effects(dag, CONTROLLER)
    assert servers == [f"  10.0.0.{line}" for line in lines]
    assert ("has not started a server" in head) is (not lines)


def test_start_stage_is_that_of_the_operation() -> None:
    assert START == "Start observers"  # as in the core, which does not import the operations


def test_pass_effects_list_what_has_not_succeeded() -> None:
    head, *parts = render_pass_effects(DAG, None)
    assert "marks Start OB D as done" in head
    assert parts == [
        "  Check, 10.0.0.2:2886: FAILED: the disk is full",
        "  Check, 10.0.0.3:2886: PENDING",
        f"  Verify, {CONTROLLER}: PENDING",
    ]


def test_pass_effects_of_a_stage_list_only_that_stage() -> None:
    head, *parts = render_pass_effects(DAG, 3)
    assert "marks stage 3 of Start OB D as passed" in head
    assert parts == [f"  Verify, {CONTROLLER}: PENDING"]

"""The operation registry: valid operations and submissions, and errors that name the mistake."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dagengine import Operation, Outcome, Stage, StageKind, StepContext, Submission, Succeeded
from dagengine.engine.registry import Registry, unique_targets
from dagengine.errors import ConfigError, IllegalArgument, NotSerializable
from dagengine.model.records import DagRecord
from dagengine.store.contract import LastIds

NOW = datetime(2024, 1, 10, tzinfo=UTC)


async def step(context: StepContext) -> Outcome:
    return Succeeded()


NORMAL = Stage("first", StageKind.NORMAL, step)
LANE = Stage("second", StageKind.PARALLEL, step)
OPERATION = Operation("op", (NORMAL, LANE))


def submit(*targets: str, **params: Any) -> DagRecord:
    submission = Submission("op", targets, params)
    return Registry([OPERATION]).instantiate(submission, LastIds(0, 0, 0), NOW).dag


@pytest.mark.parametrize(
    ("operations", "message_part"),
    [
        ((OPERATION, OPERATION), "operation 'op' is registered twice"),
        ((Operation("op", ()),), "operation 'op' does not have stages"),
        ((Operation("op", (NORMAL, NORMAL)),), "operation 'op' has two stages 'first'"),
    ],
)
def test_registry_invalid_operation_is_refused_by_name(
    operations: tuple[Operation, ...], message_part: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Registry(operations)
    assert caught.value.message == message_part


@pytest.mark.parametrize("value", [0, -1, -0.5, math.nan, math.inf, -math.inf, 1e12])
@pytest.mark.parametrize("name", ["timeout_s", "node_timeout_s", "Operation.timeout_s"])
def test_registry_invalid_timeout_names_owner(name: str, value: float) -> None:
    if name == "Operation.timeout_s":
        invalid_operation, message_part = (
            replace(OPERATION, timeout_s=value),
            "operation 'op': timeout_s is ",
        )
    else:
        stages = (NORMAL, replace(LANE, **{name: value}))
        invalid_operation = replace(OPERATION, stages=stages)
        message_part = f"stage 'second' of operation 'op': {name} is "
    with pytest.raises(ConfigError) as caught:
        Registry([invalid_operation])
    assert caught.value.message == f"{message_part}{value}"


def test_registry_lanes_without_targets_are_refused() -> None:
    with pytest.raises(IllegalArgument, match="'op' needs at least one target"):
        submit()


def test_registry_duplicate_target_counts_once() -> None:
    assert submit("b", "a", "b").targets == unique_targets(["b", "a", "b"]) == ("b", "a")


def test_registry_parameters_are_normalized() -> None:
    given_params: dict[str, Any] = {"zones": ("z1", "z2"), "ports": {1: True}}
    dag = submit("a", **given_params)
    given_params["ports"][2] = False
    assert dag.params == {"zones": ["z1", "z2"], "ports": {"1": True}}


@pytest.mark.parametrize("value", [math.nan, {1, 2}, "\ud800", object()])
def test_registry_not_serializable_parameter_is_refused(value: object) -> None:
    with pytest.raises(NotSerializable):
        submit("a", x=value)


def test_registry_target_with_surrogate_is_refused() -> None:
    with pytest.raises(NotSerializable):
        submit("a\udcff")

"""Wrong declarations and arguments: each is refused with what is wrong, where, and a remedy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dagengine import (
    Engine,
    Failed,
    Flags,
    IdempotencyKey,
    Operation,
    Outcome,
    Problem,
    ResultUnknown,
    SqliteStore,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
    SystemClock,
    TimedOut,
)
from dagengine.errors import ConfigError, DagengineError, IllegalArgument
from dagengine.model.declarations import check_key, check_operations, check_submission


async def step(context: StepContext) -> Outcome:
    return Succeeded()


async def confirm(context: StepContext) -> bool:
    return True


def sync_step(context: StepContext) -> Outcome:
    return Succeeded()


async def step_without_arguments() -> Outcome:
    return Succeeded()


async def step_with_two_arguments(context: StepContext, more: str) -> Outcome:
    return Succeeded()


async def step_with_keyword(context: StepContext, *, more: str) -> Outcome:
    return Succeeded()


async def step_that_yields(context: StepContext) -> AsyncIterator[Outcome]:
    yield Succeeded()


class StepClass:
    async def __call__(self, context: StepContext) -> Outcome:
        return Succeeded()

    async def method(self, context: StepContext) -> Outcome:
        return Succeeded()


STAGE = Stage("work", StageKind.NORMAL, step, flags=Flags(can_rollback=True))
OPERATION = Operation("Back up", (STAGE,))
LANES = Stage("lanes", StageKind.PARALLEL, step)
ROLLBACK = Flags(can_rollback=True)


def with_stage(**changes: Any) -> Operation:
    return replace(OPERATION, stages=(replace(STAGE, **changes),))


def with_operation(**changes: Any) -> Operation:
    return replace(OPERATION, **changes)


WRONG_STAGES: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "stage 1 of operation 'Back up': name is ''"),
    ({"name": "  "}, "stage 1 of operation 'Back up': name is '  '"),
    ({"name": "\udc00"}, r"stage 1 of operation 'Back up': name is '\udc00'; give a text that"),
    ({"name": None}, "stage 1 of operation 'Back up': name is None"),
    ({"kind": "parallel"}, "kind is 'parallel'; give StageKind.NORMAL or StageKind.PARALLEL"),
    ({"kind": "serial"}, "kind is 'serial'; give StageKind"),
    ({"kind": None}, "kind is None"),
    ({"run": None}, "run is None, which is not an async function; write `async def run(context)`"),
    ({"run": "step"}, "run is 'step', which is not an async function"),
    ({"run": sync_step}, ".sync_step, which is not an async function"),
    ({"run": lambda context: Succeeded()}, "which is not an async function"),
    ({"run": StepClass}, "StepClass, which is not an async function"),
    ({"run": step_that_yields}, "which yields instead of returning"),
    ({"run": step_without_arguments}, "run cannot be called with one argument, the StepContext"),
    ({"run": step_with_two_arguments}, "missing a required argument: 'more'"),
    ({"run": step_with_keyword}, "missing a required"),
    ({"undo": sync_step}, "undo is "),
    ({"undo": step_without_arguments}, "undo cannot be called with one argument"),
    ({"undo": step, "flags": Flags()}, "do not permit a rollback; set flags=Flags(can_rollback"),
    ({"confirm_stopped": True}, "confirm_stopped is True, which is not an async function"),
    ({"confirm_stopped": step_with_two_arguments}, "confirm_stopped cannot be called with"),
    ({"flags": None}, "flags is None; give Flags(…)"),
    ({"flags": {"can_retry": True}}, "flags is {'can_retry': True}"),
    ({"flags": Flags(can_cancel="no")}, "flags is "),  # type: ignore[arg-type]
    ({"timeout_s": None}, "timeout_s is None; give seconds, more than 0"),
    ({"timeout_s": "60"}, "timeout_s is '60'"),
    ({"timeout_s": True}, "timeout_s is True"),
    ({"timeout_s": 0}, "timeout_s is 0"),
    ({"node_timeout_s": -1}, "node_timeout_s is -1"),
    ({"node_timeout_s": 30, "timeout_s": 60}, "node_timeout_s is 30; give at least the timeout_s"),
]

WRONG_OPERATIONS: list[tuple[Any, str]] = [
    (with_operation(name=""), "an operation: name is ''; give a text that is not empty"),
    (with_operation(name=7), "an operation: name is 7"),
    (with_operation(stages=()), "operation 'Back up' does not have stages; declare at least one"),
    (with_operation(stages=STAGE), "stages is Stage("),
    (with_operation(stages=None), "stages is None; give a tuple of Stage objects"),
    (with_operation(stages=(step,)), "operation 'Back up': stages[0] is "),
    (with_operation(stages=(STAGE, STAGE)), "has two stages 'work'; give each stage a name"),
    (with_operation(version=0), "version is 0; give a whole number, at least 1"),
    (with_operation(version=2**63), f"version is {2**63}"),  # too large for a store
    (with_operation(version="2"), "version is '2'"),
    (with_operation(version=True), "version is True"),
    (with_operation(timeout_s="1h"), "timeout_s is '1h'"),
    (with_operation(lock_key=""), "lock_key is ''"),
    (with_operation(lock_key="k"), "lock_key is 'k', but no stage takes the lock; set takes_lock"),
    (with_operation(takes_lock="work"), "takes_lock is 'work', but lock_key is not set"),
    (with_operation(lock_key="k", takes_lock="other"), "takes_lock is 'other'; give the name of"),
    (
        with_operation(stages=(STAGE, LANES), lock_key="k", takes_lock="lanes"),
        "takes_lock is 'lanes'; give the name of a normal stage of the operation: work",
    ),
    (STAGE, "the engine: an operation is Stage("),
    ("Back up", "the engine: an operation is 'Back up'; give an Operation object"),
]


@pytest.mark.parametrize(("changes", "part"), WRONG_STAGES)
def test_stage_declared_wrong_is_refused(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_operations([with_stage(**changes)])
    assert part in str(caught.value)
    assert "operation 'Back up'" in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(("operation", "part"), WRONG_OPERATIONS)
def test_operation_declared_wrong_is_refused(operation: Any, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_operations([operation])
    assert part in str(caught.value)
    assert caught.value.remedy


def test_stage_with_called_function_is_refused() -> None:
    with pytest.raises(ConfigError, match="was called already; give the function itself"):
        check_operations([with_stage(run=step(None))])  # type: ignore[arg-type]


@pytest.mark.parametrize("operations", [OPERATION, "Back up", None, 7, {"Back up": OPERATION}])
def test_operations_of_wrong_type_are_refused(operations: object) -> None:
    with pytest.raises(ConfigError, match=r"the engine: operations is .*; give a list"):
        check_operations(operations)


def test_operations_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match="'Back up' is registered twice; register each"):
        check_operations([OPERATION, OPERATION])


@pytest.mark.parametrize(
    "run",
    [
        step,
        StepClass(),
        StepClass().method,
        partial(step_with_two_arguments, more="x"),
        partial(step_with_keyword, more="x"),
    ],
)
def test_stage_with_async_callable_is_accepted(run: Any) -> None:
    operation = replace(OPERATION, stages=[replace(STAGE, run=run, undo=run)])  # type: ignore[arg-type]
    assert check_operations(iter([operation])) == (operation,)


def test_operation_that_declares_its_lock_is_accepted() -> None:
    operation = replace(OPERATION, lock_key="k", takes_lock="work")
    assert check_operations([operation]) == (operation,)


@pytest.mark.parametrize(
    ("argument", "value", "part"),
    [
        ("store", "dags.sqlite", "store is 'dags.sqlite'; give a Store object, such as SqliteSt"),
        ("store", Path("dags.sqlite"), "store is "),
        ("store", None, "store is None"),
        ("store", SqliteStore, "store is dagengine.store.sqlite.store.SqliteStore"),
        ("clock", SystemClock, "clock is dagengine.runtime.clock.SystemClock"),
        ("clock", 0.0, "clock is 0.0; give an object of Clock"),
        ("advertise", "127.0.0.1:2886", "advertise is '127.0.0.1:2886'; give an object of Agent"),
        ("confirm_timeout_s", None, "confirm_timeout_s is None; give seconds"),
        ("confirm_timeout_s", 0, "confirm_timeout_s is 0"),
        ("retention", 90, "retention is 90; give an object of Retention"),
        ("operations", OPERATION, "operations is Operation("),
    ],
)
def test_engine_argument_wrong_is_refused(
    tmp_path: Path, argument: str, value: Any, part: str
) -> None:
    arguments: dict[str, Any] = {"store": SqliteStore(tmp_path / "s"), "operations": [OPERATION]}
    with pytest.raises(ConfigError) as caught:
        Engine(**{**arguments, argument: value})
    assert f"the engine: {part}" in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("submission", "part"),
    [
        ("Back up", "the call of submit: submission is 'Back up'; give an object of Submission"),
        (OPERATION, "the call of submit: submission is Operation("),
        (Submission(OPERATION), "operation is Operation("),  # type: ignore[arg-type]
        (Submission("Back up", "abc"), "the submission of 'Back up': targets is 'abc'; give a"),  # type: ignore[arg-type]
        (Submission("Back up", None), "targets is None"),  # type: ignore[arg-type]
        (Submission("Back up", ("a", 1)), "a target is 1"),  # type: ignore[arg-type]
        (Submission("Back up", ("a", "")), "a target is ''"),
        (Submission("Back up", (), "x"), "params is 'x'; give a dict"),  # type: ignore[arg-type]
        (Submission("Back up", (), {1: 2}), "a key of params is 1"),  # type: ignore[dict-item]
    ],
)
def test_submission_of_wrong_types_is_refused(submission: Any, part: str) -> None:
    with pytest.raises(IllegalArgument) as caught:
        check_submission(submission)
    assert part in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "key",
    [
        "text",
        IdempotencyKey("text", b"\0"),  # type: ignore[arg-type]
        IdempotencyKey("\ud800", "0"),
    ],
)
def test_idempotency_key_of_wrong_type_is_refused(key: Any) -> None:
    with pytest.raises(IllegalArgument, match="the call of submit: key"):
        check_key(key)


PROBLEM = Problem("Test.Code", "it is broken")
WRONG_OUTCOMES: list[tuple[Callable[[], object], str]] = [
    (lambda: Succeeded("done"), "the outcome Succeeded: data is 'done'; give a dict"),  # type: ignore[arg-type]
    (lambda: Succeeded(None), "data is None"),  # type: ignore[arg-type]
    (lambda: Succeeded(evidence=["x"]), "evidence is ['x']"),  # type: ignore[arg-type]
    (lambda: Succeeded(summary=3), "summary is 3; give a text"),  # type: ignore[arg-type]
    (lambda: Failed("text"), "the outcome Failed: problem is 'text'; give Problem(code"),  # type: ignore[arg-type]
    (lambda: TimedOut("text"), "the outcome TimedOut: problem is 'text'"),  # type: ignore[arg-type]
    (lambda: ResultUnknown(ValueError("x")), "the outcome ResultUnknown: problem is Value"),  # type: ignore[arg-type]
    (lambda: Failed(PROBLEM, "x"), "the outcome Failed: evidence is 'x'"),  # type: ignore[arg-type]
    (lambda: Problem(404, "x"), "the outcome Problem: code is 404"),  # type: ignore[arg-type]
    (lambda: Problem("Test.Code", ValueError("x")), "the outcome Problem: message is"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("create", "part"), WRONG_OUTCOMES)
def test_outcome_of_wrong_types_is_refused(create: Callable[[], object], part: str) -> None:
    with pytest.raises(DagengineError) as caught:
        create()
    assert part in str(caught.value)
    assert caught.value.remedy

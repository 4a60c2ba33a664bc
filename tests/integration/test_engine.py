"""The engine on a real store: every operator, every outcome, two at once, and restarts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dagengine import (
    DagDetail,
    Engine,
    Failed,
    Flags,
    Operation,
    Operator,
    Outcome,
    Problem,
    SqliteStore,
    Stage,
    StageKind,
    State,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.clock import Clock
from dagengine.errors import (
    Conflict,
    LockHeld,
    OperatorRefused,
    StoreUnusable,
    TaskNotFound,
    UnknownOperation,
)
from dagengine.testing import CrashingStore, FakeClock, Gate, gated

NORMAL, LANE = StageKind.NORMAL, StageKind.PARALLEL
ALL = Flags(can_rollback=True)
BROKEN = Failed(Problem("Test.Broken", "it is broken", "mend it"))


class Script:
    """Steps that do what a test says, and a count of what they did."""

    def __init__(self) -> None:
        self.outcomes: dict[tuple[str, str | None], Outcome] = {}
        self.ran: Counter[tuple[str, str | None]] = Counter()
        self.undone: Counter[tuple[str, str | None]] = Counter()
        self.undo_fails: set[tuple[str, str | None]] = set()

    def stage(self, name: str, kind: StageKind, **more: Any) -> Stage:
        async def run(context: StepContext) -> Outcome:
            self.ran[name, context.target] += 1
            await context.log(f"{name} ran")
            return self.outcomes.get((name, context.target), Succeeded({"from": name}))

        async def undo(context: StepContext) -> Outcome:
            self.undone[name, context.target] += 1
            return BROKEN if (name, context.target) in self.undo_fails else Succeeded()

        return Stage(name, kind, run, **{"flags": ALL, "undo": undo, **more})

    def lock_stage(self) -> Stage:
        async def run(context: StepContext) -> Outcome:
            reply = await context.acquire_lock(context.params.get("force_pass", ()))
            if reply.holder is None:
                await context.log("broken" if reply.broken else "taken")
                return Succeeded()
            return Failed(Problem("Test.Locked", await context.describe_holder(reply.holder)))

        return Stage("lock", NORMAL, run, flags=ALL)

    def operation(self, **changes: Any) -> Operation:
        stages = (
            self.lock_stage(),
            self.stage("check", LANE),
            self.stage("start", LANE),
            self.stage("verify", NORMAL),
        )
        return replace(Operation("op", stages, lock_key="k"), **changes)


@pytest.fixture
def script() -> Script:
    return Script()


Open = Callable[..., AbstractAsyncContextManager[Engine]]


@pytest.fixture
def open_engine(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def open_it(
        *operations: Operation, store: SqliteStore | None = None, clock: Clock | None = None
    ) -> AsyncIterator[Engine]:
        store = store or SqliteStore(tmp_path / "store.sqlite")
        engine = Engine(store=store, operations=operations, clock=clock, cancel_proof_s=1)
        async with asyncio.timeout(30), engine:
            yield engine

    return open_it


async def submit(engine: Engine, *targets: str, **params: Any) -> int:
    accepted = await engine.submit(Submission("op", targets or ("a", "b"), params))
    assert accepted.dag.state is State.READY
    return accepted.dag.dag_id


async def run(engine: Engine, *targets: str, **params: Any) -> DagDetail:
    return await engine.wait(await submit(engine, *targets, **params))


async def operate(engine: Engine, dag_id: int, operator: Operator) -> DagDetail:
    await engine.operate_dag(dag_id, operator, by="tester")
    return await engine.wait(dag_id)


def states(detail: DagDetail) -> list[str]:
    assert detail.nodes is not None
    return [f"{n.node.state}+{n.node.operator}" for n in detail.nodes]


def task(detail: DagDetail, stage: int, target: str | None) -> Any:
    assert detail.nodes is not None
    tasks = detail.nodes[stage - 1].sub_tasks
    return next(found for found in tasks if found.sub_task.target == target)


def how(detail: DagDetail) -> tuple[str, str, int]:
    return str(detail.dag.state), str(detail.dag.operator), detail.dag.stage


# --- running -----------------------------------------------------------------------------------


async def test_a_dag_runs_to_its_end_and_everything_is_kept(
    open_engine: Open, script: Script
) -> None:
    async with open_engine(script.operation()) as engine:
        detail = await run(engine)
        assert how(detail) == ("SUCCEED", "RUN", 4)
        assert states(detail) == ["SUCCEED+RUN"] * 4
        assert set(script.ran.values()) == {1}
        assert [line.content for line in task(detail, 3, "b").logs] == ["start ran"]
        assert task(detail, 3, "b").sub_task.data == {"from": "start"}
        assert engine.holder("k") is None
        (audit,) = await engine.list_audit(detail.dag.dag_id)
        assert audit.action == "START"


async def test_a_failed_lane_ends_alone_and_retry_touches_only_it(
    open_engine: Open, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        assert how(failed) == ("FAILED", "RUN", 3)
        assert states(failed)[2:] == ["FAILED+RUN", "SUCCEED+RUN"]
        assert task(failed, 3, "a").logs[-1].content == (
            "ERROR: [Test.Broken]: it is broken; mend it"
        )
        assert engine.holder("k") is None
        script.outcomes.clear()
        mended = await operate(engine, failed.dag.dag_id, Operator.RETRY)
        assert how(mended) == ("SUCCEED", "RUN", 4)
        assert script.ran["start", "a"] == 2
        assert script.ran["check", "a"] == 2
        assert script.ran["start", "b"] == script.ran["check", "b"] == 1
        assert script.ran["verify", None] == 2
        attempts = await engine.find_attempts(task(mended, 3, "a").sub_task.sub_task_id)
        assert [(a.attempt_no, a.outcome) for a in attempts] == [(1, "Failed"), (2, "Succeeded")]
        assert [a.action for a in await engine.list_audit(1)] == ["RETRY", "START"]


async def test_a_step_that_raises_is_a_failed_step(open_engine: Open, script: Script) -> None:
    async def crash(context: StepContext) -> Outcome:
        raise ValueError("surprise")

    operation = Operation("op", (Stage("crash", NORMAL, crash),))
    async with open_engine(operation) as engine:
        detail = await run(engine)
        assert "stopped on ValueError: surprise" in task(detail, 1, None).logs[-1].content


async def test_the_same_submission_within_the_window_is_the_same_dag(
    open_engine: Open, script: Script
) -> None:
    gate, clock = Gate(), FakeClock()

    async def hold(context: StepContext) -> None:
        await gate.wait()

    async with open_engine(gated(script.operation(), "check", before=hold), clock=clock) as engine:
        wish = Submission("op", ("a",))
        first = await engine.submit(wish, dedupe_window_s=1)
        twin = await engine.submit(wish, dedupe_window_s=1)
        assert twin.dag.dag_id == first.dag.dag_id
        other = await engine.submit(Submission("op", ("b",)), dedupe_window_s=1)
        assert other.dag.dag_id != first.dag.dag_id
        clock.advance(1.5)
        later = await engine.submit(wish, dedupe_window_s=1)
        assert later.dag.dag_id not in (first.dag.dag_id, other.dag.dag_id)
        gate.open()
        await engine.wait(first.dag.dag_id)


async def test_an_unknown_operation_is_refused_by_name(open_engine: Open, script: Script) -> None:
    async with open_engine(script.operation()) as engine:
        with pytest.raises(UnknownOperation, match=r"no operation 'nope'.*known: op"):
            await engine.submit(Submission("nope"))
        with pytest.raises(TaskNotFound):
            await engine.operate_dag(99, Operator.CANCEL)


# --- time --------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["attempt", "node", "DAG"])
async def test_not_in_time_is_told_apart_from_failed_and_names_whose_time_it_was(
    open_engine: Open, whose: str
) -> None:
    async def hang(context: StepContext) -> Outcome:
        await asyncio.Event().wait()
        return Succeeded()

    stage = Stage(
        "hang",
        NORMAL,
        hang,
        timeout_s=0.05 if whose == "attempt" else 60,
        node_timeout_s=0.05 if whose == "node" else None,
    )
    operation = Operation("op", (stage,), timeout_s=0.05 if whose == "DAG" else None)
    async with open_engine(operation) as engine:
        detail = await run(engine)
        (attempt,) = await engine.find_attempts(1)
        assert attempt.outcome == "TimedOut"
        assert f"the 0.05 s of its {whose} are over" in task(detail, 1, None).logs[-1].content


async def test_a_jump_of_the_wall_clock_ends_nothing(open_engine: Open, script: Script) -> None:
    clock = FakeClock()

    async def jump(context: StepContext) -> None:
        clock.jump(3600 if context.target == "a" else -7200)

    operation = gated(script.operation(timeout_s=600), "check", before=jump)
    async with open_engine(operation, clock=clock) as engine:
        assert how(await run(engine)) == ("SUCCEED", "RUN", 4)


async def test_a_late_success_is_a_success_that_says_so(open_engine: Open) -> None:
    async def late(context: StepContext) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Succeeded()
        raise AssertionError

    operation = Operation("op", (Stage("late", NORMAL, late, timeout_s=0.02),))
    async with open_engine(operation) as engine:
        detail = await run(engine)
        assert detail.dag.state is State.SUCCEED
        assert task(detail, 1, None).logs[-1].content == "WARN: done, but not within 0.02 s"


@pytest.mark.parametrize(
    ("proof", "outcome"), [(True, "Cancelled"), (False, "ResultUnknown"), (None, "ResultUnknown")]
)
async def test_the_end_of_a_cancelled_step_is_proven_or_its_result_is_unknown(
    open_engine: Open, script: Script, proof: bool | None, outcome: str
) -> None:
    gate = Gate()

    async def settle(context: StepContext) -> bool:
        if proof is None:
            await asyncio.Event().wait()
        return bool(proof)

    async def hold(context: StepContext) -> None:
        await gate.wait()

    stage = replace(script.stage("start", LANE), settle=settle)
    operation = gated(Operation("op", (stage,)), "start", before=hold)
    async with open_engine(operation) as engine:
        dag_id = await submit(engine, "a")
        await gate.reached.wait()
        detail = await operate(engine, dag_id, Operator.CANCEL)
        assert how(detail) == ("FAILED", "CANCEL", 1)
        assert [a.outcome for a in await engine.find_attempts(1)] == [outcome]
        if outcome == "ResultUnknown":
            assert "is not proven" in task(detail, 1, "a").logs[-1].content


async def test_a_server_whose_end_is_not_proven_stays_marked_until_a_step_has_looked(
    open_engine: Open, script: Script
) -> None:
    gate = Gate()
    seen: list[str] = []

    async def hold(context: StepContext) -> None:
        await gate.wait()

    async def settle(context: StepContext) -> bool:
        return False

    async def look(context: StepContext) -> Outcome:
        if (mark := context.unproven) is not None:
            seen.append(f"{mark.target} since DAG {mark.dag_id} '{mark.stage}'")
            await context.mark_proven()
        return Succeeded()

    stage = replace(script.stage("start", LANE), settle=settle)
    async with open_engine(gated(Operation("op", (stage,)), "start", before=hold)) as engine:
        first = await hold_at(engine, gate, "a")
        await operate(engine, first, Operator.CANCEL)
    looking = Operation("op", (Stage("start", LANE, look),))
    async with open_engine(looking) as engine:  # the mark outlives the controller
        await run(engine, "a", "b")
        await run(engine, "a", "b")
    assert seen == [f"a since DAG {first} 'start'"]


# --- operators ---------------------------------------------------------------------------------


async def hold_at(engine: Engine, gate: Gate, *targets: str) -> int:
    dag_id = await submit(engine, *targets)
    await gate.reached.wait()
    return dag_id


async def test_cancel_ends_what_runs_and_leaves_the_rest(open_engine: Open, script: Script) -> None:
    gate = Gate()

    async def hold(context: StepContext) -> None:
        if context.target == "a":
            await gate.wait()

    async with open_engine(gated(script.operation(), "start", before=hold)) as engine:
        dag_id = await hold_at(engine, gate)
        assert engine.holder("k") is not None
        detail = await operate(engine, dag_id, Operator.CANCEL)
        assert how(detail) == ("FAILED", "CANCEL", 3)
        assert task(detail, 3, "a").logs[-1].content == "sub task cancelled"
        assert states(detail)[3] == "PENDING+RUN"
        assert script.ran["verify", None] == 0
        assert engine.holder("k") is None


async def test_operators_are_refused_where_they_make_no_sense(
    open_engine: Open, script: Script
) -> None:
    async with open_engine(script.operation()) as engine:
        dag_id = (await run(engine)).dag.dag_id
        for operator, code in (
            (Operator.CANCEL, "CancelFinishedDag"),
            (Operator.RETRY, "RetryNotFailedDag"),
            (Operator.ROLLBACK, "RollbackNotFailedDag"),
            (Operator.PASS, "PassNotFailedDag"),
            (Operator.RUN, "NotSupport"),
        ):
            with pytest.raises(OperatorRefused) as caught:
                await engine.operate_dag(dag_id, operator)
            assert caught.value.err_code == f"Task.Dag.Operator.{code}"
        assert [row.action for row in await engine.list_audit()] == ["START"]


@pytest.mark.parametrize(
    ("flag", "operator", "code"),
    [
        ("can_retry", Operator.RETRY, "RetryNotAllowed"),
        ("can_rollback", Operator.ROLLBACK, "RollbackNotAllowed"),
        ("can_pass", Operator.PASS, "PassNotAllowed"),
    ],
)
async def test_a_flag_that_is_missing_refuses_and_names_the_stage(
    open_engine: Open, script: Script, flag: str, operator: Operator, code: str
) -> None:
    script.outcomes["start", "a"] = BROKEN
    stage = script.stage("start", LANE, flags=replace(ALL, **{flag: False}))
    async with open_engine(Operation("op", (stage,))) as engine:
        dag_id = (await run(engine)).dag.dag_id
        with pytest.raises(OperatorRefused, match="'start'") as caught:
            await engine.operate_dag(dag_id, operator)
        assert caught.value.err_code == f"Task.Dag.Operator.{code}"


async def test_pass_calls_everything_unfinished_done(open_engine: Open, script: Script) -> None:
    script.outcomes["check", None] = BROKEN
    script.outcomes["start", "a"] = script.outcomes["start", "b"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        passed = await operate(engine, failed.dag.dag_id, Operator.PASS)
        assert how(passed) == ("SUCCEED", "PASS", 3)
        assert states(passed) == ["SUCCEED+RUN", "SUCCEED+RUN", "SUCCEED+PASS", "SUCCEED+PASS"]
        assert script.ran["verify", None] == 0


async def test_a_passed_node_lets_its_lanes_go_on(open_engine: Open, script: Script) -> None:
    script.outcomes["check", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        assert script.ran["verify", None] == 1
        assert failed.nodes is not None
        node_id = failed.nodes[1].node.node_id
        await engine.pass_node(node_id, by="me", reason="looked at it")
        done = await engine.wait(failed.dag.dag_id)
        assert how(done) == ("SUCCEED", "RUN", 4)
        assert states(done)[1] == "SUCCEED+PASS"
        assert script.ran["check", "a"] == 1
        assert script.ran["start", "a"] == script.ran["start", "b"] == 1
        assert script.ran["verify", None] == 2
        row = (await engine.list_audit(failed.dag.dag_id))[0]
        assert (row.action, row.node_id, row.by, row.reason) == (
            "PASS",
            node_id,
            "me",
            "looked at it",
        )
        with pytest.raises(OperatorRefused) as caught:
            await engine.pass_node(node_id)
        assert caught.value.err_code == "Task.Node.Operator.PassNotFailedDag"


async def test_a_rollback_undoes_downwards_what_has_run(open_engine: Open, script: Script) -> None:
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        undone = await operate(engine, failed.dag.dag_id, Operator.ROLLBACK)
        assert how(undone) == ("SUCCEED", "ROLLBACK", 1)
        assert states(undone) == ["SUCCEED+ROLLBACK"] * 4
        assert script.undone == Counter(
            dict.fromkeys(
                [("verify", None)]
                + [(name, target) for name in ("check", "start") for target in "ab"],
                1,
            )
        )
        assert next(iter(script.undone)) == ("verify", None)
        assert {name for name, _ in list(script.undone)[1:3]} == {"start"}
        assert engine.holder("k") is None


async def test_a_failed_rollback_can_be_repeated_and_what_is_undone_stays_so(
    open_engine: Open, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    script.undo_fails.add(("start", "b"))
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        again = await operate(engine, failed.dag.dag_id, Operator.ROLLBACK)
        assert how(again) == ("FAILED", "ROLLBACK", 3)
        assert states(again)[:2] == ["PENDING+ROLLBACK"] * 2
        script.undo_fails.clear()
        undone = await operate(engine, failed.dag.dag_id, Operator.ROLLBACK)
        assert how(undone) == ("SUCCEED", "ROLLBACK", 1)
        assert script.undone["start", "b"] == 2
        assert script.undone["start", "a"] == script.undone["verify", None] == 1


async def test_a_retry_after_a_failed_rollback_does_everything_again(
    open_engine: Open, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    script.undo_fails.add(("start", "b"))
    async with open_engine(script.operation()) as engine:
        dag_id = (await run(engine)).dag.dag_id
        await operate(engine, dag_id, Operator.ROLLBACK)
        script.outcomes.clear()
        assert how(await operate(engine, dag_id, Operator.RETRY)) == ("SUCCEED", "RUN", 4)
        assert script.ran["start", "b"] == 2


async def test_a_rollback_is_refused_once_another_dag_has_held_the_lock(
    open_engine: Open, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        failed = await run(engine)
        await run(engine)
        with pytest.raises(OperatorRefused, match="another DAG has held the lock"):
            await engine.operate_dag(failed.dag.dag_id, Operator.ROLLBACK)


@pytest.mark.parametrize("operator", [Operator.RETRY, Operator.ROLLBACK, Operator.PASS])
async def test_what_goes_on_needs_the_lock(
    open_engine: Open, script: Script, operator: Operator
) -> None:
    script.outcomes["start", "a"] = BROKEN
    gate = Gate()

    async def hold(context: StepContext) -> None:
        if context.target == "slow":
            await gate.wait()

    async with open_engine(gated(script.operation(), "check", before=hold)) as engine:
        failed = await run(engine)
        slow = await hold_at(engine, gate, "slow")
        assert failed.nodes is not None
        asking = (
            engine.pass_node(failed.nodes[2].node.node_id)
            if operator is Operator.PASS
            else engine.operate_dag(failed.dag.dag_id, operator)
        )
        with pytest.raises(LockHeld, match=engine.generic_id(slow)):
            await asking
        untouched = await engine.find_dag(failed.dag.dag_id)
        assert untouched == failed
        gate.open()
        await engine.wait(slow)


async def test_of_two_operators_at_once_one_wins_and_the_other_is_told(
    open_engine: Open, script: Script
) -> None:
    script.outcomes["start", "a"] = BROKEN
    async with open_engine(script.operation()) as engine:
        dag_id = (await run(engine)).dag.dag_id
        results = await asyncio.gather(
            engine.operate_dag(dag_id, Operator.PASS),
            engine.operate_dag(dag_id, Operator.RETRY),
            engine.operate_dag(dag_id, Operator.PASS),
            return_exceptions=True,
        )
        refused = [result for result in results if result is not None]
        assert len(refused) == 2, results
        assert all(isinstance(exc, OperatorRefused | Conflict) for exc in refused)
        await engine.wait(dag_id)
        assert len(await engine.list_audit(dag_id)) == 2


# --- the lock ----------------------------------------------------------------------------------


async def test_the_second_dag_fails_at_stage_1_and_names_the_holder(
    open_engine: Open, script: Script
) -> None:
    gate = Gate()

    async def hold(context: StepContext) -> None:
        await gate.wait()

    async with open_engine(gated(script.operation(), "check", before=hold)) as engine:
        holder = await hold_at(engine, gate)
        second = await run(engine)
        assert how(second) == ("FAILED", "RUN", 1)
        said = task(second, 1, None).logs[-1].content
        assert engine.generic_id(holder) in said
        assert "'check'" in said
        gate.open()
        assert (await engine.wait(holder)).dag.state is State.SUCCEED


async def test_a_force_pass_ends_the_holder_and_hands_the_lock_over(
    open_engine: Open, script: Script
) -> None:
    gate = Gate()

    async def hold(context: StepContext) -> None:
        if context.target == "stuck":
            await gate.wait()

    async with open_engine(gated(script.operation(), "check", before=hold)) as engine:
        holder = await hold_at(engine, gate, "stuck")
        token = engine.holder("k").token  # type: ignore[union-attr]
        heir = await run(engine, "b", force_pass=[engine.generic_id(holder)])
        assert how(heir) == ("SUCCEED", "RUN", 4)
        assert task(heir, 1, None).logs[0].content == "broken"
        ended = await engine.find_dag(holder)
        assert ended is not None
        assert (ended.dag.state, ended.dag.operator) == (State.SUCCEED, Operator.PASS)
        assert ended.dag.heir is None
        assert heir.dag.held == token + 1
        assert [row.action for row in await engine.list_audit(holder)] == ["FORCE_PASS", "START"]


async def test_a_force_pass_of_another_id_changes_nothing(
    open_engine: Open, script: Script
) -> None:
    gate = Gate()

    async def hold(context: StepContext) -> None:
        if context.target == "slow":
            await gate.wait()

    async with open_engine(gated(script.operation(), "check", before=hold)) as engine:
        holder = await hold_at(engine, gate, "slow")
        refused = await run(engine, "b", force_pass=[engine.generic_id(99), "garbage"])
        assert how(refused) == ("FAILED", "RUN", 1)
        gate.open()
        assert (await engine.wait(holder)).dag.state is State.SUCCEED
        free = await run(engine, "b", force_pass=[engine.generic_id(holder)])
        assert task(free, 1, None).logs[0].content == "taken"


async def test_a_force_pass_of_what_cannot_be_cancelled_is_refused_by_the_holder(
    open_engine: Open, script: Script
) -> None:
    gate = Gate()

    async def hold(context: StepContext) -> None:
        if context.target == "slow":
            await gate.wait()

    rigid = script.stage("check", LANE, flags=Flags(can_cancel=False))
    operation = Operation("op", (script.lock_stage(), rigid), lock_key="k")
    async with open_engine(gated(operation, "check", before=hold)) as engine:
        holder = await hold_at(engine, gate, "slow")
        refused = await run(engine, "b", force_pass=[engine.generic_id(holder)])
        assert how(refused) == ("FAILED", "RUN", 1)
        gate.open()
        assert (await engine.wait(holder)).dag.state is State.SUCCEED


# --- why is it not moving ------------------------------------------------------------------------


async def test_every_unfinished_sub_task_says_what_it_waits_for(
    open_engine: Open, script: Script
) -> None:
    gate = Gate()

    async def hold(context: StepContext) -> None:
        if context.target == "a":
            context.wait_for("sql", "port 2881", last="refused", next_in_s=1)
            await gate.wait()

    async with open_engine(gated(script.operation(), "check", before=hold)) as engine:
        dag_id = await hold_at(engine, gate)
        detail = await engine.find_dag(dag_id)
        assert detail is not None
        wait = task(detail, 2, "a").wait
        assert (wait.kind, wait.on, wait.last) == ("sql", "port 2881", "refused")
        assert wait.deadline_at is not None
        assert wait.next_at > wait.since_at
        assert (task(detail, 3, "a").wait.kind, task(detail, 3, "a").wait.on) == (
            "stage",
            "'check' of a",
        )
        assert task(detail, 4, None).wait.kind == "stage"
        assert task(detail, 1, None).wait is None
        gate.open()
        ended = await engine.wait(dag_id)
        assert ended.nodes is not None
        assert all(t.wait is None for node in ended.nodes for t in node.sub_tasks)


# --- restarts ----------------------------------------------------------------------------------


async def test_a_stopped_engine_goes_on_where_it_was_and_that_costs_no_attempt(
    open_engine: Open, script: Script
) -> None:
    gate = Gate()

    async def hold(context: StepContext) -> None:
        await gate.wait()

    async with open_engine(gated(script.operation(), "start", before=hold)) as engine:
        dag_id = await hold_at(engine, gate)
    async with open_engine(script.operation()) as engine:
        detail = await engine.wait(dag_id)
        assert how(detail) == ("SUCCEED", "RUN", 4)
        found = task(detail, 3, "a").sub_task
        assert (found.attempt_no, found.execute_times) == (2, 1)
        outcomes = [a.outcome for a in await engine.find_attempts(found.sub_task_id)]
        assert outcomes == ["Interrupted", "Succeeded"]
        assert script.ran["check", "a"] == 1


async def test_what_may_not_continue_fails_at_the_restart(
    open_engine: Open, script: Script
) -> None:
    gate = Gate()

    async def hold(context: StepContext) -> None:
        await gate.wait()

    stage = script.stage("once", NORMAL, flags=replace(ALL, can_continue=False))
    operation = Operation("op", (stage,))
    async with open_engine(gated(operation, "once", before=hold)) as engine:
        dag_id = await hold_at(engine, gate)
    async with open_engine(operation) as engine:
        detail = await engine.wait(dag_id)
        assert "interrupted by a restart" in task(detail, 1, None).logs[-1].content


@pytest.mark.parametrize("case", ["unknown", "newer"])
async def test_a_dag_that_cannot_be_run_here_fails_by_name_and_can_be_passed(
    open_engine: Open, script: Script, case: str
) -> None:
    gate = Gate()

    async def hold(context: StepContext) -> None:
        await gate.wait()

    newer = replace(script.operation(), version=2)
    async with open_engine(gated(newer, "check", before=hold)) as engine:
        dag_id = await hold_at(engine, gate)
    here = (script.operation(),) if case == "newer" else ()
    async with open_engine(*here) as engine:
        detail = await engine.wait(dag_id)
        assert detail.dag.state is State.FAILED
        said = task(detail, 2, "a").logs[-1].content
        assert ("version 2" if case == "newer" else "no operation 'op'") in said
        assert engine.holder("k") is None
        with pytest.raises(UnknownOperation):
            await engine.operate_dag(dag_id, Operator.RETRY)
        assert how(await operate(engine, dag_id, Operator.PASS))[:2] == ("SUCCEED", "PASS")


async def test_a_cancel_that_was_under_way_is_finished_after_the_restart(
    open_engine: Open, script: Script
) -> None:
    gate, settling = Gate(), Gate()

    async def hold(context: StepContext) -> None:
        await gate.wait()

    async def settle(context: StepContext) -> bool:
        await settling.wait()
        return True

    stage = replace(script.stage("start", LANE), settle=settle)
    operation = Operation("op", (script.lock_stage(), stage), lock_key="k")
    async with open_engine(gated(operation, "start", before=hold)) as engine:
        dag_id = await hold_at(engine, gate, "a")
        await engine.operate_dag(dag_id, Operator.CANCEL)
        await settling.reached.wait()
    settling.open()
    async with open_engine(operation) as engine:
        detail = await engine.wait(dag_id)
        assert how(detail) == ("FAILED", "CANCEL", 2)
        assert script.ran["start", "a"] == 0
        assert engine.holder("k") is None


async def test_a_force_pass_that_was_under_way_is_finished_after_the_restart(
    open_engine: Open, script: Script
) -> None:
    gate, settling = Gate(), Gate()

    async def hold(context: StepContext) -> None:
        if context.target == "stuck":
            await gate.wait()

    async def settle(context: StepContext) -> bool:
        await settling.wait()
        return True

    stage = replace(script.stage("start", LANE), settle=settle)
    operation = Operation("op", (script.lock_stage(), stage), lock_key="k")
    async with open_engine(gated(operation, "start", before=hold)) as engine:
        holder = await hold_at(engine, gate, "stuck")
        heir = await submit(engine, "b", force_pass=[engine.generic_id(holder)])
        await settling.reached.wait()
    settling.open()
    async with open_engine(operation) as engine:
        assert how(await engine.wait(heir)) == ("SUCCEED", "RUN", 2)
        ended = await engine.wait(holder)
        assert how(ended)[:2] == ("SUCCEED", "PASS")
        assert script.ran["start", "b"] == 1


async def test_a_rollback_goes_on_after_a_restart(open_engine: Open, script: Script) -> None:
    script.outcomes["start", "a"] = BROKEN
    gate = Gate()
    inner = script.stage("check", LANE)

    async def undo(context: StepContext) -> Outcome:
        await gate.wait()
        assert inner.undo is not None
        return await inner.undo(context)

    operation = script.operation()
    stages = (operation.stages[0], replace(inner, undo=undo), *operation.stages[2:])
    operation = replace(operation, stages=stages)
    async with open_engine(operation) as engine:
        dag_id = (await run(engine)).dag.dag_id
        await engine.operate_dag(dag_id, Operator.ROLLBACK)
        await gate.reached.wait()
    gate.open()
    async with open_engine(operation) as engine:
        assert how(await engine.wait(dag_id)) == ("SUCCEED", "ROLLBACK", 1)
        assert script.undone["check", "a"] == script.undone["start", "b"] == 1


# --- the store ---------------------------------------------------------------------------------


async def test_a_store_that_refuses_holds_everything_up_and_loses_nothing(
    open_engine: Open, script: Script, tmp_path: Path
) -> None:
    store = CrashingStore(str(tmp_path / "store.sqlite"), refuse=range(2, 5))
    async with open_engine(script.operation(), store=store) as engine:
        detail = await run(engine)
        assert how(detail) == ("SUCCEED", "RUN", 4)
        assert set(script.ran.values()) == {1}


async def test_a_submission_that_cannot_be_written_is_refused_and_nothing_is_left(
    open_engine: Open, script: Script, tmp_path: Path
) -> None:
    store = CrashingStore(str(tmp_path / "store.sqlite"), refuse=[1])
    async with open_engine(script.operation(), store=store) as engine:
        with pytest.raises(StoreUnusable):
            await engine.submit(Submission("op", ("a",)))
        assert await engine.list_dags(limit=9, details=False) == ()
        assert how(await run(engine)) == ("SUCCEED", "RUN", 4)


async def test_a_store_that_knows_better_is_believed(
    open_engine: Open, script: Script, tmp_path: Path
) -> None:
    """Somebody changed the DAG behind the engine's back: its decision is dropped."""
    gate = Gate()

    async def hold(context: StepContext) -> None:
        await gate.wait()

    store = SqliteStore(tmp_path / "store.sqlite")
    async with open_engine(gated(script.operation(), "check", before=hold), store=store) as engine:
        dag_id = await hold_at(engine, gate)
        await store._open_writer.call(
            lambda connection: connection.execute(
                "UPDATE dag SET state = 'FAILED', operator = 'CANCEL', fence = 0"
            )
        )
        gate.open()
        detail = await engine.wait(dag_id)
        assert how(detail)[:2] == ("FAILED", "CANCEL")
        assert script.ran["start", "a"] == script.ran["start", "b"] == 0


# --- following -----------------------------------------------------------------------------------


async def test_events_come_after_they_are_durable_and_in_order(
    open_engine: Open, script: Script
) -> None:
    async with open_engine(script.operation()) as engine:
        seen: list[Any] = []
        with engine.subscribe() as subscription:
            dag_id = await submit(engine)

            async def follow() -> None:
                async for event in subscription:
                    seen.append(event)
                    stored = await engine.find_dag(event.dag_id)
                    assert stored is not None
                    if getattr(event, "state", None) is State.SUCCEED and hasattr(event, "target"):
                        assert task(stored, event.stage, event.target).sub_task.state is (
                            State.SUCCEED
                        )
                    if type(event).__name__ == "DagMoved" and event.state.is_final:
                        return

            await asyncio.gather(follow(), engine.wait(dag_id))
        moved = [e.state for e in seen if type(e).__name__ == "DagMoved"]
        assert moved[0] is State.RUNNING
        assert moved[-1] is State.SUCCEED
        assert sum(type(e).__name__ == "LineLogged" for e in seen) == 6

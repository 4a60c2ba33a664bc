"""Markers of unconfirmed targets, when several steps check and end at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dagengine import (
    Engine,
    Operation,
    Operator,
    Outcome,
    SqliteStore,
    Stage,
    StepContext,
    Succeeded,
)
from dagengine.engine.projections import UnconfirmedTargets
from dagengine.errors import StaleWrite
from dagengine.model.changes import Batch, TargetConfirmed
from dagengine.model.records import UnconfirmedRecord
from dagengine.store.contract import BatchRefused
from dagengine.testing import FakeClock, Latch
from tests.support.engine_script import LANE, OpenEngine, operate, run, submit


class ConfirmScript:
    """An operation whose steps act until cancelled, inspect the state left, or report it."""

    def __init__(self) -> None:
        self.act_latch = Latch()
        self.look_latch = Latch()
        self.observed_dag_ids: list[int | None] = []  #: whose mark a step was shown, in order
        self.operation = Operation(
            "op", (Stage("act", LANE, self.act, confirm_stopped=self.confirm_stopped),)
        )

    async def confirm_stopped(self, context: StepContext) -> bool:
        return False

    async def act(self, context: StepContext) -> Outcome:
        match context.params["does"]:
            case "act":
                await self.act_latch.wait()
            case "look":
                self.record(context)
                await self.look_latch.wait()
                await context.mark_confirmed()
            case "look unasked":
                await self.look_latch.wait()
                await context.mark_confirmed()
            case "look twice":
                self.record(context)
                await self.look_latch.wait()
                self.record(context)
                await context.mark_confirmed()
            case "tell":
                self.record(context)
        return Succeeded()

    def record(self, context: StepContext) -> None:
        current = context.unconfirmed
        self.observed_dag_ids.append(current.dag_id if current is not None else None)


async def submit_until_act(engine: Engine, script: ConfirmScript) -> int:
    dag_id = await submit(engine, "a", does="act")
    await script.act_latch.reached.wait()
    return dag_id


async def submit_until_look(engine: Engine, script: ConfirmScript, does: str) -> int:
    dag_id = await submit(engine, "a", does=does)
    await script.look_latch.reached.wait()
    return dag_id


async def test_mark_confirmed_keeps_newer_unconfirmed_target(open_engine: OpenEngine) -> None:
    for does in ("look", "look unasked"):
        script = ConfirmScript()
        async with open_engine(script.operation) as engine:
            first = await submit_until_act(engine, script)
            second = await submit(engine, "a", does="act")
            await operate(engine, first, Operator.CANCEL)
            confirming_dag_id = await submit_until_look(engine, script, does)
            await operate(engine, second, Operator.CANCEL)
            script.look_latch.open()
            await engine.wait(confirming_dag_id)
            await run(engine, "a", does="tell")
        async with open_engine(script.operation) as engine:  # on the disk, too
            await run(engine, "a", does="tell")
        assert script.observed_dag_ids[-2:] == [second, second], does


async def test_mark_confirmed_clears_record_last_read(open_engine: OpenEngine) -> None:
    script = ConfirmScript()
    async with open_engine(script.operation) as engine:
        first = await submit_until_act(engine, script)
        second = await submit(engine, "a", does="act")
        await operate(engine, first, Operator.CANCEL)
        confirming_dag_id = await submit_until_look(engine, script, "look twice")
        await operate(engine, second, Operator.CANCEL)
        script.look_latch.open()
        await engine.wait(confirming_dag_id)
        await run(engine, "a", does="tell")
    assert script.observed_dag_ids == [first, second, None]


async def test_mark_confirmed_by_two_steps_succeeds_for_both(
    open_engine: OpenEngine,
) -> None:
    script = ConfirmScript()
    async with open_engine(script.operation) as engine:
        first = await submit_until_act(engine, script)
        await operate(engine, first, Operator.CANCEL)
        confirming_dag_id = await submit_until_look(engine, script, "look")
        other = await submit(engine, "a", does="look")
        script.look_latch.open()
        ended = [await engine.wait(dag_id) for dag_id in (confirming_dag_id, other)]
        await run(engine, "a", does="tell")
    assert [detail.dag.state for detail in ended] == ["SUCCEED", "SUCCEED"]
    assert script.observed_dag_ids == [first, first, None]


async def test_mark_confirmed_without_read_clears_initial_record(
    open_engine: OpenEngine,
) -> None:
    script = ConfirmScript()
    script.look_latch.open()
    async with open_engine(script.operation) as engine:
        await operate(engine, await submit_until_act(engine, script), Operator.CANCEL)
        await run(engine, "a", does="look unasked")
        await run(engine, "a", does="tell")
    assert script.observed_dag_ids == [None]


class StaleConfirmStore(SqliteStore):
    """Finds every mark changed."""

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        if any(
            isinstance(change, TargetConfirmed) for batch in batches for change in batch.changes
        ):
            return [StaleWrite("refused by the test") for _ in batches]
        return await super().commit(batches)


async def test_mark_confirmed_stale_write_keeps_record(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    script = ConfirmScript()
    script.look_latch.open()
    async with open_engine(script.operation, store=StaleConfirmStore(tmp_path / "store")) as engine:
        first = await submit_until_act(engine, script)
        await operate(engine, first, Operator.CANCEL)
        detail = await run(engine, "a", does="look")
        await run(engine, "a", does="tell")
    assert detail.dag.state == "SUCCEED"
    assert script.observed_dag_ids == [first, first]


def test_unconfirmed_targets_apply_keeps_newer_record() -> None:
    now = FakeClock().now()
    older, newer = UnconfirmedRecord("a", 1, "act", now), UnconfirmedRecord("a", 2, "act", now)
    marks = UnconfirmedTargets()
    marks.load([newer])
    marks.apply(Batch(3, None, (TargetConfirmed(older),)))
    assert marks.find("a") == newer
    marks.apply(Batch(3, None, (TargetConfirmed(newer),)))
    assert marks.find("a") is None

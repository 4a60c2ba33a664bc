"""Marks of targets on which something may still run, when several steps look and end at once."""

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
from tests.integration.engine_world import LANE, Open, open_engine, operate, run, submit

__all__ = ["open_engine"]  # a fixture


class Marked:
    """An operation whose steps act until they are cancelled, or look at what was left, or tell."""

    def __init__(self) -> None:
        self.acting = Latch()
        self.looking = Latch()
        self.seen: list[int | None] = []  #: whose mark a step was shown, in order
        self.operation = Operation(
            "op", (Stage("act", LANE, self.act, confirm_stopped=self.confirm_stopped),)
        )

    async def confirm_stopped(self, context: StepContext) -> bool:
        return False

    async def act(self, context: StepContext) -> Outcome:
        match context.params["does"]:
            case "act":
                await self.acting.wait()
            case "look":
                self.note(context)
                await self.looking.wait()
                await context.mark_confirmed()
            case "look unasked":
                await self.looking.wait()
                await context.mark_confirmed()
            case "look twice":
                self.note(context)
                await self.looking.wait()
                self.note(context)
                await context.mark_confirmed()
            case "tell":
                self.note(context)
        return Succeeded()

    def note(self, context: StepContext) -> None:
        mark = context.unconfirmed
        self.seen.append(mark.dag_id if mark is not None else None)


async def hold_at_act(engine: Engine, marked: Marked) -> int:
    dag_id = await submit(engine, "a", does="act")
    await marked.acting.reached.wait()
    return dag_id


async def hold_at_look(engine: Engine, marked: Marked, does: str) -> int:
    dag_id = await submit(engine, "a", does=does)
    await marked.looking.reached.wait()
    return dag_id


async def test_a_mark_that_is_set_while_a_step_looks_outlives_the_look(open_engine: Open) -> None:
    for does in ("look", "look unasked"):
        marked = Marked()
        async with open_engine(marked.operation) as engine:
            first = await hold_at_act(engine, marked)
            second = await submit(engine, "a", does="act")
            await operate(engine, first, Operator.CANCEL)
            looker = await hold_at_look(engine, marked, does)
            await operate(engine, second, Operator.CANCEL)
            marked.looking.open()
            await engine.wait(looker)
            await run(engine, "a", does="tell")
        async with open_engine(marked.operation) as engine:  # on the disk, too
            await run(engine, "a", does="tell")
        assert marked.seen[-2:] == [second, second], does


async def test_a_step_that_looks_again_proves_what_it_was_shown_last(open_engine: Open) -> None:
    marked = Marked()
    async with open_engine(marked.operation) as engine:
        first = await hold_at_act(engine, marked)
        second = await submit(engine, "a", does="act")
        await operate(engine, first, Operator.CANCEL)
        looker = await hold_at_look(engine, marked, "look twice")
        await operate(engine, second, Operator.CANCEL)
        marked.looking.open()
        await engine.wait(looker)
        await run(engine, "a", does="tell")
    assert marked.seen == [first, second, None]


async def test_of_two_steps_that_look_at_once_the_slower_one_is_no_failure(
    open_engine: Open,
) -> None:
    marked = Marked()
    async with open_engine(marked.operation) as engine:
        first = await hold_at_act(engine, marked)
        await operate(engine, first, Operator.CANCEL)
        looker = await hold_at_look(engine, marked, "look")
        other = await submit(engine, "a", does="look")
        marked.looking.open()
        ended = [await engine.wait(dag_id) for dag_id in (looker, other)]
        await run(engine, "a", does="tell")
    assert [detail.dag.state for detail in ended] == ["SUCCEED", "SUCCEED"]
    assert marked.seen == [first, first, None]


async def test_a_step_may_prove_the_mark_of_its_beginning_without_asking_for_it(
    open_engine: Open,
) -> None:
    marked = Marked()
    marked.looking.open()
    async with open_engine(marked.operation) as engine:
        await operate(engine, await hold_at_act(engine, marked), Operator.CANCEL)
        await run(engine, "a", does="look unasked")
        await run(engine, "a", does="tell")
    assert marked.seen == [None]


class Refusing(SqliteStore):
    """Finds every mark changed."""

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        if any(
            isinstance(change, TargetConfirmed) for batch in batches for change in batch.changes
        ):
            return [StaleWrite("refused by the test") for _ in batches]
        return await super().commit(batches)


async def test_what_the_store_does_not_unmark_stays_marked(
    open_engine: Open, tmp_path: Path
) -> None:
    marked = Marked()
    marked.looking.open()
    async with open_engine(marked.operation, store=Refusing(tmp_path / "store")) as engine:
        first = await hold_at_act(engine, marked)
        await operate(engine, first, Operator.CANCEL)
        detail = await run(engine, "a", does="look")
        await run(engine, "a", does="tell")
    assert detail.dag.state == "SUCCEED"
    assert marked.seen == [first, first]


def test_the_picture_keeps_a_mark_that_is_newer_than_what_was_proven() -> None:
    now = FakeClock().now()
    older, newer = UnconfirmedRecord("a", 1, "act", now), UnconfirmedRecord("a", 2, "act", now)
    marks = UnconfirmedTargets()
    marks.load([newer])
    marks.apply(Batch(3, None, (TargetConfirmed(older),)))
    assert marks.find("a") == newer
    marks.apply(Batch(3, None, (TargetConfirmed(newer),)))
    assert marks.find("a") is None

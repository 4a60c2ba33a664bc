"""One attempt: runs a step within its time limit and returns its outcome as a value."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from dagengine.engine.deadlines import Deadline
from dagengine.engine.messages import ActiveDag
from dagengine.errors import DagengineError, NotSerializable, RemoteError, StaleWrite
from dagengine.model.json_values import normalize_text, outcome_as_stored
from dagengine.model.operation import Stage
from dagengine.model.outcome import (
    Cancelled,
    Failed,
    Json,
    Outcome,
    Problem,
    ResultUnknown,
    Succeeded,
    TimedOut,
)
from dagengine.model.records import LockRecord, LogRecord, SubTaskRecord, UnconfirmedRecord
from dagengine.model.stage_kinds import Wait
from dagengine.model.states import State
from dagengine.model.step import LockResult, StepContext
from dagengine.runtime.clock import Clock

_log = structlog.get_logger("dagengine.engine")


@dataclass(frozen=True, slots=True)
class AttemptServices:
    """The functions of the engine that an attempt may call."""

    append_line: Callable[[int, LogRecord], Awaitable[None]]
    take_lock: Callable[[int, Sequence[str]], Awaitable[LockResult]]
    describe_holder: Callable[[LockRecord], Awaitable[str]]
    find_unconfirmed: Callable[[str | None], UnconfirmedRecord | None]
    mark_confirmed: Callable[[int, UnconfirmedRecord], Awaitable[None]]
    generic_id: Callable[[int], str]


class AttemptContext:
    """The StepContext of one attempt; see dagengine.model.operation for the contract."""

    def __init__(
        self,
        live: ActiveDag,
        sub_task: SubTaskRecord,
        ports: AttemptServices,
        clock: Clock,
        resumed: bool,
    ) -> None:
        self._live = live
        self._sub_task = sub_task
        self._ports = ports
        self._clock = clock
        self._resumed = resumed
        self._shown = ports.find_unconfirmed(sub_task.target)
        self.limit: Deadline | None = None
        self.wait: Wait | None = None

    @property
    def dag_id(self) -> int:
        return self._sub_task.dag_id

    @property
    def generic_id(self) -> str:
        return self._ports.generic_id(self.dag_id)

    def id_of(self, dag_id: int) -> str:
        return self._ports.generic_id(dag_id)

    @property
    def params(self) -> Json:
        return copy.deepcopy(self._live.snapshot.dag.params)  # a step may keep or change it

    @property
    def targets(self) -> tuple[str, ...]:
        return self._live.snapshot.dag.targets

    @property
    def healthy_targets(self) -> tuple[str, ...]:
        return self._live.snapshot.healthy_targets

    @property
    def target(self) -> str | None:
        return self._sub_task.target

    @property
    def attempt_no(self) -> int:
        return self._sub_task.attempt_no

    @property
    def resumed(self) -> bool:
        return self._resumed

    @property
    def unconfirmed(self) -> UnconfirmedRecord | None:
        self._shown = self._ports.find_unconfirmed(self.target)
        return self._shown

    async def mark_confirmed(self) -> None:
        if self._shown is not None:  # a newer marker was not probed, so it is not cleared
            await self._ports.mark_confirmed(self.dag_id, self._shown)

    def data_of(self, stage_name: str, target: str | None = None) -> Json | None:
        snapshot = self._live.snapshot
        for node in snapshot.nodes.values():
            if node.name == stage_name:
                found = snapshot.sub_task_at(node.stage, target)
                is_done = found is not None and found.state is State.SUCCEED
                return copy.deepcopy(found.data) if found is not None and is_done else None
        raise DagengineError(f"'{snapshot.dag.name}' has no stage '{stage_name}'")

    async def log(self, line: str) -> None:
        record = LogRecord(
            log_id=0,
            sub_task_id=self._sub_task.sub_task_id,
            attempt_no=self._sub_task.attempt_no,
            execute_times=self._sub_task.execute_times,
            content=normalize_text(line),
            created_at=self._clock.now(),
        )
        await self._ports.append_line(self.dag_id, record)

    def wait_for(
        self, kind: str, on: str, *, last: str = "", next_in_s: float | None = None
    ) -> None:
        now, before = self._clock.now(), self.wait
        is_same = before is not None and (before.kind, before.on) == (kind, on)
        self.wait = Wait(
            kind,
            on,
            before.since_at if before is not None and is_same else now,
            last,
            self.limit.at if self.limit else None,
            None if next_in_s is None else now + timedelta(seconds=next_in_s),
        )

    async def acquire_lock(self, force_pass: Sequence[str] = ()) -> LockResult:
        return await self._ports.take_lock(self.dag_id, force_pass)

    async def describe_holder(self, holder: LockRecord) -> str:
        return await self._ports.describe_holder(holder)


class Attempt:
    """Runs one step. `cancel` ends the step; a stop of the engine cancels the task instead."""

    def __init__(
        self,
        stage: Stage,
        context: AttemptContext,
        limit: Deadline,
        *,
        confirm_timeout_s: float,
        confirm_only: bool,
        undo: bool,
    ) -> None:
        self.attempt_no = context.attempt_no
        context.limit = limit
        self._stage = stage
        self._undoes = undo
        self._step = (stage.undo or _undo_nothing) if undo else stage.run
        self.context = context
        self._limit = limit
        self._confirm_timeout_s = confirm_timeout_s
        self._is_cancelled = confirm_only
        self._task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """End the step because a user cancelled the DAG. A second call does nothing."""
        if not self._is_cancelled:
            self._is_cancelled = True
            if self._task is not None:
                self._task.cancel()

    async def run(self) -> Outcome | None:
        """Run the step and return its outcome; None when another attempt has become current.

        Raises:
            asyncio.CancelledError: the engine is stopping: the attempt stays open in the store,
                and the next start resumes it. Also raised if the step cancelled itself.
        """
        if self._is_cancelled:
            return await self._settle(Cancelled())
        self._task = task = asyncio.current_task()
        outcome: Outcome | None = Cancelled()
        try:
            outcome = await self._run_step()
        except asyncio.CancelledError:
            if not self._is_cancelled:
                raise  # the engine is stopping
        # From here on, a cancel by a user is too late or has already been recorded.
        self._task = None
        if task is not None and task.cancelling() and task.uncancel():
            raise asyncio.CancelledError  # the engine is stopping too
        if isinstance(outcome, Cancelled | TimedOut):
            return await self._settle(outcome)
        return outcome

    def end_by_itself(self) -> Outcome:
        """Return the outcome of a step that ended with a cancellation that was not requested."""
        self._task = None
        what = "stopped on CancelledError: it cancelled itself, or something that it waited for was"
        return Failed(self._problem("Common.Unexpected", what))

    async def _run_step(self) -> Outcome | None:
        try:
            async with asyncio.timeout(self._limit.left_s) as deadline:
                outcome = await self._step(self.context)
            if deadline.expired() and isinstance(outcome, Succeeded):
                await self.context.log(f"WARN: done, but not within {self._limit.whole_s:g} s")
            return outcome_as_stored(outcome)
        except StaleWrite:
            return None  # another attempt has become current
        except NotSerializable as exc:
            return Failed(self._problem(exc.err_code, f"has a result that {exc.message}"))
        except RemoteError as exc:
            what = exc.message if exc.host in exc.message else f"{exc.host}: {exc.message}"
            return Failed(Problem(exc.err_code, what, self._then(exc.remedy)))
        except DagengineError as exc:
            return Failed(Problem(exc.err_code, exc.message, self._then(exc.remedy)))
        except Exception as exc:  # noqa: BLE001  # any exception of a step becomes an outcome
            if isinstance(exc, TimeoutError) and deadline.expired():
                what = f"did not end in time: the {self._limit.whole_s:g} s of its"
                return TimedOut(
                    self._problem("Task.Dag.ExecuteTimeout", f"{what} {self._limit.whose} are over")
                )
            _log.exception("step_crashed", stage=self._stage.name, dag_id=self.context.dag_id)
            what = f"stopped on {type(exc).__name__}: {exc}"
            return Failed(self._problem("Common.Unexpected", what))

    async def _settle(self, outcome: Outcome) -> Outcome:
        """Confirm, within the time limit, that nothing of the step still runs."""
        if self._stage.confirm_stopped is None:
            return outcome
        self.context.wait_for("proof", f"the end of '{self._stage.name}'")
        why = "the proof did not end in time"
        try:
            async with asyncio.timeout(self._confirm_timeout_s):
                if await self._stage.confirm_stopped(self.context):
                    return outcome
            why = "something of it may still run"
        except TimeoutError:
            pass
        except DagengineError as exc:
            why = str(exc)
        except Exception as exc:  # noqa: BLE001  # any exception becomes an outcome, as above
            _log.exception("settle_crashed", stage=self._stage.name, dag_id=self.context.dag_id)
            why = f"{type(exc).__name__}: {exc}"
        what = f"was ended, but its end on {self.context.target} is not proven: {why}"
        return ResultUnknown(self._problem("Task.Dag.CancelTimeout", what))

    def _problem(self, code: str, what: str) -> Problem:
        where = f" of {self.context.target}" if self.context.target else ""
        remedy = self._then("look at the server")
        return Problem(code, f"'{self._stage.name}'{where} {what}", remedy)

    def _then(self, remedy: str) -> str:
        """Return the remedy with the operator to apply after it."""
        again = "ROLLBACK again" if self._undoes else "RETRY"
        return f"{remedy}, then {again}" if remedy else f"{again} once it is mended"


async def _undo_nothing(context: StepContext) -> Outcome:
    await context.log("nothing to undo")
    return Succeeded()

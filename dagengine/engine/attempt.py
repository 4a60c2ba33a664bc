"""One attempt: run a step within its time, and say how it ended as a value."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from dagengine.clock import Clock
from dagengine.errors import DagengineError, RemoteError, StaleWrite
from dagengine.model.outcome import (
    Cancelled,
    Failed,
    Json,
    Outcome,
    Problem,
    ResultUnknown,
    TimedOut,
)
from dagengine.model.records import LockRecord, LogRecord, SubTaskRecord
from dagengine.model.spec import Stage
from dagengine.model.states import State
from dagengine.rules.snapshot import Snapshot

_log = structlog.get_logger("dagengine.engine")


@dataclass(frozen=True, slots=True)
class Ports:
    """What an attempt may ask of the rest of the engine."""

    append_line: Callable[[int, LogRecord], Awaitable[None]]
    take_lock: Callable[[int], Awaitable[LockRecord | None]]
    describe_holder: Callable[[LockRecord], Awaitable[str]]
    generic_id: Callable[[int], str]


class AttemptContext:
    """The StepContext of one attempt; see dagengine.model.spec for the contract."""

    def __init__(
        self, snapshot: Snapshot, sub_task: SubTaskRecord, ports: Ports, clock: Clock, resumed: bool
    ) -> None:
        self._snapshot = snapshot
        self._sub_task = sub_task
        self._ports = ports
        self._clock = clock
        self._resumed = resumed

    @property
    def dag_id(self) -> int:
        return self._snapshot.dag.dag_id

    @property
    def generic_id(self) -> str:
        return self._ports.generic_id(self.dag_id)

    @property
    def params(self) -> Json:
        return self._snapshot.dag.params

    @property
    def targets(self) -> tuple[str, ...]:
        return self._snapshot.dag.targets

    @property
    def survivors(self) -> tuple[str, ...]:
        return self._snapshot.survivors

    @property
    def target(self) -> str | None:
        return self._sub_task.target

    @property
    def attempt_no(self) -> int:
        return self._sub_task.attempt_no

    @property
    def resumed(self) -> bool:
        return self._resumed

    def data_of(self, stage_name: str, target: str | None = None) -> Json | None:
        for node in self._snapshot.nodes.values():
            if node.name == stage_name:
                found = self._snapshot.sub_task_at(node.stage, target)
                return found.data if found and found.state is State.SUCCEED else None
        raise DagengineError(f"'{self._snapshot.dag.name}' has no stage '{stage_name}'")

    async def log(self, line: str) -> None:
        record = LogRecord(
            log_id=0,
            sub_task_id=self._sub_task.sub_task_id,
            attempt_no=self._sub_task.attempt_no,
            execute_times=self._sub_task.execute_times,
            content=line,
            created_at=self._clock.now(),
        )
        await self._ports.append_line(self.dag_id, record)

    async def acquire_lock(self) -> LockRecord | None:
        return await self._ports.take_lock(self.dag_id)

    async def describe_holder(self, holder: LockRecord) -> str:
        return await self._ports.describe_holder(holder)


class Attempt:
    """Runs one step. `cancel` ends it; stopping the engine ends its task instead."""

    def __init__(
        self, stage: Stage, context: AttemptContext, *, cancel_proof_s: float, settle_only: bool
    ) -> None:
        self.attempt_no = context.attempt_no
        self._stage = stage
        self._context = context
        self._cancel_proof_s = cancel_proof_s
        self._is_cancelled = settle_only
        self._task: asyncio.Task[Outcome | None] | None = None

    def cancel(self) -> None:
        """A person cancelled the DAG. The second call does nothing."""
        if not self._is_cancelled:
            self._is_cancelled = True
            if self._task is not None:
                self._task.cancel()

    async def run(self) -> Outcome | None:
        """Run to an outcome; None when the attempt is no longer the current one.

        Raises:
            asyncio.CancelledError: the engine is stopping; the attempt stays open in the
                store and is resumed by the next start.
        """
        if self._is_cancelled:
            return await self._settle(Cancelled())
        name = f"step {self._stage.name} of dag {self._context.dag_id} {self._context.target or ''}"
        async with asyncio.TaskGroup() as group:
            self._task = group.create_task(self._run_step(), name=name)
            await asyncio.wait({self._task})
        if self._task.cancelled():
            return await self._settle(Cancelled())
        outcome = self._task.result()
        if isinstance(outcome, TimedOut):
            return await self._settle(outcome)
        return outcome

    async def _run_step(self) -> Outcome | None:
        try:
            async with asyncio.timeout(self._stage.timeout_s) as deadline:
                return await self._stage.run(self._context)
        except StaleWrite:
            return None  # another attempt is the current one
        except RemoteError as exc:
            return Failed(Problem(exc.err_code, f"{exc.host}: {exc.message}", exc.remedy))
        except DagengineError as exc:
            return Failed(Problem(exc.err_code, exc.message, exc.remedy))
        except Exception as exc:  # noqa: BLE001  # a step may raise anything; it ends as an outcome
            if isinstance(exc, TimeoutError) and deadline.expired():
                return TimedOut(self._problem("Task.Dag.ExecuteTimeout", "did not end in time"))
            _log.exception("step_crashed", stage=self._stage.name, dag_id=self._context.dag_id)
            what = f"stopped on {type(exc).__name__}: {exc}"
            return Failed(self._problem("Common.Unexpected", what))

    async def _settle(self, outcome: Outcome) -> Outcome:
        """Prove, within the bound, that nothing of the step runs on."""
        if self._stage.settle is None:
            return outcome
        why = "the proof did not end in time"
        try:
            async with asyncio.timeout(self._cancel_proof_s):
                if await self._stage.settle(self._context):
                    return outcome
            why = "something of it may still run"
        except TimeoutError:
            pass
        except DagengineError as exc:
            why = str(exc)
        except Exception as exc:  # noqa: BLE001  # as above
            _log.exception("settle_crashed", stage=self._stage.name, dag_id=self._context.dag_id)
            why = f"{type(exc).__name__}: {exc}"
        what = f"was ended, but its end on {self._context.target} is not proven: {why}"
        return ResultUnknown(self._problem("Task.Dag.CancelTimeout", what))

    def _problem(self, code: str, what: str) -> Problem:
        where = f" of {self._context.target}" if self._context.target else ""
        remedy = f"time was {self._stage.timeout_s:g} s; look at the server, then RETRY"
        return Problem(code, f"'{self._stage.name}'{where} {what}", remedy)

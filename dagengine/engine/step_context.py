"""The interface of a running step to the engine."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from dagengine.engine import messages
from dagengine.engine.active_dag import ActiveDag, AttemptEnded, Mailbox
from dagengine.engine.deadlines import Deadline
from dagengine.errors import ConfigError, DagengineError, StaleWrite
from dagengine.model.fencing import FencingToken
from dagengine.model.ids import OwnIds
from dagengine.model.json_values import normalize_text
from dagengine.model.outcome import Json, Outcome
from dagengine.model.records import LockRecord, LogRecord, SubTaskRecord, UnconfirmedRecord
from dagengine.model.stage_kinds import Wait
from dagengine.model.states import State
from dagengine.model.step import LockResult
from dagengine.model.step_arguments import StepCall
from dagengine.runtime.clock import Clock

MAX_LINES = 10_000  # of one attempt; further lines are not stored
_PAUSE_S = 0.01  # of a step that writes further lines, so that it does not occupy the event loop


class AttemptContext:
    """The StepContext of one attempt; see dagengine.model.step for the contract.

    Attributes:
        limit: the time limit of the attempt.
        is_abandoned: the engine no longer waits for the attempt: its calls change nothing.
    """

    def __init__(
        self,
        active_dag: ActiveDag,
        sub_task: SubTaskRecord,
        mailbox: Mailbox,
        ids: OwnIds,
        clock: Clock,
        *,
        limit: Deadline,
        resumed: bool,
        fencing: FencingToken,
    ) -> None:
        self.limit = limit
        self.is_abandoned = False
        self._line_count = 0
        self._active_dag = active_dag
        self._sub_task = sub_task
        self._mailbox = mailbox
        self._ids = ids
        self._clock = clock
        self._resumed = resumed
        self._fencing = fencing
        self._last_marker = mailbox.find_unconfirmed(sub_task.target)
        self._key = (sub_task.sub_task_id, sub_task.attempt_no)

    @property
    def wait(self) -> Wait | None:
        """What the step has last reported with `wait_for`."""
        return self._active_dag.reported_waits.get(self._key)

    @property
    def holds_lock(self) -> bool:
        """True while the DAG holds its lock."""
        return self._active_dag.snapshot.dag.lock_token != 0

    @property
    def dag_id(self) -> int:
        return self._sub_task.dag_id

    @property
    def generic_id(self) -> str:
        return self._ids.render(self.dag_id)

    def id_of(self, dag_id: int) -> str:
        self._call("id_of").check_row_id("dag_id", dag_id)
        return self._ids.render(dag_id)

    @property
    def params(self) -> Json:
        return copy.deepcopy(self._active_dag.snapshot.dag.params)  # a step may keep or change it

    @property
    def targets(self) -> tuple[str, ...]:
        return self._active_dag.snapshot.dag.targets

    @property
    def healthy_targets(self) -> tuple[str, ...]:
        return self._active_dag.snapshot.healthy_targets

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
    def fencing_token(self) -> FencingToken:
        return replace(self._fencing, lock_token=self._active_dag.snapshot.dag.lock_token)

    @property
    def unconfirmed(self) -> UnconfirmedRecord | None:
        self._last_marker = self._mailbox.find_unconfirmed(self.target)
        return self._last_marker

    async def mark_confirmed(self) -> None:
        self._refuse_when_abandoned()
        if self._last_marker is not None:  # a newer marker was not probed, so it is not cleared
            await self._mailbox.mark_confirmed(self.dag_id, self._last_marker)

    def data_of(self, stage_name: str, target: str | None = None) -> Json | None:
        call = self._call("data_of")
        call.check_text(stage_name=stage_name)
        call.check_optional_text("target", target)
        snapshot = self._active_dag.snapshot
        for node in snapshot.nodes.values():
            if node.name == stage_name:
                sub_task = snapshot.sub_task_at(node.stage, target)
                is_done = sub_task is not None and sub_task.state is State.SUCCEED
                return copy.deepcopy(sub_task.data) if sub_task is not None and is_done else None
        raise DagengineError(messages.STAGE_UNKNOWN(operation=snapshot.dag.name, stage=stage_name))

    async def log(self, line: str) -> None:
        self._refuse_when_abandoned()
        self._call("log").check_text(line=line)
        self._line_count += 1
        if self._line_count > MAX_LINES:
            if self._line_count > MAX_LINES + 1:
                await asyncio.sleep(_PAUSE_S)
                return
            line = messages.LINES_OMITTED(count=MAX_LINES)
        record = LogRecord(
            log_id=0,
            sub_task_id=self._sub_task.sub_task_id,
            attempt_no=self._sub_task.attempt_no,
            execute_times=self._sub_task.execute_times,
            content=normalize_text(line.rstrip("\r\n")),
            created_at=self._clock.now(),
        )
        await self._mailbox.append_log(self.dag_id, record)

    def wait_for(
        self, kind: str, on: str, *, last: str = "", next_in_s: float | None = None
    ) -> None:
        if self.is_abandoned:
            return
        call = self._call("wait_for")
        call.check_text(kind=kind, on=on, last=last)
        call.check_pause("next_in_s", next_in_s)
        kind, on = normalize_text(kind), normalize_text(on)
        now, before = self._clock.now(), self.wait
        is_same = before is not None and (before.kind, before.on) == (kind, on)
        self._active_dag.reported_waits[self._key] = Wait(
            kind,
            on,
            before.since_at if before is not None and is_same else now,
            normalize_text(last),
            self.limit.at,
            None if next_in_s is None else now + timedelta(seconds=next_in_s),
        )

    async def acquire_lock(self, force_pass: Sequence[str] = ()) -> LockResult:
        self._refuse_when_abandoned()
        self._call("acquire_lock").check_texts("force_pass", force_pass)
        dag = self._active_dag.snapshot.dag
        if dag.lock_key is None:
            raise ConfigError(
                messages.LOCK_KEY_MISSING(operation=dag.name), remedy=messages.DECLARE_LOCK_KEY()
            )
        return await self._mailbox.request_lock(self.dag_id, force_pass)

    async def describe_holder(self, holder: LockRecord) -> str:
        self._call("describe_holder").check_holder("holder", holder)
        return self._mailbox.describe_holder(holder)

    def report_end(self, outcome: Outcome) -> None:
        """Report the outcome of the attempt to the scheduler."""
        self._mailbox.post(self.dag_id, AttemptEnded(*self._key, outcome))

    def _call(self, function: str) -> StepCall:
        snapshot = self._active_dag.snapshot
        stage = snapshot.nodes[self._sub_task.stage].name
        return StepCall(function, stage, snapshot.dag.name)

    def _refuse_when_abandoned(self) -> None:
        if self.is_abandoned:
            raise StaleWrite(messages.ATTEMPT_ABANDONED(attempt_no=self.attempt_no))

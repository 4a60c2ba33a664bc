"""The attempts that run in this process. Each one posts its outcome to the scheduler."""

from __future__ import annotations

import asyncio

from dagengine.engine.active_dag import ActiveDag, AttemptEnded, Mailbox
from dagengine.engine.attempt import Attempt
from dagengine.engine.deadlines import find_limit
from dagengine.engine.registry import Registry
from dagengine.engine.step_context import AttemptContext
from dagengine.model.ids import OwnIds
from dagengine.model.records import SubTaskRecord
from dagengine.rules.planning import Start
from dagengine.runtime.clock import Clock
from dagengine.runtime.service import Service


class AttemptRunner:
    """Runs attempts, each as a task, at most one of a sub-task at a time.

    Args:
        registry: the operations, whose steps it runs.
        clock: source of time.
        ids: renders ids for steps.
        confirm_timeout_s: see Engine.
    """

    def __init__(
        self, registry: Registry, clock: Clock, ids: OwnIds, confirm_timeout_s: float
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._ids = ids
        self._confirm_timeout_s = confirm_timeout_s
        self._attempts: dict[int, Attempt] = {}
        self._tasks = Service("attempts")

    def start(self, active_dag: ActiveDag, start: Start, mailbox: Mailbox) -> None:
        """Start an attempt; its messages and its outcome go to the mailbox."""
        snapshot = active_dag.snapshot
        sub_task = snapshot.sub_tasks[start.sub_task_id]
        operation = self._registry.find(snapshot.dag.name)
        stage = sub_task.stage
        limit = find_limit(self._clock, active_dag.begun_s, snapshot, stage, operation)
        context = AttemptContext(
            active_dag,
            sub_task,
            mailbox,
            self._ids,
            self._clock,
            limit=limit,
            resumed=start.resumed,
        )
        attempt = Attempt(
            operation.stages[stage - 1],
            context,
            confirm_timeout_s=self._confirm_timeout_s,
            confirm_only=start.confirm_only,
            undo=start.undo,
        )
        self._attempts[sub_task.sub_task_id] = attempt
        name = f"attempt {sub_task.attempt_no} of sub-task {sub_task.sub_task_id}"
        self._tasks.spawn(self._run(active_dag, sub_task, attempt, mailbox), name=name)

    def cancel(self, sub_task_id: int) -> None:
        """End the attempt of a sub-task, if it has one."""
        if (attempt := self._attempts.get(sub_task_id)) is not None:
            attempt.cancel()

    def has(self, sub_task_id: int) -> bool:
        """Return True while an attempt of the sub-task runs."""
        return sub_task_id in self._attempts

    async def stop(self) -> None:
        """End all attempts; they stay open in the store."""
        await self._tasks.stop()

    async def _run(
        self, active_dag: ActiveDag, sub_task: SubTaskRecord, attempt: Attempt, mailbox: Mailbox
    ) -> None:
        sub_task_id, attempt_no = sub_task.sub_task_id, sub_task.attempt_no
        try:
            outcome = await attempt.run()
        except asyncio.CancelledError:
            if not mailbox.is_running:
                raise  # the engine is stopping
            outcome = attempt.end_by_itself()
        finally:
            active_dag.reported_waits.pop((sub_task_id, attempt_no), None)
            if self._attempts.get(sub_task_id) is attempt:
                del self._attempts[sub_task_id]
        if outcome is not None:
            mailbox.post(sub_task.dag_id, AttemptEnded(sub_task_id, attempt_no, outcome))

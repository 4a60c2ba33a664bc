"""The attempts that run in this process. Each one posts its outcome to the scheduler."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any

from dagengine.act_guard import ActGuard, guard_this_task
from dagengine.engine.active_dag import ActiveDag, Mailbox
from dagengine.engine.attempt import Attempt
from dagengine.engine.deadlines import AFTERMATH_S, find_limit, name_pause
from dagengine.engine.registry import Registry
from dagengine.engine.step_context import AttemptContext
from dagengine.model.fencing import FencingToken
from dagengine.model.ids import OwnIds
from dagengine.model.outcome import Outcome, Succeeded
from dagengine.model.records import SubTaskRecord
from dagengine.rules.planning import AttemptStart
from dagengine.runtime.cancellation import force_end, has_clean_ups
from dagengine.runtime.clock import PROCESS_TIME, Clock
from dagengine.runtime.loop_watchdog import LoopWatchdog
from dagengine.runtime.service import Service
from dagengine.runtime.timers import Timer, Timers

MAX_ABANDONED = 100  # abandoned steps of one operation that still run
_GRACE_S = 0.1  # for an attempt that ends just at its bound
_LATE_S = 1.0  # a timer as late as this shows that the event loop was blocked
_CANDIDATES = 5

_HAS_TASK_CONTEXT = hasattr(asyncio.Task, "get_context")  # since Python 3.12

_running_attempt: ContextVar[Attempt] = ContextVar("running_attempt")


class AttemptTasks(Service):
    """The tasks of attempts. A stop waits longer while a clean-up runs that has a bound."""

    name = "attempts"
    patience_s = 1.0
    patience = 3
    clean_up_patience = 20

    def may_wait(self, count: int) -> bool:
        return super().may_wait(count) or (count < self.clean_up_patience and has_clean_ups())


class AttemptRunner:
    """Runs attempts, each as a task, at most one of a sub-task at a time.

    One timer watches all attempts from outside: an attempt that has not ended at its bound is
    abandoned. It gets an outcome, and its task keeps running without effect on the engine.

    Args:
        registry: the operations, whose steps it runs.
        clock: source of time.
        ids: renders ids for steps.
        confirm_timeout_s: see Engine.

    Attributes:
        fencing: the token of this controller for DAGs without a lock.
        act_guard: decides when steps may send commands to hosts; None: always.
    """

    def __init__(
        self, registry: Registry, clock: Clock, ids: OwnIds, confirm_timeout_s: float
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._ids = ids
        self._confirm_timeout_s = confirm_timeout_s
        self.fencing = FencingToken("", 0, 0, "")
        self.act_guard: ActGuard | None = None
        self._timers = Timers(clock)
        self._attempts: dict[int, Attempt] = {}
        self._tasks = AttemptTasks()
        self._abandoned: dict[str, dict[asyncio.Task[None], Attempt]] = {}  # by operation
        self._timer: Timer | None = None
        self._timer_due_s = math.inf
        self._watchdog = LoopWatchdog(self)

    def open(self) -> None:
        """Watch the running event loop for steps that block it."""
        self._watchdog.start()

    def start(self, active_dag: ActiveDag, start: AttemptStart, mailbox: Mailbox) -> None:
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
            fencing=self.fencing,
        )
        attempt = Attempt(
            operation,
            stage,
            context,
            self._clock,
            timers=self._timers,
            confirm_timeout_s=self._confirm_timeout_s,
            confirm_only=start.confirm_only,
            undo=start.undo,
        )
        count = len(self._abandoned.get(operation.name, ()))
        if count >= MAX_ABANDONED:
            attempt.refuse(count)
            return
        self._attempts[sub_task.sub_task_id] = attempt
        name = f"attempt {sub_task.attempt_no} of sub-task {sub_task.sub_task_id}"
        running = self._run(active_dag, sub_task, attempt, mailbox)
        attempt.runner_task = self._tasks.spawn(running, name=name)
        self._watchdog.resume()
        self._watch(attempt.bound_s)

    def cancel(self, sub_task_id: int) -> None:
        """End the attempt of a sub-task, if it has one."""
        if (attempt := self._attempts.get(sub_task_id)) is not None:
            attempt.cancel()
            self._watch(attempt.bound_s)

    def has(self, sub_task_id: int) -> bool:
        """Return True while an attempt of the sub-task runs and is not abandoned."""
        return sub_task_id in self._attempts

    async def stop(self) -> None:
        """End all attempts; they stay open in the store. Steps that ignore this are closed."""
        self._watchdog.stop()
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_due_s = None, math.inf
        await self._tasks.stop()
        remaining = self._tasks.tasks.union(*self._abandoned.values())
        if remaining:
            force_end(remaining)
            await asyncio.wait(remaining, timeout=_GRACE_S)

    async def _run(
        self, active_dag: ActiveDag, sub_task: SubTaskRecord, attempt: Attempt, mailbox: Mailbox
    ) -> None:
        sub_task_id, attempt_no = sub_task.sub_task_id, sub_task.attempt_no
        started_s = PROCESS_TIME.monotonic_s()
        if _HAS_TASK_CONTEXT:
            _running_attempt.set(attempt)
        if self.act_guard is not None:
            guard_this_task(self.act_guard)
        try:
            outcome = await _run_to_outcome(attempt, mailbox)
        finally:
            attempt.runner_task = None  # its context refers to the attempt
            active_dag.reported_waits.pop((sub_task_id, attempt_no), None)
            if self._attempts.get(sub_task_id) is attempt:
                del self._attempts[sub_task_id]
        if outcome is not None:
            if not isinstance(outcome, Succeeded):
                outcome = name_pause(outcome, PROCESS_TIME.paused_s(started_s - AFTERMATH_S))
            attempt.report(outcome)

    # --- the watch from outside --------------------------------------------------------------

    def _watch(self, bound_s: float) -> None:
        """Check the attempts at this time, unless an earlier check is due."""
        if bound_s >= self._timer_due_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due_s = bound_s
        delay_s = max(bound_s - self._clock.monotonic_s(), _GRACE_S)
        self._timer = self._timers.call_later(delay_s, self._check)

    def _check(self) -> None:
        """Find the attempts that have reached their bound; they get the grace time."""
        now_s = self._clock.monotonic_s()
        is_late = now_s - self._timer_due_s > _LATE_S
        self._timer, self._timer_due_s = None, math.inf
        overdue = {key: each for key, each in self._attempts.items() if each.bound_s <= now_s}
        if is_late:  # the cancellations may have been as late
            overdue = {key: each for key, each in overdue.items() if not each.extend()}
        if overdue:
            asyncio.get_running_loop().call_later(_GRACE_S, self._abandon, overdue)
        following = [each.bound_s for each in self._attempts.values() if each.bound_s > now_s]
        self._watch(min(following, default=math.inf))

    def _abandon(self, overdue: Mapping[int, Attempt]) -> None:
        """Abandon the attempts that have not ended in the grace time."""
        for sub_task_id, attempt in overdue.items():
            if self._attempts.get(sub_task_id) is not attempt:
                continue
            if attempt.bound_s > self._clock.monotonic_s():
                self._watch(attempt.bound_s)
                continue
            del self._attempts[sub_task_id]
            if (task := attempt.runner_task) is not None:
                name = attempt.operation.name
                self._tasks.release(task)
                self._abandoned.setdefault(name, {})[task] = attempt
                task.add_done_callback(partial(self._forget, name))
            attempt.abandon()

    def _forget(self, operation: str, task: asyncio.Task[None]) -> None:
        """Discard an abandoned attempt that has ended."""
        ended = self._abandoned[operation].pop(task)
        if not self._abandoned[operation]:
            del self._abandoned[operation]
        if not task.cancelled():
            task.exception()  # it affects nothing; otherwise asyncio reports it
        ended.log_late_end()

    # --- the watchdog's questions, in its thread ---------------------------------------------

    def has_tasks(self) -> bool:
        """Return True while a step runs."""
        return bool(self._attempts or self._abandoned)

    def describe_task(self, task: asyncio.Task[Any] | None) -> Mapping[str, object]:
        """Return the step that a task belongs to, or the steps that it may belong to."""
        running = list(self._attempts.values())
        for abandoned in list(self._abandoned.values()):
            running += abandoned.values()
        attempt = next((each for each in running if each.runner_task is task), None)
        # A task that the step has started has a copy of the context of its attempt.
        if attempt is None and (get_context := getattr(task, "get_context", None)) is not None:
            attempt = get_context().get(_running_attempt)
        if attempt is not None:
            return attempt.describe()
        stages = sorted({str(each.describe()["stage"]) for each in running})
        return {"task": "" if task is None else task.get_name(), "stages": stages[:_CANDIDATES]}


async def _run_to_outcome(attempt: Attempt, mailbox: Mailbox) -> Outcome | None:
    """Run an attempt; an exception, of any kind, becomes an outcome, or the DAG would never end."""
    try:
        return await attempt.run()
    except asyncio.CancelledError:
        if mailbox.is_running:
            return attempt.end_by_itself()
        raise  # the engine is stopping
    except BaseException as exc:
        if mailbox.is_running and not isinstance(exc, KeyboardInterrupt):
            return attempt.end_by_defect(exc)
        raise

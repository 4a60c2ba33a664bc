"""One attempt: runs a step within its time limit and returns its outcome as a value."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import structlog

from dagengine.engine import messages
from dagengine.engine.step_context import AttemptContext
from dagengine.error_codes import Code
from dagengine.errors import DagengineError, NotSerializable, RemoteError, StaleWrite
from dagengine.lines import MAX_LINE_BYTES, clean_line
from dagengine.model.json_values import (
    normalize_problem,
    outcome_as_stored,
)
from dagengine.model.operation import Operation
from dagengine.model.outcome import (
    Cancelled,
    Failed,
    Outcome,
    Problem,
    ResultUnknown,
    Succeeded,
    TimedOut,
)
from dagengine.model.step import StepContext
from dagengine.runtime.clock import Clock
from dagengine.runtime.timers import Timers

_log = structlog.get_logger("dagengine.engine")

_NOT_OF_STEP = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)
"""Exceptions by which Python ends a task or the program. All others become an outcome, SystemExit
too: a library that calls sys.exit must not end the program."""

# Tuples because a union in isinstance would be built by every attempt.
_TO_SETTLE = (Cancelled, TimedOut)
_WITH_PROBLEM = (Failed, TimedOut, ResultUnknown)


class Attempt:
    """Runs one step. `cancel` ends the step; a stop of the engine cancels the task instead.

    Attributes:
        operation: the operation of the step.
        bound_s: when the attempt must have ended, on the monotonic clock: its time limit plus the
            time for the confirmation, or, after a cancel, the time for the confirmation.
        runner_task: the task that runs the attempt.
    """

    def __init__(
        self,
        operation: Operation,
        stage_no: int,
        context: AttemptContext,
        clock: Clock,
        *,
        timers: Timers,
        confirm_timeout_s: float,
        confirm_only: bool,
        undo: bool,
    ) -> None:
        stage = operation.stages[stage_no - 1]
        self.operation = operation
        self.runner_task: asyncio.Task[None] | None = None
        limit_s = 0.0 if confirm_only else context.limit.left_s
        self.bound_s = clock.monotonic_s() + limit_s + confirm_timeout_s
        self._clock = clock
        self._timers = timers
        self._stage = stage
        self._undoes = undo
        self._step = (stage.undo or _undo_nothing) if undo else stage.run
        self._context = context
        self._confirm_timeout_s = confirm_timeout_s
        self._is_cancelled = confirm_only
        self._is_extended = False
        self._task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """End the step because a user cancelled the DAG. A second call does nothing."""
        if not self._is_cancelled:
            self._is_cancelled = True
            bound_s = self._clock.monotonic_s() + self._confirm_timeout_s
            self.bound_s = min(self.bound_s, bound_s)
            if self._task is not None:
                self._task.cancel()

    def extend(self) -> bool:
        """Move the bound once, because the event loop was late; return False the second time."""
        if self._is_extended:
            return False
        self._is_extended = True
        self.bound_s = self._clock.monotonic_s() + self._confirm_timeout_s
        return True

    def report(self, outcome: Outcome) -> None:
        """Report the outcome to the scheduler, unless the attempt was abandoned."""
        if self._context.is_abandoned:
            return
        if isinstance(outcome, _WITH_PROBLEM):  # it may contain the text of an exception
            outcome = replace(outcome, problem=normalize_problem(outcome.problem))
        self._context.report_end(outcome)

    def abandon(self) -> None:
        """End the attempt with an outcome although its step keeps running.

        From now on, the step cannot change anything in the engine. It is cancelled once more.
        """
        _log.error("attempt_abandoned", **self.describe())
        reason: str
        if self._is_cancelled:
            reason = messages.IGNORED_CANCEL(confirm_s=self._confirm_timeout_s)
        else:
            limit = self._context.limit
            reason = messages.IGNORED_LIMIT(
                limit_s=limit.whole_s, scope=limit.scope, confirm_s=self._confirm_timeout_s
            )
        remedy = messages.CORRECT_STEP_THAT_RUNS_ON()
        self.report(ResultUnknown(self._problem(Code.CANCEL_TIMEOUT, reason, remedy)))
        self._context.is_abandoned = True
        self._task = None
        if self.runner_task is not None:
            self.runner_task.cancel()

    def log_late_end(self) -> None:
        """Log that the step of an abandoned attempt has ended."""
        _log.warning("abandoned_attempt_ended", **self.describe())

    def refuse(self, count: int) -> None:
        """Report the outcome of an attempt that is not started: `count` abandoned steps run."""
        _log.error("attempt_refused", abandoned=count, **self.describe())
        message = messages.TOO_MANY_ABANDONED(operation=self.operation.name, count=count)
        problem = self._problem(Code.UNEXPECTED, message, messages.RESTART_ENGINE())
        self.report(ResultUnknown(problem) if self._is_cancelled else Failed(problem))

    def describe(self) -> Mapping[str, object]:
        """Return the fields that identify the attempt in a log line."""
        context = self._context
        return {
            "operation": self.operation.name,
            "stage": self._stage.name,
            "dag_id": context.dag_id,
            "target": context.target,
            "attempt": context.attempt_no,
        }

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
        if isinstance(outcome, _TO_SETTLE):
            return await self._settle(outcome)
        if isinstance(outcome, Succeeded) and self._lacks_lock:
            return Failed(self._problem(Code.CONFIG_INVALID, messages.LOCK_NOT_TAKEN(), _TAKE_LOCK))
        return outcome

    @property
    def _lacks_lock(self) -> bool:
        """True after the stage that takes the DAG's lock, if the DAG does not hold the lock."""
        is_due = self.operation.takes_lock == self._stage.name and not self._undoes
        return is_due and not self._context.holds_lock

    def end_by_itself(self) -> Outcome:
        """Return the outcome of a step that ended with a cancellation that was not requested."""
        self._task = None
        message = messages.CANCELLED_ITSELF()
        return Failed(self._problem(Code.UNEXPECTED, message, messages.CORRECT_STEP()))

    def end_by_defect(self, exc: BaseException) -> Outcome:
        """Return the outcome of an attempt that `run` ended with an exception of its own."""
        self._task = None
        self._log_exception("attempt_crashed", exc)
        return self._crashed(exc)

    async def _run_step(self) -> Outcome | None:
        limit = self._context.limit
        try:
            async with self._timers.timeout(limit.left_s) as deadline:
                outcome = await self._step(self._context)
            if deadline.expired() and isinstance(outcome, Succeeded):
                await self._context.log(messages.DONE_LATE(limit_s=limit.whole_s))
            return outcome_as_stored(outcome)
        except StaleWrite:
            return None  # another attempt has become current
        except NotSerializable as exc:
            invalid = messages.RESULT_INVALID(reason=exc.message)
            return Failed(self._problem(exc.err_code, invalid, exc.remedy))
        except RemoteError as exc:
            message = (
                exc.message
                if exc.host in exc.message
                else messages.HOST_PROBLEM(host=exc.host, reason=exc.message)
            )
            return Failed(Problem(exc.err_code, message, self._then(exc.remedy)))
        except DagengineError as exc:
            return Failed(Problem(exc.err_code, exc.message, self._then(exc.remedy)))
        except BaseException as exc:
            if isinstance(exc, TimeoutError) and deadline.expired():
                message = messages.TIMED_OUT(limit_s=limit.whole_s, scope=limit.scope)
                remedy = messages.CHECK_EFFECT()
                return TimedOut(self._problem(Code.EXECUTE_TIMEOUT, message, remedy))
            if not isinstance(exc, _NOT_OF_STEP):
                self._log_exception("step_crashed", exc)
                return self._crashed(exc)
            raise

    async def _settle(self, outcome: Outcome) -> Outcome:
        """Confirm, within the time limit, that nothing of the step still runs."""
        if self._stage.confirm_stopped is None:
            return outcome
        self._context.wait_for("proof", f"the end of '{self._stage.name}'")
        reason: str = messages.CONFIRMATION_TIMED_OUT()
        try:
            async with self._timers.timeout(self._confirm_left_s()):
                is_confirmed: object = await self._stage.confirm_stopped(self._context)
            if is_confirmed is True:
                return outcome
            reason = messages.MAY_STILL_RUN()
            if not isinstance(is_confirmed, bool):
                reason = messages.CONFIRMATION_INVALID(value=is_confirmed)
        except TimeoutError:
            pass
        except DagengineError as exc:
            reason = str(exc)
        except BaseException as exc:
            if not isinstance(exc, _NOT_OF_STEP):
                self._log_exception("settle_crashed", exc)
                return self._unconfirmed(f"{type(exc).__name__}: {_text_of(exc)}")
            raise
        return self._unconfirmed(reason)

    def _unconfirmed(self, reason: str) -> ResultUnknown:
        message = messages.END_UNCONFIRMED(target=self._context.target, reason=reason)
        problem = self._problem(Code.CANCEL_TIMEOUT, message, messages.CHECK_EFFECT())
        return ResultUnknown(problem)

    def _crashed(self, exc: BaseException) -> Failed:
        message = messages.STEP_CRASHED(error=type(exc).__name__, reason=_text_of(exc))
        return Failed(self._problem(Code.UNEXPECTED, message, messages.CORRECT_STEP()))

    def _log_exception(self, event: str, exc: BaseException) -> None:
        """Log an exception of the step; without traceback if its text is long.

        Rendering a traceback with megabytes of text would block the event loop.
        """
        fields: dict[str, object] = {"stage": self._stage.name, "dag_id": self._context.dag_id}
        if len(text := _text_of(exc)) > MAX_LINE_BYTES:
            fields["error"] = f"{type(exc).__name__}: {clean_line(text)}"
            _log.error(event, **fields)
        else:
            _log.error(event, exc_info=exc, **fields)

    def _confirm_left_s(self) -> float:
        """Return the time that is left for the confirmation.

        If the bound has passed already, the event loop was late, not the step: the confirmation
        gets its whole time.
        """
        now_s = self._clock.monotonic_s()
        if self.bound_s <= now_s:
            self.extend()
        return min(max(self.bound_s - now_s, 0.0), self._confirm_timeout_s)

    def _problem(self, code: str, message: str, remedy: str) -> Problem:
        stage, target = self._stage.name, self._context.target
        if target:
            message = messages.STEP_PROBLEM_ON(stage=stage, target=target, problem=message)
        else:
            message = messages.STEP_PROBLEM(stage=stage, problem=message)
        return Problem(code, message, self._then(remedy))

    def _then(self, remedy: str) -> str:
        """Return the remedy with the operator to apply after it."""
        if remedy:
            after = messages.ROLLBACK_AFTER if self._undoes else messages.RETRY_AFTER
            return after(remedy=remedy)
        if self._undoes:
            return messages.ROLLBACK_WHEN_CORRECTED()
        return messages.RETRY_WHEN_CORRECTED()


_TAKE_LOCK = messages.TAKE_LOCK()


def _text_of(exc: BaseException) -> str:
    """Return the text of an exception, whose class may have a faulty `__str__`."""
    try:
        return str(exc)
    except Exception:  # noqa: BLE001  # of any kind
        return messages.TEXT_UNAVAILABLE()


async def _undo_nothing(context: StepContext) -> Outcome:
    await context.log(messages.NOTHING_TO_UNDO())
    return Succeeded()

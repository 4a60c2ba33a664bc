"""One attempt: runs a step within its time limit and returns its outcome as a value."""

from __future__ import annotations

import asyncio

import structlog

from dagengine.engine import messages
from dagengine.engine.step_context import AttemptContext
from dagengine.errors import DagengineError, NotSerializable, RemoteError, StaleWrite
from dagengine.model.json_values import outcome_as_stored
from dagengine.model.operation import Stage
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

_log = structlog.get_logger("dagengine.engine")


class Attempt:
    """Runs one step. `cancel` ends the step; a stop of the engine cancels the task instead."""

    def __init__(
        self,
        stage: Stage,
        context: AttemptContext,
        *,
        confirm_timeout_s: float,
        confirm_only: bool,
        undo: bool,
    ) -> None:
        self._stage = stage
        self._undoes = undo
        self._step = (stage.undo or _undo_nothing) if undo else stage.run
        self._context = context
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
        message = messages.CANCELLED_ITSELF()
        return Failed(self._problem("Common.Unexpected", message))

    async def _run_step(self) -> Outcome | None:
        limit = self._context.limit
        try:
            async with asyncio.timeout(limit.left_s) as deadline:
                outcome = await self._step(self._context)
            if deadline.expired() and isinstance(outcome, Succeeded):
                await self._context.log(messages.DONE_LATE(limit_s=limit.whole_s))
            return outcome_as_stored(outcome)
        except StaleWrite:
            return None  # another attempt has become current
        except NotSerializable as exc:
            return Failed(self._problem(exc.err_code, messages.RESULT_INVALID(reason=exc.message)))
        except RemoteError as exc:
            message = (
                exc.message
                if exc.host in exc.message
                else messages.HOST_PROBLEM(host=exc.host, reason=exc.message)
            )
            return Failed(Problem(exc.err_code, message, self._then(exc.remedy)))
        except DagengineError as exc:
            return Failed(Problem(exc.err_code, exc.message, self._then(exc.remedy)))
        except Exception as exc:  # noqa: BLE001  # any exception of a step becomes an outcome
            if isinstance(exc, TimeoutError) and deadline.expired():
                message = messages.TIMED_OUT(limit_s=limit.whole_s, scope=limit.scope)
                return TimedOut(self._problem("Task.Dag.ExecuteTimeout", message))
            _log.exception("step_crashed", stage=self._stage.name, dag_id=self._context.dag_id)
            message = messages.STEP_CRASHED(error=type(exc).__name__, reason=exc)
            return Failed(self._problem("Common.Unexpected", message))

    async def _settle(self, outcome: Outcome) -> Outcome:
        """Confirm, within the time limit, that nothing of the step still runs."""
        if self._stage.confirm_stopped is None:
            return outcome
        self._context.wait_for("proof", f"the end of '{self._stage.name}'")
        reason: str = messages.CONFIRMATION_TIMED_OUT()
        try:
            async with asyncio.timeout(self._confirm_timeout_s):
                if await self._stage.confirm_stopped(self._context):
                    return outcome
            reason = messages.MAY_STILL_RUN()
        except TimeoutError:
            pass
        except DagengineError as exc:
            reason = str(exc)
        except Exception as exc:  # noqa: BLE001  # any exception becomes an outcome, as above
            _log.exception("settle_crashed", stage=self._stage.name, dag_id=self._context.dag_id)
            reason = f"{type(exc).__name__}: {exc}"
        message = messages.END_UNCONFIRMED(target=self._context.target, reason=reason)
        return ResultUnknown(self._problem("Task.Dag.CancelTimeout", message))

    def _problem(self, code: str, message: str) -> Problem:
        stage, target = self._stage.name, self._context.target
        if target:
            message = messages.STEP_PROBLEM_ON(stage=stage, target=target, problem=message)
        else:
            message = messages.STEP_PROBLEM(stage=stage, problem=message)
        return Problem(code, message, self._then(messages.CHECK_SERVER()))

    def _then(self, remedy: str) -> str:
        """Return the remedy with the operator to apply after it."""
        if remedy:
            after = messages.ROLLBACK_AFTER if self._undoes else messages.RETRY_AFTER
            return after(remedy=remedy)
        if self._undoes:
            return messages.ROLLBACK_WHEN_CORRECTED()
        return messages.RETRY_WHEN_CORRECTED()


async def _undo_nothing(context: StepContext) -> Outcome:
    await context.log(messages.NOTHING_TO_UNDO())
    return Succeeded()

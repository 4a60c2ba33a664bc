"""Clean-up that finishes even if its caller is cancelled, and the phases of a shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar
from weakref import WeakSet

import structlog

T = TypeVar("T")

_log = structlog.get_logger("dagengine.engine")

_clean_ups: WeakSet[asyncio.Task[Any]] = WeakSet()
_phases: dict[asyncio.Task[Any], str] = {}

_END_S = 1.0  # for a phase that was cancelled


async def finish(work: Coroutine[Any, Any, T], *, bound_s: float, name: str) -> T | None:
    """Run a clean-up to its end or its time limit, even if the caller is cancelled.

    Args:
        work: the clean-up; its errors are raised to the caller.
        bound_s: time limit, in seconds.
        name: name of the task that runs the clean-up.

    Returns:
        The result of the clean-up; None after a time-out.

    Raises:
        asyncio.CancelledError: the caller was cancelled; raised after the clean-up has ended.
    """
    task = asyncio.create_task(_bounded(work, bound_s), name=name)
    _clean_ups.add(task)
    task.add_done_callback(_clean_ups.discard)
    cancelled = await wait_out(task)
    if cancelled is not None:
        raise cancelled
    return task.result()


async def wait_out(
    task: asyncio.Future[Any], *, limit_s: float | None = None
) -> asyncio.CancelledError | None:
    """Wait until a task or a future has ended, even if the caller is cancelled.

    Args:
        task: the task or the future.
        limit_s: how long to wait, in seconds; None: until it has ended.

    Returns:
        The cancellation, which the caller must raise after its own clean-up, or None.
    """
    cancelled: asyncio.CancelledError | None = None
    loop = asyncio.get_running_loop()
    end_s = None if limit_s is None else loop.time() + limit_s
    while not task.done():
        left_s = None if end_s is None else max(end_s - loop.time(), 0.0)
        try:
            if not (await asyncio.wait([task], timeout=left_s))[0]:
                break
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


async def run_phase(
    work: Coroutine[Any, Any, object] | asyncio.Task[Any], *, limit_s: float, phase: str
) -> bool:
    """Run one phase of a shutdown to its end or its limit, even if the caller is cancelled.

    At the limit the phase is cancelled. If it ignores that, it is abandoned: it keeps running,
    and the shutdown continues. The log says which phase was cut.

    Args:
        work: ends something; its errors are raised to the caller unless it was cut. A task that
            was cancelled has ended.
        limit_s: the limit, in seconds.
        phase: what ends, for the log.

    Returns:
        Whether the phase ended in time.

    Raises:
        asyncio.CancelledError: the caller was cancelled; raised after the phase.
    """
    task = work if isinstance(work, asyncio.Task) else asyncio.create_task(work, name=phase)
    _phases[task] = phase
    task.add_done_callback(lambda ended: _phases.pop(ended, None))
    cancelled = await wait_out(task, limit_s=limit_s)
    is_in_time = task.done()
    if not is_in_time:
        task.cancel()
        cancelled = await wait_out(task, limit_s=_END_S) or cancelled
        _log.error("stop_phase_cut", phase=phase, limit_s=limit_s, has_ended=task.done())
        task.add_done_callback(_retrieve)
    if cancelled is not None:
        raise cancelled
    if is_in_time and not task.cancelled():
        task.result()
    return is_in_time


def running_phases() -> list[str]:
    """Return the phases of a shutdown that have not ended, those that were cut included."""
    return sorted(_phases.values())


async def _bounded(work: Coroutine[Any, Any, T], bound_s: float) -> T | None:
    try:
        async with asyncio.timeout(bound_s):
            return await work
    except TimeoutError:
        return None


def has_clean_ups() -> bool:
    """Return True while a clean-up that `finish` bounds runs in the running event loop."""
    loop = asyncio.get_running_loop()
    return any(task.get_loop() is loop for task in _clean_ups)


def force_end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Close the coroutines of tasks that ignore cancellation, so that their program can end.

    A coroutine that ignores this as well keeps running. Code after its current await is skipped.
    """
    for task in tasks:
        coroutine = task.get_coro()
        try:
            coroutine.close()
        except Exception as exc:  # noqa: BLE001  # it awaits in a `finally` block, or ignores the exit
            _log.warning("task_closed_with_error", task=task.get_name(), error=repr(exc))
        task.add_done_callback(_retrieve)
        task.cancel()


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # otherwise asyncio reports it as never retrieved

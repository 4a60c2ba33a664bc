"""Clean-up that finishes although its caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def finish(work: Coroutine[Any, Any, T], *, bound_s: float, name: str) -> T | None:
    """Run some clean-up to its end, or to its bound, whatever happens to the caller.

    Args:
        work: the clean-up; its errors are raised here.
        bound_s: how long it may take, in seconds.
        name: of the task that runs it.

    Returns:
        What it returned; None when its time ran out.

    Raises:
        asyncio.CancelledError: the caller was cancelled meanwhile; raised after the end.
    """
    task = asyncio.create_task(_bounded(work, bound_s), name=name)
    cancelled = await wait_out(task)
    if cancelled is not None:
        raise cancelled
    return task.result()


async def wait_out(task: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait until a task, or a future, has ended, although the caller is cancelled meanwhile.

    Returns:
        The cancellation, which the caller has to raise when it has cleaned up; else None.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


async def _bounded(work: Coroutine[Any, Any, T], bound_s: float) -> T | None:
    try:
        async with asyncio.timeout(bound_s):
            return await work
    except TimeoutError:
        return None

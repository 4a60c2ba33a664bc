"""Clean-up that finishes even if its caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


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
    cancelled = await wait_out(task)
    if cancelled is not None:
        raise cancelled
    return task.result()


async def wait_out(task: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait until a task or a future has ended, even if the caller is cancelled.

    Returns:
        The cancellation, which the caller must raise after its own clean-up, or None.
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

"""The watchdog of the event loop: reports the task that blocks it, and where."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from structlog.testing import capture_logs

from dagengine.runtime.loop_watchdog import LoopWatchdog
from dagengine.testing import eventually

LIMIT_S = 0.04


def block(seconds: float) -> None:
    """Block the thread, as a call without `await` does."""
    threading.Event().wait(seconds)


class Owner:
    """An owner of one task; signals the loop when the watchdog asks."""

    def __init__(self, *, has_tasks: bool) -> None:
        self.asked = asyncio.Event()
        self.questions = 0
        self._has_tasks = has_tasks
        self._loop = asyncio.get_running_loop()

    def has_tasks(self) -> bool:
        self.questions += 1
        self._loop.call_soon_threadsafe(self.asked.set)
        return self._has_tasks

    def describe_task(self, task: asyncio.Task[Any] | None) -> Mapping[str, object]:
        return {"task": "" if task is None else task.get_name()}


async def watch(seconds: float, *, is_needed: bool = True) -> list[Mapping[str, Any]]:
    """Return the log lines of a watchdog while a task blocks the loop."""
    owner = Owner(has_tasks=is_needed)

    async def step() -> None:
        block(seconds)

    watchdog = LoopWatchdog(owner, limit_s=LIMIT_S)
    with capture_logs() as logs:
        watchdog.start()
        await owner.asked.wait()
        await asyncio.create_task(step(), name="the step")
        if is_needed and seconds:

            async def has_resumed() -> bool:
                return logs != [] and logs[-1]["event"] == "event_loop_resumed"

            await eventually(has_resumed, what="a running loop")
        watchdog.stop()
    return list(logs)


async def test_watchdog_blocked_loop_names_task_and_place() -> None:
    blocked, resumed = await watch(0.5)
    assert (blocked["event"], resumed["event"]) == ("event_loop_blocked", "event_loop_resumed")
    assert (blocked["log_level"], resumed["log_level"]) == ("error", "warning")
    assert blocked["task"] == resumed["task"] == "the step"
    assert "called by" in blocked["at"]
    assert f"block ({__file__}:" in blocked["at"]
    assert resumed["blocked_s"] >= blocked["blocked_s"] > 0


async def test_watchdog_running_loop_reports_nothing() -> None:
    assert await watch(0) == []


async def test_watchdog_without_need_reports_nothing() -> None:
    assert await watch(0.2, is_needed=False) == []


async def test_watchdog_without_tasks_sleeps_until_resumed() -> None:
    owner = Owner(has_tasks=False)
    watchdog = LoopWatchdog(owner, limit_s=LIMIT_S)
    watchdog.start()
    await owner.asked.wait()
    block(10 * LIMIT_S)
    assert owner.questions == 1
    owner.asked.clear()
    watchdog.resume()
    await owner.asked.wait()
    watchdog.stop()


async def test_watchdog_thread_ends_while_it_sleeps() -> None:
    owner = Owner(has_tasks=False)
    watchdog = LoopWatchdog(owner, limit_s=LIMIT_S)
    before = set(threading.enumerate())
    watchdog.start()
    (thread,) = set(threading.enumerate()) - before
    await owner.asked.wait()
    watchdog.stop()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()

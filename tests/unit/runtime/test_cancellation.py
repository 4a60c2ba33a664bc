"""The phases of a shutdown: each ends at its limit, and the log says which one was cut."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from dagengine.runtime.cancellation import run_phase, running_phases


async def return_at_once() -> None: ...


async def hang() -> None:
    await asyncio.Event().wait()


async def hang_until(released: asyncio.Event) -> None:
    """Ignore cancellation."""
    while not released.is_set():
        try:
            await released.wait()
        except asyncio.CancelledError:
            continue


async def test_phase_in_time_is_not_logged() -> None:
    with capture_logs() as logs:
        assert await run_phase(return_at_once(), limit_s=60.0, phase="store")
    assert logs == []
    assert running_phases() == []


async def test_phase_that_fails_raises_to_caller() -> None:
    async def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        await run_phase(fail(), limit_s=60.0, phase="store")


async def test_phase_at_limit_is_cancelled_and_logged() -> None:
    task = asyncio.create_task(hang())
    with capture_logs() as logs:
        assert not await run_phase(task, limit_s=0.01, phase="store")
    assert task.cancelled()
    (line,) = logs
    assert line["event"] == "stop_phase_cut"
    assert (line["phase"], line["limit_s"], line["has_ended"]) == ("store", 0.01, True)


async def test_phase_ignoring_cancellation_is_abandoned() -> None:
    released = asyncio.Event()
    task = asyncio.create_task(hang_until(released))
    with capture_logs() as logs:
        assert not await run_phase(task, limit_s=0.01, phase="store")
    assert [line["has_ended"] for line in logs] == [False]
    assert running_phases() == ["store"]  # for the log line of the process's own limit
    released.set()
    await task
    await asyncio.sleep(0)
    assert running_phases() == []


async def test_phase_with_cancelled_caller_still_ends() -> None:
    may_end, ended = asyncio.Event(), asyncio.Event()

    async def end() -> None:
        await may_end.wait()
        ended.set()

    caller = asyncio.create_task(run_phase(end(), limit_s=60.0, phase="store"))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()

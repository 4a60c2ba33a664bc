"""The limit on the stop of a process, which holds while its event loop is blocked."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path

from structlog.testing import capture_logs

from dagengine.ownership.exit_timer import ExitTimer
from dagengine.runtime.cancellation import run_phase
from dagengine.server.controller import STOP_LIMIT_S

ROOT = Path(__file__).parents[3]


async def test_exit_timer_names_phases_while_loop_is_blocked() -> None:
    ended = threading.Event()
    timer = ExitTimer(0.01, ended.set, "stop_late")
    phase = asyncio.create_task(run_phase(asyncio.Event().wait(), limit_s=60.0, phase="engine"))
    await asyncio.sleep(0)
    with capture_logs() as logs:
        timer.start()
        assert ended.wait(60.0)
    (line,) = logs
    assert (line["event"], line["limit_s"], line["phases"]) == ("stop_late", 0.01, ["engine"])
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.wait([phase])


def test_exit_timer_cancelled_does_nothing() -> None:
    timer = ExitTimer(60.0, lambda: None, "stop_late")
    timer.start()
    timer.cancel()
    timer.cancel()
    ExitTimer(60.0, lambda: None, "stop_late").cancel()


def test_stop_limit_is_less_than_that_of_service_manager() -> None:
    unit = (ROOT / "configs" / "dagengine.service").read_text()
    (limit,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(limit) > STOP_LIMIT_S

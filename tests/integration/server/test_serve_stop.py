"""`dagengine serve` ends by itself although something of it does not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dagengine.cli import main
from tasks.demo.hosts import free_port

pytestmark = pytest.mark.slow

# The arguments: how long a stop may take, and what does not end.
PROGRAM = """
import asyncio, sys, threading
from contextlib import asynccontextmanager
from dataclasses import replace
from dagengine.cli import serve as command
from dagengine.server import controller
from tasks import EXTENSION

limit_s, culprit, config = sys.argv[1:]
controller.STOP_LIMIT_S = float(limit_s)

async def hang():
    await asyncio.Event().wait()

@asynccontextmanager
async def open_hanging(context):
    async with EXTENSION.open(context) as extension:
        yield extension
        if culprit == "extension":
            await hang()
        if culprit == "pool":
            context.pool.close = hang
        if culprit == "thread":
            asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)

load = command.load_extension_points
command.load_extension_points = lambda: replace(
    load(), points=[replace(EXTENSION, open=open_hanging)]
)
sys.exit(command.run_serve(["-c", config, "--log-format", "json"]))
"""


@pytest.fixture
def engine_file(tmp_path: Path) -> Path:
    """Return the engine file of a controller whose server does not exist."""
    assert main(["init", str(tmp_path), "--server", "127.0.0.1", "--port", str(free_port())]) == 0
    cluster_file = tmp_path / "cluster.yaml"
    text = cluster_file.read_text().replace("  user: ", f"  port: {free_port()}\n  user: ")
    cluster_file.write_text(text)
    return tmp_path / "engine.yaml"


async def stop(engine_file: Path, limit_s: float, culprit: str) -> tuple[int, Mapping[str, Any]]:
    """Run a controller until SIGTERM; return its exit code and its last log line of each event."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(limit_s), culprit, str(engine_file)),
        env={**os.environ, "DAGENGINE_ROOT_PASSWORD": "secret"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(120):
            assert process.stdout is not None
            assert b"ready" in await process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            _, log = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith(b"{")]
    assert process.returncode is not None
    return process.returncode, {line["event"]: line for line in lines}


async def test_serve_with_hanging_extension_exits_at_limit(engine_file: Path) -> None:
    code, events = await stop(engine_file, 1.0, "extension")
    assert code == os.EX_TEMPFAIL
    assert events["stop_late"]["phases"] == ["cluster cluster"]


async def test_serve_with_hanging_thread_exits_at_limit(engine_file: Path) -> None:
    code, events = await stop(engine_file, 1.0, "thread")
    assert code == os.EX_TEMPFAIL
    assert events["stop_late"]["phases"] == []


async def test_serve_cuts_pool_that_does_not_close(engine_file: Path) -> None:
    code, events = await stop(engine_file, 60.0, "pool")
    assert code == 0
    assert events["stop_phase_cut"]["phase"] == "SSH connections"
    assert "controller_stopped" in events

"""`dagengine serve` on a terminal and in a pipe, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from dagengine.cli import main
from tasks.demo.hosts import free_port

CTRL_C = b"\x03"


@pytest.fixture
def engine_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Return the engine file of a controller whose server is never contacted successfully."""
    assert main(["init", str(tmp_path), "--server", "127.0.0.1", "--port", str(free_port())]) == 0
    capsys.readouterr()
    cluster_file = tmp_path / "cluster.yaml"
    text = cluster_file.read_text().replace("  user: ", f"  port: {free_port()}\n  user: ")
    cluster_file.write_text(text)
    return tmp_path / "engine.yaml"


def launch_arguments(engine_file: Path, *options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "dagengine", "serve", "-c", str(engine_file), *options)


ENVIRONMENT = {**os.environ, "DAGENGINE_ROOT_PASSWORD": "secret", "NO_COLOR": "1"}


async def read_until(descriptor: int, text: str) -> str:
    """Return the output of a terminal up to the text."""
    printed = ""
    while text not in printed:
        chunk = await asyncio.to_thread(os.read, descriptor, 65536)
        printed += chunk.decode()
    return printed


async def test_serve_on_terminal_prints_readable_lines(engine_file: Path) -> None:
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *launch_arguments(engine_file),
        env=ENVIRONMENT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: os.login_tty(theirs),
    )
    try:
        async with asyncio.timeout(30):
            printed = await read_until(ours, "Ctrl-C; the servers keep running")
            os.write(ours, CTRL_C)
            printed += await read_until(ours, "controller_stopped")
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(theirs)
        os.close(ours)
    assert "demo: 1 servers in 1 zones" in printed
    assert f"unix:{engine_file.parent}/run/dagengine.sock" in printed
    assert "dagengine start --dry-run --url http://127.0.0.1:" in printed
    assert "controller_started" in printed
    assert '{"' not in printed
    assert "Traceback" not in printed


@pytest.mark.slow
async def test_serve_in_a_pipe_prints_ready_line_and_json(engine_file: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *launch_arguments(engine_file, "--log-level", "info"),
        env=ENVIRONMENT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        ready = await process.stdout.readline()
        process.terminate()
        out, err = await process.communicate()
    assert ready.startswith(b"dagengine ready on http://127.0.0.1:")
    assert (process.returncode, out) == (0, b"")
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert {"controller_started", "controller_stopped"} <= {*events}

"""Commands on a terminal of 60 columns, capable or not."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import struct
import sys
import termios

import pytest

from tests.support.cli_controller import CliController
from tests.support.fake_cluster import SECOND

COLUMNS = 60


async def run_on_terminal(controller: CliController, *argv: str, **environ: str) -> str:
    """Return what a command writes to a terminal, which is its stdout."""
    main, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dagengine", *argv),
            cwd=controller.directory,
            env=controller.environment | {"PYTHONUTF8": "1"} | environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=terminal,
            stderr=asyncio.subprocess.DEVNULL,
        )
    finally:
        os.close(terminal)
    with os.fdopen(main, "rb", buffering=0) as reader:
        output = await asyncio.to_thread(read_to_end, reader.fileno())
    await process.wait()
    return output.decode().replace("\r\n", "\n")


def read_to_end(file: int) -> bytes:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(file, 65536)
        except OSError:  # Linux: no process has the terminal open any more
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}])
async def test_cli_plain_terminal_gets_lines_of_its_width(
    controller: CliController, environ: dict[str, str]
) -> None:
    controller.broken = controller.down = {SECOND}
    output = await run_on_terminal(controller, "start", **environ)
    output += await run_on_terminal(controller, "status", **environ)
    assert "\x1b" not in output
    assert "1/2 servers healthy" in output
    assert [line for line in output.splitlines() if len(line) > COLUMNS] == []


async def test_cli_capable_terminal_gets_symbols_and_colours(controller: CliController) -> None:
    controller.broken = controller.down = {SECOND}
    output = await run_on_terminal(controller, "start", TERM="xterm")
    output += await run_on_terminal(controller, "status", TERM="xterm")
    text = re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", output)
    assert "✗ 1/2 servers healthy" in text
    assert re.search(r"✓ [0-9:]{8} \[1/1\] Look", text)
    assert "\x1b[1;31m✗ \x1b[0m" in output


@pytest.mark.parametrize("argv", [("explain", "OB.Zone.NotExist"), ("explain", "ports")])
async def test_cli_local_command_keeps_to_width_of_terminal(
    controller: CliController, argv: tuple[str, ...]
) -> None:
    rows = (await run_on_terminal(controller, *argv, TERM="xterm")).splitlines()
    assert len(rows) > 3
    assert [row for row in rows if len(row) > COLUMNS] == []

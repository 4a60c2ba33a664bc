"""A controller with few file descriptors: clients do not take those for hosts."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from dagengine.testing import eventually
from tasks.demo.hosts import free_port
from tests.support.listening_controller import CLUSTER

ALLOWED = 64
HOST_SHARE = 16
FLOODING = tuple(f"127.0.0.{n}" for n in range(2, 7))


class LimitedController:
    """`dagengine serve` under a limit on open files."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())


@asynccontextmanager
async def limited_controller(directory: Path, limit: int) -> AsyncIterator[LimitedController]:
    port = free_port()
    (directory / "password").write_text("pw")
    (directory / "cluster.yaml").write_text(CLUSTER)
    engine = {"api": {"port": port}, "store": {"path": "s"}, "cluster": "cluster.yaml"}
    (directory / "engine.yaml").write_text(json.dumps(engine))
    command = f"ulimit -n {limit} && exec {sys.executable} -m dagengine serve -c engine.yaml"
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", command), cwd=directory, stdout=asyncio.subprocess.PIPE, stderr=log
        )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        yield LimitedController(process, port, directory / "log")
    finally:
        process.terminate()
        await process.wait()


async def test_serve_with_few_descriptors_lowers_limits(tmp_path: Path) -> None:
    async with limited_controller(tmp_path, ALLOWED) as controller:
        before = controller.descriptors()
        with ExitStack() as stack:
            for address in FLOODING * 24:
                place = (("127.0.0.1", controller.port), 10, (address, 0))
                stack.enter_context(socket.create_connection(*place))

            async def has_refused() -> bool:
                return any(line["event"] == "connections_refused" for line in controller.log())

            await eventually(has_refused, what="refused connections")

            async def has_share() -> bool:  # some may be neither admitted nor refused yet
                return controller.descriptors() <= ALLOWED - HOST_SHARE

            await eventually(has_share, what="the descriptors kept for hosts")
            lowered = [e for e in controller.log() if e["event"] == "connection_limits_lowered"]

        async def has_room() -> bool:
            return controller.descriptors() <= before

        await eventually(has_room, what="closed connections")
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{controller.port}/healthz") as response,
        ):
            assert response.status == 200
        errors = [line for line in controller.log() if line["level"] == "error"]
    assert errors == []
    (line,) = lowered
    assert line["descriptors"] == ALLOWED
    assert line["connections"] <= ALLOWED - before
    assert "LimitNOFILE" in line["remedy"]

"""The API beside bare aiohttp handlers, followers of a stream, idle connections: `make bench-api`.

The controller, the bare handlers and the load are processes of their own, on loopback. Goals are
ratios within one run; absolute figures depend on the machine and its load. Asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from _shared.tables import print_load, print_table

from dagengine.client import Client
from dagengine.client.signing import load_key, sign

CASES = Path(__file__).with_name("api_cases")
ROUNDS, SECONDS, CONNECTIONS = 5, 2.0, 16
FOLLOWERS, IDLE = 500, 2000
PASSWORD = "x"  # used only by this benchmark

Counters = dict[str, Any]


@asynccontextmanager
async def program(script: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run one of the cases' programs; kill it at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CASES / script),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "ROOT": PASSWORD},
        limit=64 * 1024 * 1024,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def read_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(120):
        line = (await process.stdout.readline()).decode().strip()
    if not line:
        raise SystemExit("a program of the benchmark ended without a word")
    return line


async def begin_load(process: asyncio.subprocess.Process, **asked: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(asked).encode() + b"\n")
    await process.stdin.drain()


@dataclass(frozen=True)
class Rate:
    """Requests per second, and the server's CPU time per request."""

    per_s: float
    cpu_s: float


async def rate(pid: int, url: str, target: str, header: str) -> Rate:
    before = cpu_of(pid)
    async with program("load.py", "rate") as load:
        port = int(url.rpartition(":")[2])
        asked = {"target": target, "header": header, "connections": CONNECTIONS, "seconds": SECONDS}
        await begin_load(load, port=port, **asked)
        per_s = float(json.loads(await read_line(load))["per_s"])
    return Rate(per_s, (cpu_of(pid) - before) / (per_s * SECONDS))


def cpu_of(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


class Bench:
    """The controller, the bare handlers, and the measurements of both."""

    def __init__(self, directory: Path, client: Client, url: str, pid: int) -> None:
        self.directory = directory
        self.client = client
        self.url = url
        self.pid = pid
        self.bare = ""
        self.bare_pid = 0
        self.dag = ""

    async def sign(self, target: str) -> str:
        key = load_key((await self.client.secret())["public_key"])
        return sign(key, PASSWORD, target, None).header

    async def compare(self, target: str, bare_target: str, *, signed: bool) -> list[str]:
        """Measure our and the bare handler alternately; return the rounds' medians as cells."""
        ours: list[Rate] = []
        bare: list[Rate] = []
        for _ in range(ROUNDS):
            header = await self.sign(target) if signed else ""
            ours.append(await rate(self.pid, self.url, target, header))
            bare.append(await rate(self.bare_pid, self.bare, bare_target, header))
        mine, other = (statistics.median(rate.per_s for rate in rates) for rates in (ours, bare))
        spent, least = (statistics.median(rate.cpu_s for rate in rates) for rates in (ours, bare))
        return [
            *(f"{mine:,.0f}", f"{other:,.0f}", f"{mine / other:.2f}", "0.6"),
            *(f"{spent * 1e6:,.0f}", f"{least * 1e6:,.0f}", f"{least / spent:.2f}"),
        ]

    async def follow(self) -> list[float]:
        """Return the delays from each commit to each subscriber in seconds, sorted."""
        dag = await self.client.post("/chat", {})
        target = f"/api/v1/task/dag/{dag['id']}/events"
        async with program("load.py", "follow") as load:
            await begin_load(
                load,
                port=int(self.url.rpartition(":")[2]),
                target=target,
                header=await self.sign(target),
                followers=FOLLOWERS,
            )
            await read_line(load)
            await self.client.post("/talk", {})
            told = json.loads(await read_line(load))
        committed = json.loads((self.directory / "told.json").read_text())
        late = [at - committed[line] for line, instants in told.items() for at in instants]
        if len(late) != len(committed) * FOLLOWERS:
            raise SystemExit(f"{len(late)} of {len(committed) * FOLLOWERS} lines arrived")
        return sorted(late)

    async def hold(self) -> int:
        """Return the controller's memory for idle connections, in bytes."""
        before = psutil.Process(self.pid).memory_info().rss
        async with program("load.py", "idle") as load:
            port = int(self.url.rpartition(":")[2])
            asked = {"target": "/api/v1/info", "header": "", "connections": IDLE}
            await begin_load(load, port=port, **asked)
            await read_line(load)
            return int(psutil.Process(self.pid).memory_info().rss) - before


@asynccontextmanager
async def open_bench(directory: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(program("server.py", str(directory)))
        url = await read_line(server)
        client = await stack.enter_async_context(Client(url, PASSWORD))
        bench = Bench(directory, client, url, server.pid)
        bench.dag = (await client.post("/go", {}))["id"]
        (directory / "info.json").write_text(json.dumps(await client.info()))
        (directory / "dag.json").write_text(json.dumps(await client.get_dag(bench.dag)))
        key_file = directory / "var" / "dagengine.key.pem"
        bare = await stack.enter_async_context(program("bare.py", str(directory), str(key_file)))
        bench.bare, bench.bare_pid = await read_line(bare), bare.pid
        yield bench


async def measure() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with open_bench(Path(directory)) as bench:
            held = await bench.hold()
            info = await bench.compare("/api/v1/info", "/info", signed=False)
            target = f"/api/v1/task/dag/{bench.dag}"
            dag = await bench.compare(target, "/dag", signed=True)
            late = await bench.follow()
    print_table(
        "requests per second",
        [
            ["", "ours", "bare", "ratio", "goal", "CPU us, ours", "bare", "ratio"],
            ["GET info", *info],
            ["GET dag, signed", *dag],
        ],
    )
    print_table(
        "followers and idle connections",
        [
            ["", "figure", "goal"],
            [f"{FOLLOWERS} followers, commit to each, median, ms", ms(late, 0.5), "100"],
            ["  p99, ms", ms(late, 0.99), ""],
            ["  slowest, ms", ms(late, 1.0), ""],
            [f"{IDLE} idle connections, MB", f"{held / 1e6:.1f}", "60"],
        ],
    )


def ms(times: list[float], part: float) -> str:
    return f"{times[min(int(len(times) * part), len(times) - 1)] * 1e3:.1f}"


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print_load("before")
    asyncio.run(measure())
    print_load("after")


if __name__ == "__main__":
    main()

"""Benchmark of the API: request rates, event streams, idle connections (`make bench-api`).

Compares the controller with bare aiohttp handlers. The controller, the bare handlers and the load
generator are separate processes on loopback. Goals are ratios within one run; absolute values
depend on the machine and its load. Asserts nothing.
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
from _support.report import print_load, print_table

from dagengine.client import Client
from dagengine.client.signing import load_key, sign

CASES = Path(__file__).with_name("api_cases")
ROUNDS, ROUND_S, CONNECTIONS = 5, 2.0, 16
SUBSCRIBERS, IDLE_CONNECTIONS = 500, 2000
READY_LIMIT_S = 120
PASSWORD = "x"  # of a controller that only this benchmark uses


@asynccontextmanager
async def run_script(script: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a script of `api_cases` in its own process; kill the process at the end."""
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
    async with asyncio.timeout(READY_LIMIT_S):
        line = (await process.stdout.readline()).decode().strip()
    if not line:
        raise SystemExit("a process of the benchmark ended without output")
    return line


async def start_load(process: asyncio.subprocess.Process, **request: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")
    await process.stdin.drain()


@dataclass(frozen=True)
class Rate:
    """Requests per second, and the server's CPU time per request in seconds."""

    per_s: float
    cpu_s: float


async def measure_rate(pid: int, url: str, target: str, header: str) -> Rate:
    before_s = read_cpu_s(pid)
    async with run_script("load_generator.py", "rate") as load:
        await start_load(
            load,
            port=int(url.rpartition(":")[2]),
            target=target,
            header=header,
            connections=CONNECTIONS,
            seconds=ROUND_S,
        )
        per_s = float(json.loads(await read_line(load))["per_s"])
    return Rate(per_s, (read_cpu_s(pid) - before_s) / (per_s * ROUND_S))


def read_cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


class ApiBenchmark:
    """Measurements of a running controller and of the bare aiohttp handlers."""

    def __init__(self, directory: Path, client: Client, url: str, pid: int) -> None:
        self.directory = directory
        self.client = client
        self.url = url
        self.pid = pid
        self.bare_url = ""
        self.bare_pid = 0
        self.dag_id = ""

    async def sign(self, target: str) -> str:
        key = load_key((await self.client.secret())["public_key"])
        return sign(key, PASSWORD, target, None).header

    async def compare(self, target: str, bare_target: str, *, signed: bool) -> list[str]:
        """Measure both handlers alternately; return the medians of the rounds as cells."""
        own_rates: list[Rate] = []
        bare_rates: list[Rate] = []
        for _ in range(ROUNDS):
            header = await self.sign(target) if signed else ""
            own_rates.append(await measure_rate(self.pid, self.url, target, header))
            bare_rates.append(await measure_rate(self.bare_pid, self.bare_url, bare_target, header))
        own_per_s = statistics.median(rate.per_s for rate in own_rates)
        bare_per_s = statistics.median(rate.per_s for rate in bare_rates)
        own_cpu_s = statistics.median(rate.cpu_s for rate in own_rates)
        bare_cpu_s = statistics.median(rate.cpu_s for rate in bare_rates)
        return [
            *(f"{own_per_s:,.0f}", f"{bare_per_s:,.0f}", f"{own_per_s / bare_per_s:.2f}", "0.6"),
            *(f"{own_cpu_s * 1e6:,.0f}", f"{bare_cpu_s * 1e6:,.0f}"),
            f"{bare_cpu_s / own_cpu_s:.2f}",
        ]

    async def measure_event_delays(self) -> list[float]:
        """Return the delays from each commit to each subscriber in seconds, sorted."""
        dag = await self.client.post("/log-dag", {})
        target = f"/api/v1/task/dag/{dag['id']}/events"
        async with run_script("load_generator.py", "stream") as load:
            await start_load(
                load,
                port=int(self.url.rpartition(":")[2]),
                target=target,
                header=await self.sign(target),
                subscribers=SUBSCRIBERS,
            )
            await read_line(load)
            await self.client.post("/log-lines", {})
            received_s = json.loads(await read_line(load))
        committed_s = json.loads((self.directory / "committed_s.json").read_text())
        delays_s = [
            instant_s - committed_s[line]
            for line, instants_s in received_s.items()
            for instant_s in instants_s
        ]
        if len(delays_s) != (expected := len(committed_s) * SUBSCRIBERS):
            raise SystemExit(f"only {len(delays_s)} of {expected} lines arrived")
        return sorted(delays_s)

    async def measure_idle_memory(self) -> int:
        """Return the controller's memory for idle connections, in bytes."""
        before_bytes = psutil.Process(self.pid).memory_info().rss
        async with run_script("load_generator.py", "idle") as load:
            await start_load(
                load,
                port=int(self.url.rpartition(":")[2]),
                target="/api/v1/info",
                header="",
                connections=IDLE_CONNECTIONS,
            )
            await read_line(load)
            return int(psutil.Process(self.pid).memory_info().rss) - before_bytes


@asynccontextmanager
async def open_benchmark(directory: Path) -> AsyncIterator[ApiBenchmark]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(run_script("controller.py", str(directory)))
        url = await read_line(server)
        client = await stack.enter_async_context(Client(url, PASSWORD))
        benchmark = ApiBenchmark(directory, client, url, server.pid)
        benchmark.dag_id = (await client.post("/six-stages", {}))["id"]
        (directory / "info.json").write_text(json.dumps(await client.info()))
        (directory / "dag.json").write_text(json.dumps(await client.get_dag(benchmark.dag_id)))
        key_file = directory / "var" / "dagengine.key.pem"
        bare = await stack.enter_async_context(
            run_script("bare_aiohttp.py", str(directory), str(key_file))
        )
        benchmark.bare_url, benchmark.bare_pid = await read_line(bare), bare.pid
        yield benchmark


async def measure() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with open_benchmark(Path(directory)) as benchmark:
            idle_bytes = await benchmark.measure_idle_memory()
            info_cells = await benchmark.compare("/api/v1/info", "/info", signed=False)
            target = f"/api/v1/task/dag/{benchmark.dag_id}"
            dag_cells = await benchmark.compare(target, "/dag", signed=True)
            delays_s = await benchmark.measure_event_delays()
    print_table(
        "requests per second",
        [
            ["", "dagengine", "bare", "ratio", "goal", "CPU us, dagengine", "bare", "ratio"],
            ["GET info", *info_cells],
            ["GET dag, signed", *dag_cells],
        ],
    )
    print_table(
        "event streams and idle connections",
        [
            ["", "result", "goal"],
            [
                f"delay from commit to {SUBSCRIBERS} subscribers, median, ms",
                render_ms(delays_s, 0.5),
                "100",
            ],
            ["  p99, ms", render_ms(delays_s, 0.99), ""],
            ["  maximum, ms", render_ms(delays_s, 1.0), ""],
            [f"{IDLE_CONNECTIONS} idle connections, MB", f"{idle_bytes / 1e6:.1f}", "60"],
        ],
    )


def render_ms(sorted_s: list[float], quantile: float) -> str:
    index = min(int(len(sorted_s) * quantile), len(sorted_s) - 1)
    return f"{sorted_s[index] * 1e3:.1f}"


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print_load("before")
    asyncio.run(measure())
    print_load("after")


if __name__ == "__main__":
    main()

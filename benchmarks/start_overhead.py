"""Benchmark of the overhead of a start beyond the boot of the servers. Asserts nothing.

`total` lasts from just before the client's POST /ob/start to the DAG's `end_time` (same machine,
same clock); the client polls at long intervals to affect the results little. `boot` is that of the
slowest server: from the start of its process to the first answer to `select 1`, as seen by a prober
in another process that polls every 20 ms. `overhead` is the difference. Each round has new homes,
new SSH servers and a new controller, to which the POST is sent as soon as it runs, so the overhead
includes the SSH logins.

The warm case alternates such rounds with rounds whose controller has watched its hosts before the
POST, so that its connections are open. A fresh controller logs in to its hosts while it starts; its
time therefore includes its own start. The comparison from the POST on is printed, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from _support.demo_controller import Dag, DemoController, run_demo_controller, wait_for_end
from _support.report import print_load, print_table, spread_cells

from dagengine.errors import ApiRefused
from tasks.demo.cluster import DemoCluster

GOAL_OVERHEAD_S, GOAL_SHARE = 0.3, 0.05
GOAL_POST_S = 0.010
GOAL_WARM_RATIO = 0.5
_SERVER_COUNTS = (1, 3, 8)
_SERVERS_OF_WARM = 3
_WATCHED_LIMIT_S, _POLL_S = 60.0, 0.05
_SERVERS_OF_POSTS = 3  # running servers while POST is measured
_DEDUPLICATION_S = 1.05  # a repeated POST within one second returns the existing DAG


@dataclass(frozen=True, slots=True)
class Round:
    """Results of one first start.

    Attributes:
        controller_started_at: instant just before the controller's process was started, in seconds
            on the wall clock.
        posted_at: instant just before the POST, in seconds on the wall clock.
        post_s: duration of the POST.
        dag: the DAG at its end.
        boots: the `BootTimes` of each server, from the prober.
    """

    controller_started_at: float
    posted_at: float
    post_s: float
    dag: Dag
    boots: tuple[Mapping[str, Any], ...]

    @property
    def slowest_boot(self) -> Mapping[str, Any]:
        """Boot times of the server that took longest."""
        return max(self.boots, key=_boot_s)

    @property
    def before_s(self) -> float:
        """Time from the POST to the start of the process that took longest to boot."""
        return float(self.slowest_boot["started_at"]) - self.posted_at

    @property
    def boot_s(self) -> float:
        return _boot_s(self.slowest_boot)

    @property
    def total_s(self) -> float:
        return _parse_instant(self.dag["end_time"]) - self.posted_at

    @property
    def overhead_s(self) -> float:
        return self.total_s - self.boot_s

    @property
    def controller_start_s(self) -> float:
        """Time from the start of the controller's process to the POST."""
        return self.posted_at - self.controller_started_at


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="first starts per number of servers")
    parser.add_argument(
        "--servers",
        type=int,
        nargs="+",
        default=list(_SERVER_COUNTS),
        help="numbers of servers to measure",
    )
    parser.add_argument("--posts", type=int, default=30, help="POSTs to an idle controller")
    parser.add_argument("--warm", type=int, default=5, help="pairs of a fresh and a warm round")
    options = parser.parse_args()
    asyncio.run(_measure(options.servers, options.rounds, options.posts, options.warm))


async def _measure(counts: Sequence[int], rounds: int, posts: int, warm: int) -> None:
    print_load("before")
    for count in counts:
        results = [await _run_round(count) for _ in range(rounds)]
        _print_rounds(count, results)
        _print_stages(sorted(results, key=lambda result: result.overhead_s)[len(results) // 2])
    if warm:
        await _measure_warm(warm)
    if posts:
        await _measure_posts(posts)
    print_load("after")


# --- first starts ------------------------------------------------------------------------------


async def _run_round(count: int, *, is_warm: bool = False) -> Round:
    probers: list[asyncio.subprocess.Process] = []

    # A controller logs in to its hosts as soon as it runs: a POST to a fresh one must not wait.
    async def start_prober(cluster: DemoCluster) -> None:
        probers.append(await _start_prober(cluster))

    try:
        async with run_demo_controller(count, prepare=start_prober) as controller:
            if is_warm:
                await controller.client.list_dags()  # fetch the server key, which a client keeps
                await _wait_until_watched(controller)
            posted_at, started_s = time.time(), time.perf_counter()
            accepted = await controller.client.start("GLOBAL")
            post_s = time.perf_counter() - started_s
            dag = await wait_for_end(controller.client, accepted["id"])
            boots = await _read_boots(probers[0])
            return Round(controller.started_at, posted_at, post_s, dag, boots)
    finally:
        for prober in probers:
            if prober.returncode is None:
                prober.kill()
            await prober.wait()


async def _wait_until_watched(controller: DemoController) -> None:
    """Wait until the watch of every host has reported the state of its servers."""
    async with asyncio.timeout(_WATCHED_LIMIT_S):
        while "obStateUnknown" in await controller.client.get("/status"):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)


async def _start_prober(cluster: DemoCluster) -> asyncio.subprocess.Process:
    prober = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "_support.prober",
        cwd=Path(__file__).parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert prober.stdin is not None
    assert prober.stdout is not None
    servers = [
        {"name": server.name, "home": str(server.home), "port": server.sql_port}
        for server in cluster.servers
    ]
    request = {"password": cluster.password, "servers": servers}
    prober.stdin.write(json.dumps(request).encode() + b"\n")
    assert await prober.stdout.readline() == b"polling\n"
    return prober


async def _read_boots(prober: asyncio.subprocess.Process) -> tuple[Mapping[str, Any], ...]:
    assert prober.stdout is not None
    boots = json.loads(await prober.stdout.readline())
    if None in boots:
        raise SystemExit("a server did not answer the prober within its time limit")
    return tuple(boots)


def _boot_s(boot: Mapping[str, Any]) -> float:
    return float(boot["answered_at"]) - float(boot["started_at"])


def _parse_instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _print_rounds(count: int, rounds: Sequence[Round]) -> None:
    before_s = [r.before_s for r in rounds]
    after_s = [_parse_instant(r.dag["end_time"]) - r.slowest_boot["answered_at"] for r in rounds]
    print_table(
        f"first start of {count} server{'s' * (count > 1)}, {len(rounds)} rounds, seconds",
        [
            ("", "median", "min", "max"),
            ("total: POST to the end of the DAG", *spread_cells([r.total_s for r in rounds])),
            ("boot of the slowest server", *spread_cells([r.boot_s for r in rounds])),
            ("overhead", *spread_cells([r.overhead_s for r in rounds])),
            ("  before: POST to the start of its process", *spread_cells(before_s)),
            ("  after: its first `select 1` to the end of the DAG", *spread_cells(after_s)),
            ("response to the POST", *spread_cells([r.post_s for r in rounds])),
        ],
    )
    overheads = " ".join(f"{r.overhead_s:.3f}" for r in rounds)
    share = statistics.median(r.overhead_s / r.boot_s for r in rounds)
    goals = f"goals: at most {GOAL_OVERHEAD_S:g} s and {GOAL_SHARE:.0%}"
    print(f"  overhead by round, s: {overheads}; {share:.0%} of the boot; {goals}", flush=True)


def _print_stages(result: Round) -> None:
    rows: list[tuple[str, ...]] = [("", "start, s", "end, s", "duration, s", "gap before, s")]
    previous_end_s = 0.0
    for node in result.dag["nodes"]:
        start_s = _parse_instant(node["start_time"]) - result.posted_at
        end_s = _parse_instant(node["end_time"]) - result.posted_at
        cells = (start_s, end_s, end_s - start_s, start_s - previous_end_s)
        rows.append((f"stage: {node['name']}", *(f"{cell:.3f}" for cell in cells)))
        previous_end_s = end_s
    for boot in result.boots:
        start_s = boot["started_at"] - result.posted_at
        end_s = boot["answered_at"] - result.posted_at
        cells_of_boot = (start_s, end_s, end_s - start_s)
        rows.append((f"boot: {boot['name']}", *(f"{cell:.3f}" for cell in cells_of_boot), ""))
    print_table(
        "stages and boots in the round with the median overhead, times since the POST", rows
    )


# --- the warm case -------------------------------------------------------------------------------


async def _measure_warm(pairs: int) -> None:
    """Compare first starts by fresh controllers with those by controllers that watched hosts."""
    fresh: list[Round] = []
    warm: list[Round] = []
    for _ in range(pairs):
        fresh.append(await _run_round(_SERVERS_OF_WARM))
        warm.append(await _run_round(_SERVERS_OF_WARM, is_warm=True))
    values_by_label = {
        "time to the server's process": (
            [r.controller_start_s + r.before_s for r in fresh],
            [r.before_s for r in warm],
        ),
        "overhead": (
            [r.controller_start_s + r.overhead_s for r in fresh],
            [r.overhead_s for r in warm],
        ),
        "time to the server's process, from the POST": (
            [r.before_s for r in fresh],
            [r.before_s for r in warm],
        ),
        "overhead, from the POST": ([r.overhead_s for r in fresh], [r.overhead_s for r in warm]),
    }
    rows: list[tuple[str, ...]] = [("", "median", "min", "max")]
    for label, (fresh_s, warm_s) in values_by_label.items():
        rows.append((f"{label}, fresh", *spread_cells(fresh_s)))
        rows.append((f"{label}, warm", *spread_cells(warm_s)))
    print_table(f"warm controller, {_SERVERS_OF_WARM} servers, {pairs} pairs, seconds", rows)
    for label, (fresh_s, warm_s) in values_by_label.items():
        ratio = statistics.median(warm_s) / statistics.median(fresh_s)
        print(f"  {label}: warm / fresh {ratio:.2f}")
    print(f"  goal of the first two: at most {GOAL_WARM_RATIO:g}", flush=True)


# --- the response to the POST --------------------------------------------------------------------


async def _measure_posts(posts: int) -> None:
    """Measure the duration of POST /ob/start on an otherwise idle controller."""
    async with run_demo_controller(_SERVERS_OF_POSTS) as controller:
        await wait_for_end(controller.client, (await controller.client.start("GLOBAL"))["id"])
        await asyncio.sleep(_DEDUPLICATION_S)
        accepted_s = [await _time_start(controller) for _ in range(posts)]
        rejected_s = [await _time_rejection(controller) for _ in range(posts)]
    print_table(
        f"response time of POST /ob/start, idle controller, {posts} calls each, ms",
        [
            ("", "median", "min", "max"),
            ("GLOBAL, all servers running (creates a DAG)", *spread_cells(accepted_s, 0.001, 1)),
            ("ZONE with an unknown zone (rejected)", *spread_cells(rejected_s, 0.001, 1)),
        ],
    )
    is_met = statistics.median(accepted_s) <= GOAL_POST_S
    print(f"  goal: median at most {GOAL_POST_S * 1000:g} ms: {'met' if is_met else 'missed'}")


async def _time_start(controller: DemoController) -> float:
    dags: list[Dag] = []

    async def start() -> None:
        dags.append(await controller.client.start("GLOBAL"))

    duration_s = await _measure_call(start)
    await wait_for_end(controller.client, dags[0]["id"])
    await asyncio.sleep(_DEDUPLICATION_S)
    return duration_s


async def _time_rejection(controller: DemoController) -> float:
    async def start() -> None:
        try:
            await controller.client.start("ZONE", ["no-such-zone"])
        except ApiRefused:
            return
        raise SystemExit("the controller accepted an unknown zone")

    return await _measure_call(start)


async def _measure_call(call: Callable[[], Awaitable[None]]) -> float:
    started_s = time.perf_counter()
    await call()
    return time.perf_counter() - started_s


if __name__ == "__main__":
    main()

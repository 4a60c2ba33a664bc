"""What a start costs beyond the servers' own boot. Prints figures, asserts nothing.

`total` runs from the client's instant before POST /ob/start to the `end_time` that the DAG
itself carries (same machine, same clock); following it seldom keeps the client out of the
figures. `boot` is the slowest server's: from its process's start to the first `select 1` that a
prober in another process gets, polling every 5 ms. `overhead` is the difference. Every round
has fresh homes, fresh SSH servers and a fresh controller, so it includes the SSH logins.
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

from _shared.arena import Arena, Dag, open_arena, wait_for_end
from _shared.tables import print_load, print_table, spread

from dagengine.errors import ApiRefused
from tasks.demo.cluster import DemoCluster

GOAL_OVERHEAD_S, GOAL_SHARE = 0.3, 0.05
GOAL_POST_S = 0.010
_COUNTS = (1, 3, 8)
_POSTED_TO = 3  # number of running servers
_DEDUPE_S = 1.05  # the same POST within a second returns the same DAG, which is not measured


@dataclass(frozen=True, slots=True)
class Round:
    """Results of one first start.

    Attributes:
        asked_at: just before the POST was sent, on the wall clock.
        post_s: duration of the POST.
        dag: the DAG at its end.
        sights: the prober's result for each server.
    """

    asked_at: float
    post_s: float
    dag: Dag
    sights: tuple[Mapping[str, Any], ...]

    @property
    def slowest(self) -> Mapping[str, Any]:
        """The server with the longest boot."""
        return max(self.sights, key=_boot_s)

    @property
    def boot_s(self) -> float:
        return _boot_s(self.slowest)

    @property
    def total_s(self) -> float:
        return _instant(self.dag["end_time"]) - self.asked_at

    @property
    def overhead_s(self) -> float:
        return self.total_s - self.boot_s


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="first starts for each size")
    parser.add_argument("--servers", type=int, nargs="+", default=list(_COUNTS))
    parser.add_argument("--posts", type=int, default=30, help="POSTs to an idle controller")
    options = parser.parse_args()
    asyncio.run(_measure(options.servers, options.rounds, options.posts))


async def _measure(counts: Sequence[int], rounds: int, posts: int) -> None:
    print_load("before")
    for count in counts:
        done = [await _run_round(count) for _ in range(rounds)]
        _show_rounds(count, done)
        _show_stages(sorted(done, key=lambda r: r.overhead_s)[len(done) // 2])
    if posts:
        await _measure_posts(posts)
    print_load("after")


# --- first starts ------------------------------------------------------------------------------


async def _run_round(count: int) -> Round:
    async with open_arena(count) as arena:
        await arena.client.list_dags()  # fetch the key in advance, as for a client in use
        prober = await _start_prober(arena.cluster)
        try:
            asked_at, begun_s = time.time(), time.perf_counter()
            accepted = await arena.client.start("GLOBAL")
            post_s = time.perf_counter() - begun_s
            dag = await wait_for_end(arena.client, accepted["id"])
            sights = await _hear(prober)
        finally:
            if prober.returncode is None:
                prober.kill()
            await prober.wait()
        return Round(asked_at, post_s, dag, sights)


async def _start_prober(cluster: DemoCluster) -> asyncio.subprocess.Process:
    prober = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "_shared.prober",
        cwd=Path(__file__).parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert prober.stdin is not None
    assert prober.stdout is not None
    servers = [{"name": s.name, "home": str(s.home), "port": s.sql_port} for s in cluster.servers]
    request = {"password": cluster.password, "servers": servers}
    prober.stdin.write(json.dumps(request).encode() + b"\n")
    assert await prober.stdout.readline() == b"polling\n"
    return prober


async def _hear(prober: asyncio.subprocess.Process) -> tuple[Mapping[str, Any], ...]:
    assert prober.stdout is not None
    sights = json.loads(await prober.stdout.readline())
    if None in sights:
        raise SystemExit("the prober did not see every server answer")
    return tuple(sights)


def _boot_s(sight: Mapping[str, Any]) -> float:
    return float(sight["answered_at"]) - float(sight["started_at"])


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _show_rounds(count: int, rounds: Sequence[Round]) -> None:
    before = [r.slowest["started_at"] - r.asked_at for r in rounds]
    after = [_instant(r.dag["end_time"]) - r.slowest["answered_at"] for r in rounds]
    print_table(
        f"first start of {count} server{'s' * (count > 1)}, {len(rounds)} rounds, seconds",
        [
            ("", "median", "min", "max"),
            ("total: POST to the DAG's end", *spread([r.total_s for r in rounds])),
            ("boot of the slowest server", *spread([r.boot_s for r in rounds])),
            ("overhead", *spread([r.overhead_s for r in rounds])),
            ("  before: POST to its process's start", *spread(before)),
            ("  after: its first `select 1` to the end", *spread(after)),
            ("the POST's own answer", *spread([r.post_s for r in rounds])),
        ],
    )
    each = " ".join(f"{r.overhead_s:.3f}" for r in rounds)
    share = statistics.median(r.overhead_s / r.boot_s for r in rounds)
    goals = f"goals: at most {GOAL_OVERHEAD_S:g} s and {GOAL_SHARE:.0%}"
    print(f"  overhead by round: {each}; {share:.0%} of the boot; {goals}", flush=True)


def _show_stages(one: Round) -> None:
    rows: list[tuple[str, ...]] = [("", "from s", "to s", "takes s", "after the one before s")]
    before_s = 0.0
    for node in one.dag["nodes"]:
        begin, end = (_instant(node[key]) - one.asked_at for key in ("start_time", "end_time"))
        cells = (begin, end, end - begin, begin - before_s)
        rows.append((f"stage: {node['name']}", *(f"{cell:.3f}" for cell in cells)))
        before_s = end
    for sight in one.sights:
        begin, end = (sight[key] - one.asked_at for key in ("started_at", "answered_at"))
        ran = (begin, end, end - begin)
        rows.append((f"server: {sight['name']}", *(f"{cell:.3f}" for cell in ran), ""))
    print_table("where the time goes in the round of the median overhead, from the POST", rows)


# --- the response to the POST --------------------------------------------------------------------


async def _measure_posts(posts: int) -> None:
    """Measure the duration of POST /ob/start on an otherwise idle controller."""
    async with open_arena(_POSTED_TO) as arena:
        await wait_for_end(arena.client, (await arena.client.start("GLOBAL"))["id"])
        await asyncio.sleep(_DEDUPE_S)
        running = [await _time_start(arena) for _ in range(posts)]
        refused = [await _time_refusal(arena) for _ in range(posts)]
    print_table(
        f"answer to POST /ob/start of an idle controller, {posts} calls each, milliseconds",
        [
            ("", "median", "min", "max"),
            ("GLOBAL, all run already (a DAG is stored)", *spread(running, 0.001, 1)),
            ("ZONE that does not exist (refused late)", *spread(refused, 0.001, 1)),
        ],
    )
    is_kept = statistics.median(running) <= GOAL_POST_S
    print(f"  goal: median <= {GOAL_POST_S * 1000:g} ms: {'kept' if is_kept else 'missed'}")


async def _time_start(arena: Arena) -> float:
    answers: list[Dag] = []

    async def start() -> None:
        answers.append(await arena.client.start("GLOBAL"))

    taken_s = await _time(start)
    await wait_for_end(arena.client, answers[0]["id"])
    await asyncio.sleep(_DEDUPE_S)
    return taken_s


async def _time_refusal(arena: Arena) -> float:
    async def start() -> None:
        try:
            await arena.client.start("ZONE", ["no-such-zone"])
        except ApiRefused:
            return
        raise SystemExit("a zone that does not exist was accepted")

    return await _time(start)


async def _time(call: Callable[[], Awaitable[None]]) -> float:
    begun_s = time.perf_counter()
    await call()
    return time.perf_counter() - begun_s


if __name__ == "__main__":
    main()

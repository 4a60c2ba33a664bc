"""Benchmark of the shared store on one real seekdb (`make bench-shared`). Asserts nothing.

In one run: a six-step DAG and a burst beside SQLite; 60 clusters on 1, 2 and 3 controllers, whose
steps wait in place of a host; times of take-overs after kill -9; the cost of idle controllers; and,
with --prefect PYTHON, flows of six tasks in PyPI `prefect-oceanbase` on the same database. All
processes share this machine with the database. Compare values within one run only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from _support.processes import find_server, read_usage
from _support.report import print_load, print_table

from dagengine.mysql import Connection, MysqlError, open_connection
from dagengine.store.mysql.connection import open_store_connection
from dagengine.store.mysql.migrate import migrate_store
from dagengine.store.mysql.settings import MysqlSettings
from tasks.demo.cluster import START_OPTIONS, find_seekdb
from tasks.demo.hosts import LOOPBACK, free_port
from tasks.demo.reaper import ProcessReaper

CASES = Path(__file__).with_name("shared_store_cases")
_BOOT_S = 60.0
_OWNED_S = 90.0
_CASE_S = 300.0
_POLL_S = 0.02
Result = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured.

    Attributes:
        dags, burst: see `one_engine.Case`.
        clusters: number of clusters of the controllers.
        delay_s: duration of a step of their DAGs.
        window_s: time for which each number of controllers is measured.
        kills: number of controllers that are killed.
        flows: number of flows of prefect-oceanbase.
    """

    dags: int
    burst: int
    clusters: int
    delay_s: float
    window_s: float
    kills: int
    flows: int


SHORT = Extent(dags=60, burst=100, clusters=60, delay_s=0.05, window_s=8.0, kills=4, flows=10)
FULL = Extent(dags=300, burst=200, clusters=60, delay_s=0.05, window_s=30.0, kills=20, flows=30)


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="about two minutes")
    parser.add_argument("--prefect", metavar="PYTHON", help="Python with prefect-oceanbase")
    options = parser.parse_args()
    asyncio.run(_measure(SHORT if options.short else FULL, options.prefect))


async def _measure(extent: Extent, prefect: str | None) -> None:
    reaper = ProcessReaper("dagengine-bench-shared-")
    try:
        print_load("before")
        server = await _start_server(reaper)
        await _compare_stores(server, extent)
        await _measure_controllers(server, extent)
        print_load("after the controllers")
        await _measure_take_overs(server, extent)
        await _measure_idle(server, reaper, extent)
        await _measure_prefect(server, prefect, extent)
        print_load("after")
    finally:
        reaper.close()


async def _start_server(reaper: ProcessReaper) -> MysqlSettings:
    home, port = reaper.directory / "seekdb", free_port()
    home.mkdir()
    reaper.watch_home(home)
    options = [part for each in START_OPTIONS.items() for part in ("--parameter", "=".join(each))]
    process = await asyncio.create_subprocess_exec(
        *(str(find_seekdb()), "--base-dir", str(home), "--port", str(port), *options),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await process.wait()
    settings = MysqlSettings(LOOPBACK, port, "root", "bench")
    async with asyncio.timeout(_BOOT_S):
        while not await _has_database(settings):  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.1)
    return settings


async def _has_database(settings: MysqlSettings) -> bool:
    with suppress(MysqlError):
        await _make_database(settings, settings.database)
        return True
    return False


async def _make_database(server: MysqlSettings, name: str) -> MysqlSettings:
    """Create a database with the schema of a store."""
    async with open_connection((server.host, server.port), user="root", password="") as sql:
        await sql.query(f"CREATE DATABASE IF NOT EXISTS {name}")
    settings = MysqlSettings(server.host, server.port, "root", name)
    await migrate_store(settings)
    return settings


# --- one engine ----------------------------------------------------------------------------------


async def _compare_stores(server: MysqlSettings, extent: Extent) -> None:
    database = await _make_database(server, "one")
    common = {"port": server.port, "database": database.database}
    sizes = {"dags": extent.dags, "burst": extent.burst}
    with tempfile.TemporaryDirectory() as directory:
        sqlite = await _run_case("one_engine.py", {**common, **sizes, "directory": directory})
    shared = await _run_case("one_engine.py", {**common, **sizes, "directory": ""})
    rows = [["", "SQLite", "seekdb", "ratio"]]
    for title, key, unit in (
        ("one 6-step DAG, p50, ms", "p50_s", 1e-3),
        ("one 6-step DAG, p99, ms", "p99_s", 1e-3),
        (f"{extent.burst} DAGs at once, steps/s", "steps_per_s", 1.0),
        ("the same, CPU of the controller per DAG, ms", "cpu_per_dag_s", 1e-3),
    ):
        own, other = sqlite[key] / unit, shared[key] / unit
        rows.append([title, f"{own:,.1f}", f"{other:,.1f}", f"{other / own:.2f}"])
    print_table("one engine", rows)


async def _run_case(script: str, argument: Mapping[str, object]) -> Result:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(CASES / script), json.dumps(argument)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(_CASE_S):
        output, _ = await process.communicate()
    figures: Result = json.loads(output.decode().splitlines()[-1])
    return figures


# --- controllers ---------------------------------------------------------------------------------


class BenchController:
    """A controller in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, database: MysqlSettings, name: str, extent: Extent) -> BenchController:
        settings = {"name": name, "port": database.port, "database": database.database}
        settings |= {"clusters": extent.clusters, "delay_s": extent.delay_s}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(CASES / "bench_controller.py"), json.dumps(settings)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return cls(process)

    async def report(self) -> Result:
        """Return the figures so far."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"report\n")
        async with asyncio.timeout(_OWNED_S):
            figures: Result = json.loads(await self.process.stdout.readline())
        return figures

    async def stop(self) -> None:
        """Let the controller leave."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            async with asyncio.timeout(30):
                await self.process.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def _controllers(
    database: MysqlSettings, count: int, extent: Extent
) -> AsyncIterator[list[BenchController]]:
    """Run controllers; yield once each owns its share of the clusters."""
    async with AsyncExitStack() as stack:
        controllers = []
        for number in range(count):
            each = await BenchController.start(database, f"ctl-{number}", extent)
            stack.push_async_callback(each.stop)
            controllers.append(each)
        async with asyncio.timeout(_OWNED_S):
            while True:
                owned = [(await each.report())["owned"] for each in controllers]
                if sum(owned) == extent.clusters:
                    break
                await asyncio.sleep(0.2)
        yield controllers


async def _measure_controllers(server: MysqlSettings, extent: Extent) -> None:
    heading = ["controllers", "clusters each", "commits/s", "DAGs/s", "steps/s"]
    rows = [[*heading, "CPU of controllers per DAG, ms", "CPU of controllers, cores"]]
    for count in (1, 2, 3):
        database = await _make_database(server, f"fleet_{count}")
        async with _controllers(database, count, extent) as controllers:
            await asyncio.sleep(1.0)
            before = [await each.report() for each in controllers]
            await asyncio.sleep(extent.window_s)
            after = [await each.report() for each in controllers]
        rows.append(_summarize(count, before, after))
    print_table(f"{extent.clusters} clusters, steps of {extent.delay_s * 1000:g} ms", rows)


def _summarize(count: int, before: Sequence[Result], after: Sequence[Result]) -> list[str]:
    def grown(key: str) -> float:
        return sum(b[key] - a[key] for a, b in zip(before, after, strict=True))

    elapsed_s = grown("at_s") / count
    dags = grown("dags")
    return [
        str(count),
        "+".join(f"{each['owned']:g}" for each in after),
        f"{grown('commits') / elapsed_s:,.0f}",
        f"{dags / elapsed_s:,.1f}",
        f"{dags * 6 / elapsed_s:,.0f}",
        f"{grown('cpu_s') / dags * 1000:.1f}" if dags else "-",
        f"{grown('cpu_s') / elapsed_s:.2f}",
    ]


# --- take-overs ----------------------------------------------------------------------------------


async def _measure_take_overs(server: MysqlSettings, extent: Extent) -> None:
    """Kill controllers; measure until each of their clusters commits under a new owner."""
    database = await _make_database(server, "take_over")
    light = Extent(**{name: getattr(extent, name) for name in extent.__slots__} | {"delay_s": 0.5})
    times_s = []
    async with _controllers(database, 3, light) as controllers:
        connection = await open_store_connection(database)
        for number in range(extent.kills):
            index = number % len(controllers)
            victim = controllers[index]
            id_ = int((await victim.report())["controller_id"])
            started_s = time.monotonic()
            await victim.kill()
            await _wait_for_commits(connection, id_)
            times_s.append(time.monotonic() - started_s)
            controllers[index] = await BenchController.start(database, f"new-{number}", light)
            await asyncio.sleep(4.0)  # it joins; others hand over only idle clusters
            await _move_to(connection, controllers[index])
        connection.close()
        for each in controllers:
            await each.stop()
    rows = [["kill -9 of one of three controllers", "median, s", "minimum", "maximum"]]
    spread = statistics.median(times_s), min(times_s), max(times_s)
    rows.append([f"{len(times_s)} times", *(f"{value:.2f}" for value in spread)])
    print_table("until every cluster of the controller commits again (goal: at most 5 s)", rows)


async def _wait_for_commits(connection: Connection, killed: int) -> None:
    lost: dict[object, int | None] = {
        name: None for name, owner, _ in await _read_clusters(connection) if owner == killed
    }
    async with asyncio.timeout(_OWNED_S):
        while lost:
            for name, owner, commit_no in await _read_clusters(connection):
                if name not in lost or owner in (killed, None):
                    continue
                first = lost[name]
                if first is None:
                    lost[name] = commit_no
                elif commit_no > first:
                    del lost[name]
            await asyncio.sleep(_POLL_S)


async def _read_clusters(connection: Connection) -> list[tuple[object, int | None, int]]:
    rows = (await connection.query("SELECT name, owner, commit_no FROM cluster")).rows
    return [(n, None if o is None else int(str(o)), int(str(c))) for n, o, c in rows]


async def _move_to(connection: Connection, controller: BenchController) -> None:
    """Give the new controller its share, so that the next kill finds clusters to take over."""
    id_ = int((await controller.report())["controller_id"])
    rows = await _read_clusters(connection)
    share = [name for name, owner, _ in rows][::3]
    for name in share:
        text = name.decode() if isinstance(name, bytes) else str(name)
        await connection.query(
            "UPDATE cluster SET owner = NULL, epoch = epoch + 1, commit_no = commit_no + 1,"
            f" reserved_for = {id_:d} WHERE name = '{text}'"
        )
    async with asyncio.timeout(_OWNED_S):
        while (await controller.report())["owned"] < len(share) // 2:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


# --- idle cost -----------------------------------------------------------------------------------


async def _measure_idle(server: MysqlSettings, reaper: ProcessReaper, extent: Extent) -> None:
    database = await _make_database(server, "idle")
    pid = find_server(str(reaper.directory / "seekdb"))
    assert pid is not None
    idle = Extent(**{name: getattr(extent, name) for name in extent.__slots__} | {"delay_s": -1.0})
    rows = [["", "CPU of the database, % of a core", "CPU of a controller, % of a core"]]
    for count in (0, 1, 3):
        async with AsyncExitStack() as stack:
            controllers: list[BenchController] = []
            if count:
                controllers = await stack.enter_async_context(_controllers(database, count, idle))
            await asyncio.sleep(2.0)
            start, usage = [await each.report() for each in controllers], read_usage(pid)
            await asyncio.sleep(extent.window_s)
            end, usage_end = [await each.report() for each in controllers], read_usage(pid)
        elapsed_s = usage_end.at_s - usage.at_s
        cpu_s = sum(b["cpu_s"] - a["cpu_s"] for a, b in zip(start, end, strict=True))
        own = f"{cpu_s / count / elapsed_s * 100:.1f}" if count else "-"
        rows.append(
            [
                f"{count} controllers, {extent.clusters if count else 0} idle clusters",
                f"{(usage_end.cpu_s - usage.cpu_s) / elapsed_s * 100:.1f}",
                own,
            ]
        )
    print_table("idle cost", rows)


# --- prefect-oceanbase ---------------------------------------------------------------------------


async def _measure_prefect(server: MysqlSettings, python: str | None, extent: Extent) -> None:
    if python is None:
        print("\nprefect-oceanbase: not measured; pass --prefect PYTHON")
        return
    async with open_connection((server.host, server.port), user="root", password="") as sql:
        await sql.query("CREATE DATABASE IF NOT EXISTS prefect")
    url = f"mysql+asyncmy://root:@{server.host}:{server.port}/prefect"
    with tempfile.TemporaryDirectory() as home:
        environ = {
            **os.environ,
            "PREFECT_API_DATABASE_CONNECTION_URL": url,
            "PREFECT_HOME": home,
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
            # It cannot parse the version of its own server.
            "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        process = await asyncio.create_subprocess_exec(
            *(python, str(CASES / "prefect_flow.py"), str(extent.flows)),
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_CASE_S):
                output, errors = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            print(f"\nprefect-oceanbase: no result within {_CASE_S:g} s")
            return
    if process.returncode != 0:
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        print(f"\nprefect-oceanbase: does not run on this database: {' '.join(last)[:300]}")
        return
    figures: Result = json.loads(output.decode().splitlines()[-1])
    rows = [["flows of six tasks", "p50, ms", "maximum, ms", "the first one, s"]]
    spread = (figures["p50_s"] * 1000, figures["max_s"] * 1000)
    first = f"{figures['first_s']:.1f}"
    rows.append([str(extent.flows), *(f"{value:,.0f}" for value in spread), first])
    print_table("prefect-oceanbase on the same database", rows)


if __name__ == "__main__":
    main()

"""Benchmark of `dagengine.mysql`, compared with aiomysql and asyncmy. Asserts nothing.

All clients use the same real seekdb. They alternate, with one connection each, so that load of the
machine affects all of them. A client that is not installed is omitted; `make bench-mysql` installs
both. The last table counts the lines of code that process data from the server.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import io
import statistics
import subprocess
import time
import tokenize
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from _support.report import print_load, print_table

from dagengine.mysql import MysqlError, Options, connect
from tasks.demo.cluster import START_OPTIONS, find_seekdb
from tasks.demo.hosts import free_port
from tasks.demo.reaper import ProcessReaper

_BOOT_LIMIT_S = 60.0
_POLL_S = 0.1
_ROWS = 1000

Execute: TypeAlias = Callable[[str], Awaitable[object]]

# Modules that process bytes from the server or make decisions about them.
_MODULES = {
    "dagengine": [f"dagengine.mysql.{name}" for name in ("packets", "protocol", "answer", "text")]
    + ["dagengine.mysql.connection", "dagengine.mysql.wire"],
    "aiomysql": ["aiomysql.connection", "aiomysql.cursors"]
    + [f"pymysql.{name}" for name in ("protocol", "_auth", "charset", "converters", "err")],
    "asyncmy": [f"asyncmy.{name}" for name in ("auth", "charset", "connection", "converters")]
    + [f"asyncmy.{name}" for name in ("cursors", "errors", "protocol")],
}


@dataclass(slots=True)
class ClientResult:
    """Results of one client, one value per round (`select_s`: one per statement), in seconds.

    Attributes:
        select_s: duration of a `select 1`.
        select_cpu_s: CPU time of this process for a `select 1`.
        commit_s: duration of an insert of one row.
        rows_s: duration of a query for all rows of a table.
    """

    select_s: list[float] = field(default_factory=list)
    select_cpu_s: list[float] = field(default_factory=list)
    commit_s: list[float] = field(default_factory=list)
    rows_s: list[float] = field(default_factory=list)


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="rounds per client")
    parser.add_argument("--selects", type=int, default=100, help="`select 1` per round")
    parser.add_argument("--commits", type=int, default=20, help="inserts per round")
    options = parser.parse_args()
    asyncio.run(_measure(options.rounds, options.selects, options.commits))
    _print_code_sizes()


async def _measure(rounds: int, selects: int, commits: int) -> None:
    print_load("before")
    reaper = ProcessReaper("dagengine-bench-mysql-")
    try:
        port = await _start_server(reaper)
        await _create_tables(port)
        clients = {"dagengine": await _connect_own(port)}
        for name in ("aiomysql", "asyncmy"):
            if find_spec(name) is not None:
                clients[name] = await _connect_peer(name, port)
        results = {name: ClientResult() for name in clients}
        for number in range(rounds):
            names = [*clients]
            for name in names[number % len(names) :] + names[: number % len(names)]:
                await _run_round(clients[name], results[name], number, selects, commits)
    finally:
        reaper.close()
    _print_results(results)
    print_load("after")


async def _start_server(reaper: ProcessReaper) -> int:
    home, port = reaper.directory / "seekdb", free_port()
    home.mkdir()
    reaper.watch_home(home)
    command = [str(find_seekdb()), "--base-dir", str(home), "--port", str(port)]
    for name, value in START_OPTIONS.items():
        command += ["--parameter", f"{name}={value}"]
    await asyncio.to_thread(
        subprocess.run, command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
    )
    return port


async def _create_tables(port: int) -> None:
    deadline_s = time.monotonic() + _BOOT_LIMIT_S
    while True:
        try:
            connection = await connect(("127.0.0.1", port), user="root", password="")
            break
        except MysqlError:
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(_POLL_S)
    await connection.query("create table test.numbers (id int primary key, t varchar(40))")
    values = ", ".join(f"({n}, 'the text of number {n}')" for n in range(_ROWS))
    await connection.query(f"insert into test.numbers values {values}")
    await connection.query(
        "create table test.commits (id bigint primary key auto_increment, number int)"
    )
    connection.close()


async def _connect_own(port: int) -> Execute:
    connection = await connect(
        ("127.0.0.1", port), user="root", password="", options=Options("test")
    )

    async def execute(statement: str) -> object:
        return (await connection.query(statement)).rows

    return execute


async def _connect_peer(name: str, port: int) -> Execute:
    driver: Any = importlib.import_module(name)
    connection = await driver.connect(
        host="127.0.0.1", port=port, user="root", password="", db="test", autocommit=True
    )

    async def execute(statement: str) -> object:
        async with connection.cursor() as cursor:
            await cursor.execute(statement)
            return await cursor.fetchall()

    return execute


@asynccontextmanager
async def _timed(durations_s: list[float], count: int = 1) -> AsyncIterator[None]:
    """Append the duration of the block in seconds, divided by the number of statements."""
    started_s = time.perf_counter()
    yield
    durations_s.append((time.perf_counter() - started_s) / count)


async def _run_round(
    execute: Execute, result: ClientResult, number: int, selects: int, commits: int
) -> None:
    cpu_s = time.process_time()
    for _ in range(selects):
        async with _timed(result.select_s):
            await execute("select 1")
    result.select_cpu_s.append((time.process_time() - cpu_s) / selects)
    async with _timed(result.commit_s, commits):
        for index in range(commits):
            await execute(f"insert into commits (number) values ({number * commits + index})")
    async with _timed(result.rows_s):
        await execute("select id, t from numbers")


def _print_results(results: dict[str, ClientResult]) -> None:
    own = results["dagengine"]
    peers = [name for name in results if name != "dagengine"]
    rows = [("", *results, *(f"{name} / dagengine" for name in peers))]

    def add_row(
        label: str, unit: str, value: Callable[[ClientResult], float], scale: float
    ) -> None:
        cells = [f"{value(result) * scale:.3f} {unit}" for result in results.values()]
        ratios = [f"{value(results[name]) / value(own):.2f}" for name in peers]
        rows.append((label, *cells, *ratios))

    add_row("select 1, p50", "ms", lambda result: statistics.median(result.select_s), 1000)
    add_row(
        "select 1, client CPU", "ms", lambda result: statistics.median(result.select_cpu_s), 1000
    )
    add_row("commits", "/s", lambda result: 1 / statistics.median(result.commit_s), 1)
    add_row(f"{_ROWS} rows, p50", "ms", lambda result: statistics.median(result.rows_s), 1000)
    print_table("one connection per client to one seekdb, medians", rows)


def _print_code_sizes() -> None:
    rows = [("client", "lines of code", "modules")]
    for name, modules in _MODULES.items():
        sizes = [_count_lines(path) for path in map(_find_source, modules) if path is not None]
        rows.append((name, str(sum(sizes)) if sizes else "not installed", str(len(sizes))))
    print_table("code that processes data from the server", rows)


def _find_source(module: str) -> Path | None:
    package, _, name = module.rpartition(".")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    directory = Path(spec.origin).parent
    return next(
        (p for p in (directory / f"{name}.py", directory / f"{name}.pyx") if p.exists()), None
    )


def _count_lines(path: Path) -> int:
    """Return the number of lines that are not blank, comment or docstring."""
    text = path.read_text(encoding="utf-8")
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, IndentationError):  # not Python: Cython
        return sum(1 for line in text.splitlines() if line.strip() and line.strip()[0] != "#")
    code_lines, is_first = set[int](), True
    for token in tokens:
        if token.type in skipped or token.type == tokenize.ENDMARKER:
            is_first = is_first or token.type in (tokenize.NEWLINE, tokenize.INDENT)
            continue
        if not (token.type == tokenize.STRING and is_first):
            code_lines.update(range(token.start[0], token.end[0] + 1))
        is_first = False
    return len(code_lines)


if __name__ == "__main__":
    main()

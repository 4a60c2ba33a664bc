"""Our MySQL client beside aiomysql and asyncmy, on the same real seekdb. Asserts nothing.

The clients take turns on one connection each, so that load of the machine meets all of them. A peer
that is not installed is left out; `make bench-mysql` installs both. The last table has the lines of
code that read what a server sends, before a login and after it.
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

from _shared.tables import print_load, print_table

from dagengine.mysql import MysqlError, Options, connect
from tasks.demo.cluster import START_OPTIONS, find_seekdb
from tasks.demo.hosts import free_port
from tasks.demo.reaper import ProcessReaper

_BOOT_S = 60.0
_POLL_S = 0.1
_ROWS = 1000

Execute: TypeAlias = Callable[[str], Awaitable[object]]

# Modules that process bytes from the server or make decisions about them.
_CODE = {
    "ours": [f"dagengine.mysql.{name}" for name in ("packets", "protocol", "answer", "text")]
    + ["dagengine.mysql.connection", "dagengine.mysql.wire"],
    "aiomysql": ["aiomysql.connection", "aiomysql.cursors"]
    + [f"pymysql.{name}" for name in ("protocol", "_auth", "charset", "converters", "err")],
    "asyncmy": [f"asyncmy.{name}" for name in ("auth", "charset", "connection", "converters")]
    + [f"asyncmy.{name}" for name in ("cursors", "errors", "protocol")],
}


@dataclass(slots=True)
class Counters:
    """Results of one client over all rounds: wall time, and CPU time of this process; seconds."""

    select_s: list[float] = field(default_factory=list)
    select_cpu_s: list[float] = field(default_factory=list)
    commit_s: list[float] = field(default_factory=list)
    rows_s: list[float] = field(default_factory=list)


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--selects", type=int, default=100, help="in each round")
    parser.add_argument("--commits", type=int, default=20, help="in each round")
    options = parser.parse_args()
    asyncio.run(_measure(options.rounds, options.selects, options.commits))
    _show_code()


async def _measure(rounds: int, selects: int, commits: int) -> None:
    print_load("before")
    guard = ProcessReaper("dagengine-bench-mysql-")
    try:
        port = await _boot(guard)
        await _prepare(port)
        clients = {"ours": await _ours(port)}
        for name in ("aiomysql", "asyncmy"):
            if find_spec(name) is not None:
                clients[name] = await _peer(name, port)
        figures = {name: Counters() for name in clients}
        for number in range(rounds):
            names = [*clients]
            for name in names[number % len(names) :] + names[: number % len(names)]:
                await _round(clients[name], figures[name], number, selects, commits)
    finally:
        guard.close()
    _show(figures)
    print_load("after")


async def _boot(guard: ProcessReaper) -> int:
    home, port = guard.directory / "seekdb", free_port()
    home.mkdir()
    guard.watch_home(home)
    words = [str(find_seekdb()), "--base-dir", str(home), "--port", str(port)]
    for name, value in START_OPTIONS.items():
        words += ["--parameter", f"{name}={value}"]
    await asyncio.to_thread(
        subprocess.run, words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
    )
    return port


async def _prepare(port: int) -> None:
    until_s = time.monotonic() + _BOOT_S
    while True:
        try:
            connection = await connect(("127.0.0.1", port), user="root", password="")
            break
        except MysqlError:
            if time.monotonic() > until_s:
                raise
            await asyncio.sleep(_POLL_S)
    await connection.query("create table test.numbers (id int primary key, t varchar(40))")
    values = ", ".join(f"({n}, 'the text of number {n}')" for n in range(_ROWS))
    await connection.query(f"insert into test.numbers values {values}")
    await connection.query("create table test.marks (id bigint primary key auto_increment, at int)")
    connection.close()


async def _ours(port: int) -> Execute:
    connection = await connect(
        ("127.0.0.1", port), user="root", password="", options=Options("test")
    )

    async def execute(statement: str) -> object:
        return (await connection.query(statement)).rows

    return execute


async def _peer(name: str, port: int) -> Execute:
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
async def _timed(into: list[float], count: int = 1) -> AsyncIterator[None]:
    begun_s = time.perf_counter()
    yield
    into.append((time.perf_counter() - begun_s) / count)


async def _round(
    execute: Execute, figures: Counters, number: int, selects: int, commits: int
) -> None:
    cpu_s = time.process_time()
    for _ in range(selects):
        async with _timed(figures.select_s):
            await execute("select 1")
    figures.select_cpu_s.append((time.process_time() - cpu_s) / selects)
    async with _timed(figures.commit_s, commits):
        for at in range(commits):
            await execute(f"insert into marks (at) values ({number * commits + at})")
    async with _timed(figures.rows_s):
        await execute("select id, t from numbers")


def _show(figures: dict[str, Counters]) -> None:
    ours = figures["ours"]
    rows = [("", *figures, *(f"{name} / ours" for name in figures if name != "ours"))]

    def add(what: str, unit: str, value: Callable[[Counters], float], scale: float) -> None:
        cells = [f"{value(each) * scale:.3f} {unit}" for each in figures.values()]
        ratios = [
            f"{value(each) / value(ours):.2f}" for name, each in figures.items() if name != "ours"
        ]
        rows.append((what, *cells, *ratios))

    add("select 1, p50", "ms", lambda each: statistics.median(each.select_s), 1000)
    add("select 1, client CPU", "ms", lambda each: statistics.median(each.select_cpu_s), 1000)
    add("commits", "/s", lambda each: 1 / statistics.median(each.commit_s), 1)
    add(f"{_ROWS} rows, p50", "ms", lambda each: statistics.median(each.rows_s), 1000)
    print_table("one connection to one seekdb, medians", rows)


def _show_code() -> None:
    rows = [("client", "lines of code", "modules")]
    for name, modules in _CODE.items():
        sizes = [_count_lines(path) for path in map(_source_of, modules) if path is not None]
        rows.append((name, str(sum(sizes)) if sizes else "not installed", str(len(sizes))))
    print_table("code that reads what the server sends", rows)


def _source_of(module: str) -> Path | None:
    package, _, name = module.rpartition(".")
    found = find_spec(package)
    if found is None or found.origin is None:
        return None
    directory = Path(found.origin).parent
    return next(
        (p for p in (directory / f"{name}.py", directory / f"{name}.pyx") if p.exists()), None
    )


def _count_lines(path: Path) -> int:
    """Count the lines that hold more than comments, blanks and docstrings."""
    text = path.read_text(encoding="utf-8")
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, IndentationError):  # Cython
        return sum(1 for line in text.splitlines() if line.strip() and line.strip()[0] != "#")
    lines, is_first = set[int](), True
    for token in tokens:
        if token.type in skipped or token.type == tokenize.ENDMARKER:
            is_first = is_first or token.type in (tokenize.NEWLINE, tokenize.INDENT)
            continue
        if not (token.type == tokenize.STRING and is_first):
            lines.update(range(token.start[0], token.end[0] + 1))
        is_first = False
    return len(lines)


if __name__ == "__main__":
    main()

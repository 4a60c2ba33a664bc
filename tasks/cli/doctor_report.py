"""The command `dagengine doctor`: prints the results as a table or as one JSON document."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dagengine import SystemClock
from dagengine.extension import ExitCode, SelfCheckResult, SelfCheckStatus
from dagengine.remote import SshPool
from tasks.cli import messages
from tasks.cli.doctor import examine

_STYLES = {
    SelfCheckStatus.OK: "green",
    SelfCheckStatus.WARN: "yellow",
    SelfCheckStatus.BAD: "bold red",
}
_FILES = ("engine file", "cluster file")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def doctor(
    config: Annotated[
        Path, typer.Option("-c", "--config", metavar="FILE", help="The engine file.")
    ],
    show_all: Annotated[bool, typer.Option("--all", help="Also list passed checks.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
) -> None:
    """Check the set-up without changes; report problems and remedies."""
    try:
        results = asyncio.run(_examine(config))
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        sys.stdout.write(json.dumps(describe(results), ensure_ascii=False, indent=2) + "\n")
    else:
        problems = [result for result in results if result.health is not SelfCheckStatus.OK]
        rows = results if show_all else problems
        print_report(rows, results, Console(highlight=False, soft_wrap=False))
    raise typer.Exit(exit_code(results))


def exit_code(results: Sequence[SelfCheckResult]) -> int:
    """Return 0 if no result is BAD, 2 if the engine or cluster file is unusable, else 1."""
    bad = [result for result in results if result.health is SelfCheckStatus.BAD]
    if any(result.check in _FILES for result in bad):
        return ExitCode.USAGE
    return ExitCode.FAILED if bad else ExitCode.DONE


def describe(results: Sequence[SelfCheckResult]) -> dict[str, object]:
    """Return the JSON document of `--json`."""
    return {
        "healthy": exit_code(results) == ExitCode.DONE,
        "found": [
            {
                "subject": result.subject,
                "check": result.check,
                "health": str(result.health),
                "said": result.message,
                "remedy": result.remedy,
            }
            for result in results
        ],
    }


def print_report(
    rows: Sequence[SelfCheckResult], results: Sequence[SelfCheckResult], console: Console
) -> None:
    """Print a table of the results in `rows`, and a summary line that counts all results."""
    table = Table("", "subject", "check", "finding", "remedy", box=box.SIMPLE, expand=False)
    for row in rows:
        style = _STYLES[row.health]
        table.add_row(
            f"[{style}]{row.health}[/]",
            escape(row.subject),
            row.check,
            escape(row.message),
            escape(row.remedy),
        )
    if rows:
        console.print(table)
    counts = Counter(result.health for result in results)
    by_status = ", ".join(f"{counts[s]} {s}" for s in SelfCheckStatus if counts[s])
    console.print(messages.CHECKS_COUNTED(count=len(results), counts=by_status))


async def _examine(engine_file: Path) -> list[SelfCheckResult]:
    clock = SystemClock()
    pool = SshPool(clock, SystemRandom())
    try:
        return await examine(engine_file, pool, clock)
    finally:
        await pool.close()

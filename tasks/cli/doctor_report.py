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
    config: Annotated[Path, typer.Option("-c", "--config", metavar="FILE", help="the engine file")],
    show_all: Annotated[bool, typer.Option("--all", help="show what is well, too")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print one JSON document on stdout")
    ] = False,
) -> None:
    """Look at the whole set-up, change nothing, and say what to mend and how."""
    try:
        found = asyncio.run(_examine(config))
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    shown = found if show_all else [i for i in found if i.health is not SelfCheckStatus.OK]
    if as_json:
        sys.stdout.write(json.dumps(describe(found), ensure_ascii=False, indent=2) + "\n")
    else:
        show(shown, found, Console(highlight=False, soft_wrap=False))
    raise typer.Exit(exit_code(found))


def exit_code(found: Sequence[SelfCheckResult]) -> int:
    """Return 0 if no result is BAD, 2 if the engine or cluster file is unusable, else 1."""
    bad = [inspection for inspection in found if inspection.health is SelfCheckStatus.BAD]
    if any(inspection.check in _FILES for inspection in bad):
        return ExitCode.USAGE
    return ExitCode.FAILED if bad else ExitCode.DONE


def describe(found: Sequence[SelfCheckResult]) -> dict[str, object]:
    """Return the JSON document of `--json`."""
    return {
        "healthy": exit_code(found) == ExitCode.DONE,
        "found": [
            {
                "subject": inspection.subject,
                "check": inspection.check,
                "health": str(inspection.health),
                "said": inspection.said,
                "remedy": inspection.remedy,
            }
            for inspection in found
        ],
    }


def show(
    shown: Sequence[SelfCheckResult], found: Sequence[SelfCheckResult], console: Console
) -> None:
    """Print a table of the results in `shown`, and a summary line that counts all results."""
    table = Table("", "of", "check", "found", "do", box=box.SIMPLE, expand=False)
    for inspection in shown:
        style = _STYLES[inspection.health]
        table.add_row(
            f"[{style}]{inspection.health}[/]",
            escape(inspection.subject),
            inspection.check,
            escape(inspection.said),
            escape(inspection.remedy),
        )
    if shown:
        console.print(table)
    counts = Counter(inspection.health for inspection in found)
    told = ", ".join(f"{counts[health]} {health}" for health in SelfCheckStatus if counts[health])
    console.print(f"{len(found)} looked at: {told}")


async def _examine(engine_file: Path) -> list[SelfCheckResult]:
    clock = SystemClock()
    pool = SshPool(clock, SystemRandom())
    try:
        return await examine(engine_file, pool, clock)
    finally:
        await pool.close()

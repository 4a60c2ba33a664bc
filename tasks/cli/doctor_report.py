"""The command `dagengine doctor`: prints the results as a table or as one JSON document."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dagengine import SelfCheckResult, SelfCheckStatus, SshPool, SystemClock
from tasks.cli.doctor import examine

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
_STYLES = {
    SelfCheckStatus.OK: "green",
    SelfCheckStatus.WARN: "yellow",
    SelfCheckStatus.BAD: "bold red",
}
_FILES = ("engine file", "cluster file")


def run_doctor(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    options = _parse(argv)
    try:
        results = asyncio.run(_examine(options.config))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if options.json:
        sys.stdout.write(json.dumps(describe(results), ensure_ascii=False, indent=2) + "\n")
    else:
        problems = [result for result in results if result.health is not SelfCheckStatus.OK]
        rows = results if options.all else problems
        print_report(rows, results, Console(highlight=False, soft_wrap=False))
    return exit_code(results)


def exit_code(results: Sequence[SelfCheckResult]) -> int:
    """Return 0 if no result is BAD, 2 if the engine or cluster file is unusable, else 1."""
    bad = [result for result in results if result.health is SelfCheckStatus.BAD]
    if any(result.check in _FILES for result in bad):
        return EXIT_USAGE
    return EXIT_FAILED if bad else EXIT_DONE


def describe(results: Sequence[SelfCheckResult]) -> dict[str, object]:
    """Return the JSON document of `--json`."""
    return {
        "healthy": exit_code(results) == EXIT_DONE,
        "found": [
            {
                "subject": result.subject,
                "check": result.check,
                "health": str(result.health),
                "said": result.said,
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
            escape(row.said),
            escape(row.remedy),
        )
    if rows:
        console.print(table)
    counts = Counter(result.health for result in results)
    by_status = ", ".join(f"{counts[s]} {s}" for s in SelfCheckStatus if counts[s])
    console.print(f"{len(results)} checked: {by_status}")


async def _examine(engine_file: Path) -> list[SelfCheckResult]:
    clock = SystemClock()
    pool = SshPool(clock, SystemRandom())
    try:
        return await examine(engine_file, pool, clock)
    finally:
        await pool.close()


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "dagengine doctor",
        description="Check the whole installation, change nothing, and report problems.",
    )
    parser.add_argument(
        "-c", "--config", type=Path, required=True, metavar="FILE", help="the engine file"
    )
    parser.add_argument("--all", action="store_true", help="show the passed checks, too")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    return parser.parse_args(argv)

"""The command `dagengine doctor`: prints each finding as it arrives, or one JSON document."""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from dagengine import SystemClock
from dagengine.extension import (
    EngineFile,
    ExitCode,
    SelfCheckResult,
    SelfCheckStatus,
    escape_controls,
    new_app,
    render_epilog,
    run_in_process_time,
    write_document,
)
from dagengine.remote import SshPool
from tasks.cli import messages
from tasks.doctor.examine import Report, examine

_STYLES = {
    SelfCheckStatus.OK: "green",
    SelfCheckStatus.WARN: "yellow",
    SelfCheckStatus.BAD: "bold red",
}
_STATUS_WIDTH = 6
_INDENT = " " * _STATUS_WIDTH
_FILES = ("engine file", "cluster file")

app = new_app()


@app.command(epilog=render_epilog("dagengine doctor -c engine.yaml"))
def doctor(
    config: EngineFile,
    show_all: Annotated[bool, typer.Option("--all", help="Also list passed checks.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
) -> None:
    """Check the set-up without changes; report problems and remedies."""
    console = Console(highlight=False)

    def report(results: Sequence[SelfCheckResult]) -> None:
        for result in results:
            if not as_json and (show_all or result.health is not SelfCheckStatus.OK):
                print_finding(result, console)

    try:
        results = run_in_process_time(_examine(config, report))
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        write_document(sys.stdout, describe(results), indent=2)
    else:
        print_summary(results, console)
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


def print_finding(result: SelfCheckResult, console: Console) -> None:
    """Print a finding as a block of whole lines; only a terminal wraps them."""
    head, *details = render_finding(result, console.width if console.is_terminal else None)
    status = Text(f"{result.health.upper():<{_STATUS_WIDTH}}", style=_STYLES[result.health])
    console.print(status + Text(head), soft_wrap=True)
    for line in details:
        console.print(Text(line), soft_wrap=True)


def render_finding(result: SelfCheckResult, width: int | None) -> list[str]:
    """Render a finding: subject and check, then finding and remedy; `width` None never wraps."""
    texts: list[str] = [result.message]
    if result.remedy:
        texts.append(messages.FIX(remedy=result.remedy))
    lines = [escape_controls(f"{result.subject}  {result.check}")]
    for text in map(escape_controls, texts):
        lines += textwrap.wrap(
            text,
            width or sys.maxsize,
            initial_indent=_INDENT,
            subsequent_indent=_INDENT,
            break_long_words=False,  # a path or a command stays whole
            break_on_hyphens=False,
        )
    return lines


def print_summary(results: Sequence[SelfCheckResult], console: Console) -> None:
    """Print a line that counts all results."""
    counts = Counter(result.health for result in results)
    by_status = ", ".join(f"{counts[s]} {s}" for s in SelfCheckStatus if counts[s])
    console.print(messages.CHECKS_COUNTED(count=len(results), counts=by_status))


async def _examine(engine_file: Path, report: Report) -> list[SelfCheckResult]:
    clock = SystemClock()
    pool = SshPool(clock, SystemRandom())
    try:
        return await examine(engine_file, pool, clock, report)
    finally:
        await pool.close()

"""The findings of `dagengine doctor`: one block each, complete, and safe for a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dagengine.extension import SelfCheckResult, SelfCheckStatus
from tasks.cli.doctor_report import print_finding, print_summary, render_finding

LONG = SelfCheckResult(
    "127.0.0.1:2886",
    "ports",
    SelfCheckStatus.BAD,
    "the process 4711 listens on the port " + "very " * 60 + "long",
    "end it, or change sql_port in /etc/dagengine/clusters/a-long-name-of-a-cluster.yaml",
)


def printed(result: SelfCheckResult, width: int = 60) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_finding(result, console)
    print_summary([result], console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_doctor_report_markup_is_printed_literally() -> None:
    message = "the process [red]x[/red] listens on the port"
    result = SelfCheckResult("127.0.0.1:2886", "ports", SelfCheckStatus.BAD, message, "end it")
    assert printed(result).splitlines() == [
        "BAD   127.0.0.1:2886  ports",
        f"      {message}",
        "      fix: end it",
        "1 checked: 1 bad",
    ]


def test_doctor_report_control_characters_are_escaped() -> None:
    result = SelfCheckResult("h\x1b[2J", "ports", SelfCheckStatus.BAD, "own\x07", "end \x9b31m")
    text = printed(result)
    assert text.replace("\n", "").isprintable()
    for part in (r"h\x1b[2J", r"own\x07", r"end \x9b31m"):
        assert part in text


def test_doctor_report_in_a_pipe_never_wraps() -> None:
    assert f"      {LONG.message}" in printed(LONG).splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_render_finding_narrow_terminal_shortens_nothing(width: int) -> None:
    lines = render_finding(LONG, width)
    text = " ".join(line.strip() for line in lines)
    assert text == f"{LONG.subject}  {LONG.check} {LONG.message} fix: {LONG.remedy}"
    too_long = [line for line in lines[1:] if len(line) > width]
    assert all(" " not in line.strip() for line in too_long)

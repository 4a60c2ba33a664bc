"""Lines on terminals of any width, and on streams that are not terminals."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dagengine.cli.views.screen import (
    Line,
    Screen,
    Style,
    fit_line,
    print_lines,
    render_age,
    write_screen,
)
from tests.support.screens import WIDTHS, file_of, render_screens

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("is_capable", [False, True], ids=["dumb", "colour"])
def test_screens_match_recorded_files(width: int, is_capable: bool) -> None:
    recorded = file_of(width, is_capable=is_capable).read_text(encoding="utf-8")
    assert render_screens(width, is_capable=is_capable) == recorded


@pytest.mark.parametrize("width", WIDTHS)
def test_screens_fit_the_width(width: int) -> None:
    rows = render_screens(width, is_capable=False).splitlines()
    assert [row for row in rows if len(row) > width] == []


def test_screens_on_pipe_are_not_broken() -> None:
    text = render_screens(None, is_capable=False)
    assert text.isascii()
    assert "ago" not in text
    assert max(map(len, text.splitlines())) > max(WIDTHS)


@pytest.mark.parametrize(
    ("stream", "environ", "is_terminal", "is_capable"),
    [
        (Terminal(), {"TERM": "xterm"}, True, True),
        (Terminal(), {"TERM": "dumb"}, True, False),
        (Terminal(), {}, True, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True, True),
        (io.StringIO(), {"TERM": "xterm"}, False, False),
    ],
)
def test_screen_of_stream_depends_on_terminal_and_variables(
    stream: io.StringIO, environ: dict[str, str], is_terminal: bool, is_capable: bool
) -> None:
    screen = Screen.of(stream, environ)
    assert (screen.width is not None, screen.is_capable) == (is_terminal, is_capable)


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("short", ["short"]),
        ("one two three four five six", ["one two three four", "    five six"]),
        ("  one two three four five", ["  one two three four", "      five"]),
        ("next: do it, then  dagengine retry 12", ["next: do it, then", "  dagengine retry 12"]),
        (
            "next: do it  dagengine retry 1234567890",
            ["next: do it", "dagengine retry 1234567890"],
        ),
        ("x " + "y" * 30, ["x", "    " + "y" * 30]),
        ("y" * 30, ["y" * 30]),
    ],
)
def test_fit_line_breaks_at_spaces_but_no_command(line: str, rows: list[str]) -> None:
    assert fit_line(line, 20) == rows
    assert fit_line(line, None) == [line]


def test_write_screen_replaces_margin_by_symbol() -> None:
    stream = io.StringIO()
    line = Line("  up ", ("x\x1b[2J", Style.BAD), mark=Style.GOOD)
    write_screen(stream, Screen(80, is_capable=True), [line])
    assert stream.getvalue() == "\x1b[32m✓ \x1b[0mup \x1b[1;31mx\\x1b[2J\x1b[0m\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s ago"),
        (59, "59 s ago"),
        (61, "1 min ago"),
        (7200, "2 h ago"),
        (200_000, "2 days ago"),
    ],
)
def test_render_age_uses_one_unit(seconds: float, text: str) -> None:
    assert render_age(timedelta(seconds=seconds)) == text


def test_screen_time_has_age_on_terminals_only() -> None:
    at = "2026-01-01T13:57:00+02:00"
    assert Screen(80, zone=UTC).time(at, NOW) == "2026-01-01 11:57:00 +0000, 3 min ago"
    assert Screen(zone=UTC).time(at, NOW) == "2026-01-01 11:57:00 +0000"
    assert Screen(zone=UTC).short_time(at, NOW) == "11:57:00"
    assert Screen(zone=UTC).short_time("2025-12-31T11:57:00Z", NOW) == "2025-12-31 11:57:00"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_print_lines_break_at_width_only_on_terminal(is_terminal: bool) -> None:
    stream = Terminal() if is_terminal else io.StringIO()
    text = "a sentence of the controller " * 6
    print_lines(stream, [text])
    rows = stream.getvalue().splitlines()
    assert max(map(len, rows)) <= 80 or not is_terminal
    assert (len(rows) > 1) is is_terminal


def test_commands_write_texts_for_people_with_print_lines() -> None:
    """Only short lines, scripts and already broken rows are written as they are."""
    root = Path(__file__).parents[3]
    files = [*root.glob("dagengine/cli/**/*.py"), *root.glob("tasks/cli/*.py")]
    unbroken = {file.name for file in files if "write_lines(" in file.read_text(encoding="utf-8")}
    assert unbroken <= {"application.py", "dispatch.py", "local_commands.py", "screen.py"}

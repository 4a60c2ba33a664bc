"""What a stream can display, and output that is adapted to it.

Renderers return lines of text; a `Line` also has styles. `write_screen` adds colours, symbols and
line breaks as far as the stream supports them. A pipe receives each line unbroken and without
styles, so that programs can search it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

from dagengine.cli import messages
from dagengine.runtime.terminal import write_lines
from dagengine.text import escape_controls

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_DEFAULT_SIZE = os.terminal_size((80, 24))
_MIN_WIDTH = 40
_PLAIN_TERMINALS = ("", "dumb", "unknown")
_HANG = 4  # additional indentation of continued lines
_COMMAND = re.compile(r"(?P<text>\S.*\S)\s{2,}(?P<command>dagengine \S.*)")
_WORD = re.compile(r"\S+")


class Style(StrEnum):
    """Meaning of a part of a line; the value is rich's style."""

    PLAIN = ""
    GOOD = "green"
    BAD = "bold red"
    BUSY = "yellow"
    FAINT = "dim"
    STRONG = "bold"


_SYMBOLS = {Style.GOOD: "✓", Style.BAD: "✗", Style.BUSY: "●", Style.FAINT: "·"}


class Line(str):
    """One line of output; as a string, it is the plain text.

    Attributes:
        parts: the parts of the text with their styles.
        mark: style of the symbol before the line; PLAIN for none.
    """

    __slots__ = ("mark", "parts")

    parts: tuple[tuple[str, Style], ...]
    mark: Style

    def __new__(cls, *parts: str | tuple[str, Style], mark: Style = Style.PLAIN) -> Line:
        styled = tuple((p, Style.PLAIN) if isinstance(p, str) else p for p in parts)
        clean = tuple((escape_controls(text), style) for text, style in styled)
        line = super().__new__(cls, "".join(text for text, _ in clean))
        line.parts, line.mark = clean, mark
        return line


@dataclass(frozen=True, slots=True)
class Screen:
    """What a stream can display.

    Attributes:
        width: columns of the terminal; None for a stream that is not a terminal.
        height: rows of the terminal.
        is_capable: whether it displays colours, symbols and live output.
        zone: time zone of times; None for the local one.
    """

    width: int | None = None
    height: int = _DEFAULT_SIZE.lines
    is_capable: bool = False
    zone: tzinfo | None = None

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Screen:
        """Examine a stream. NO_COLOR and TERM=dumb select plain lines."""
        if not stream.isatty():
            return cls()
        try:
            size = os.get_terminal_size(stream.fileno())
        except (OSError, ValueError):
            size = _DEFAULT_SIZE
        is_plain = environ.get("TERM", "") in _PLAIN_TERMINALS or bool(environ.get("NO_COLOR"))
        return cls(
            max(size.columns or _DEFAULT_SIZE.columns, _MIN_WIDTH),
            size.lines or _DEFAULT_SIZE.lines,
            is_capable=not is_plain and _can_encode(stream),
        )

    def time(self, text: str, now: datetime | None = None) -> str:
        """Render an instant of the API in local time; on a terminal, add how long ago it was."""
        at = datetime.fromisoformat(text)
        local = at.astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S %z")
        if self.width is None or now is None:
            return local
        return messages.TIME_AND_AGE(time=local, age=render_age(now - at))

    def fits(self, rows: Sequence[Sequence[str]]) -> bool:
        """Return whether a table of these rows, with two spaces between cells, need not be broken.

        A pipe is as wide as any table.
        """
        widths = [max(map(_cells, column)) for column in zip(*rows, strict=True)]
        return self.width is None or sum(widths) + 2 * (len(widths) - 1) <= self.width

    def short_time(self, text: str, now: datetime) -> str:
        """Render an instant without the date if it is today's."""
        at = datetime.fromisoformat(text).astimezone(self.zone)
        is_today = at.date() == now.astimezone(self.zone).date()
        return at.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def render_age(age: timedelta) -> str:
    """Render a duration until now, such as `3 min ago`."""
    seconds = max(int(age.total_seconds()), 0)
    for limit_s, unit_s, name in ((60, 1, "s"), (3600, 60, "min"), (2 * 86400, 3600, "h")):
        if seconds < limit_s:
            return messages.AGE(count=seconds // unit_s, unit=name)
    return messages.AGE(count=seconds // 86400, unit="days")


def write_screen(stream: TextIO, screen: Screen, lines: Iterable[str]) -> None:
    """Write lines as the screen displays them, and flush the stream."""
    if not screen.is_capable:
        write_lines(stream, [row for line in lines for row in fit_line(line, screen.width)])
        return
    console = open_console(stream, screen)
    for line in lines:
        for row in style_line(line, screen.width):
            console.print(row, soft_wrap=True)
    stream.flush()


def print_lines(stream: TextIO, lines: Iterable[str]) -> None:
    """Write lines for people without styles: a terminal gets rows of its width, a pipe the lines.

    Unlike `write_screen`, it never loads rich for a capable terminal.
    """
    width = Screen.of(stream, os.environ).width
    write_lines(stream, [row for line in lines for row in fit_line(line, width)])


def open_console(stream: TextIO, screen: Screen) -> Console:
    """Return rich's console for a capable terminal."""
    from rich.console import Console  # noqa: PLC0415  # `--help` does not need it

    return Console(
        file=stream,
        force_terminal=True,
        color_system="standard",
        width=screen.width,
        height=screen.height,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def style_line(line: str, width: int | None) -> list[Text]:
    """Return the rows of a line for a capable terminal: with its symbol, styles and breaks."""
    from rich.text import Text  # noqa: PLC0415

    mark = line.mark if isinstance(line, Line) else Style.PLAIN
    parts = line.parts if isinstance(line, Line) else ((escape_controls(line), Style.PLAIN),)
    if mark is not Style.PLAIN:
        parts = _put_mark(parts, mark)
    text = Text.assemble(*((part, str(style)) for part, style in parts))
    rows: list[Text] = []
    for start, end, indent in split_line(text.plain, width):
        row = Text(" " * indent)
        row.append_text(text[start:end])
        rows.append(row)
    return rows


def fit_line(line: str, width: int | None) -> list[str]:
    """Return the rows of a line for a plain stream."""
    return [" " * indent + line[start:end] for start, end, indent in split_line(line, width)]


def split_line(text: str, width: int | None) -> list[tuple[int, int, int]]:
    """Return the rows of a line, each as (start, end, indentation).

    A command is never broken: it moves to a row of its own, so that it can be copied. Words that
    are longer than a row are not broken either.
    """
    if width is None or _cells(text) <= width:
        return [(0, len(text), 0)]
    margin = len(text) - len(text.lstrip())
    if hint := _COMMAND.search(text):
        end, start = hint.end("text"), hint.start("command")
        indent = 2 if _cells(text[start:]) + 2 <= width else 0
        return [*split_line(text[:end], width), (start, len(text), indent)]
    hang = min(margin + _HANG, width // 2)
    rows: list[tuple[int, int, int]] = []
    start, end, indent = 0, margin, 0
    for word in _WORD.finditer(text):
        if indent + _cells(text[start : word.end()]) > width and end > start + (not rows) * margin:
            rows.append((start, end, indent))
            start, indent = word.start(), hang
        end = word.end()
    return [*rows, (start, end, indent)]


def render_table(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Pad the cells of each column to the same width."""
    widths = [max(map(_cells, column)) for column in zip(*rows, strict=True)]
    return [
        [cell + " " * (width - _cells(cell)) for cell, width in zip(row, widths, strict=True)]
        for row in rows
    ]


# --- internal functions ---


def _put_mark(parts: tuple[tuple[str, Style], ...], mark: Style) -> tuple[tuple[str, Style], ...]:
    """Put the symbol into the last two columns of the indentation, or before the text."""
    (first, style), *rest = parts
    bare = first.lstrip(" ")
    margin = max(len(first) - len(bare) - 2, 0)
    return ((" " * margin, Style.PLAIN), (f"{_SYMBOLS[mark]} ", mark), (bare, style), *rest)


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415

    return cell_len(text)


def _can_encode(stream: TextIO) -> bool:
    try:
        "".join(_SYMBOLS.values()).encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True

"""A command is a value: rendered once for the wire, once (masked) for people."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

MASK = "***"
_SHELL = ("/bin/sh", "-c")
_SHORT_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Secret:
    """An argument or input that must never be shown."""

    value: str

    def __repr__(self) -> str:
        return f"Secret({MASK})"


@dataclass(frozen=True, slots=True)
class Command:
    """An argument vector and what it reads from stdin.

    Prefer `stdin` for secrets: an argument is visible in the host's process list.

    Attributes:
        argv: program and arguments, at least one; no shell reads them.
        stdin: text given on standard input, None for an empty one.
    """

    argv: tuple[str | Secret, ...]
    stdin: str | Secret | None = None

    def render(self) -> str:
        """The one line that a POSIX shell reads as exactly this argument vector.

        Raises:
            ValueError: an argument holds a NUL, where the line would end on the host.
        """
        line = shlex.join(_reveal(arg) for arg in self.argv)
        if "\0" in line:
            raise ValueError(f"a NUL in {self.render_short()!r}")
        return line

    def render_masked(self) -> str:
        """As `render`, for logs: secrets shown as `***`."""
        return " ".join(MASK if isinstance(a, Secret) else shlex.quote(a) for a in self.argv)

    def render_short(self) -> str:
        """As `render_masked`, for one line of a message: a script shows as its name."""
        is_script = self.argv[:2] == _SHELL
        shown = Command(self.argv[3:]) if is_script and len(self.argv) > 3 else self
        text = " ".join(shown.render_masked().split())
        return text if len(text) <= _SHORT_LENGTH else f"{text[:_SHORT_LENGTH]}…"

    def input_text(self) -> str:
        """What goes to standard input."""
        return "" if self.stdin is None else _reveal(self.stdin)


def script(text: str, name: str, *args: str | Secret, stdin: str | Secret | None = None) -> Command:
    """A constant POSIX shell script with data only in its arguments ($1, $2, …).

    Args:
        text: the script; must contain no data.
        name: shown in the host's process list as $0.
        args: data.
        stdin: data for standard input.
    """
    return Command((*_SHELL, text, name, *args), stdin)


def _reveal(arg: str | Secret) -> str:
    return arg.value if isinstance(arg, Secret) else arg

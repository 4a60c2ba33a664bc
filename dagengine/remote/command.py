"""Commands as values, rendered in full for the host and with secrets masked for people."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from dagengine.remote import messages

MASK = "***"
_SHELL = ("/bin/sh", "-c")
_SHORT_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Secret:
    """An argument or input that must never be displayed."""

    value: str

    def __repr__(self) -> str:
        return f"Secret({MASK})"


@dataclass(frozen=True, slots=True)
class Command:
    """An argument vector and its standard input.

    Prefer `stdin` for secrets: arguments are visible in the host's process list.

    Attributes:
        argv: program and arguments, at least one; not interpreted by a shell.
        stdin: text for standard input; None for empty input.
    """

    argv: tuple[str | Secret, ...]
    stdin: str | Secret | None = None

    def render(self) -> str:
        """Return one line that a POSIX shell parses to exactly this argument vector.

        Raises:
            ValueError: an argument contains a NUL, which would end the line on the host.
        """
        line = shlex.join(_reveal(arg) for arg in self.argv)
        if "\0" in line:
            raise ValueError(messages.ARGUMENT_HAS_NUL(command=self.render_short()))
        return line

    def render_masked(self) -> str:
        """Like `render`, for logs: secrets are shown as `***`."""
        return " ".join(MASK if isinstance(a, Secret) else shlex.quote(a) for a in self.argv)

    def render_short(self) -> str:
        """Like `render_masked`, shortened for messages; a script is shown by its name."""
        is_script = self.argv[:2] == _SHELL
        command = Command(self.argv[3:]) if is_script and len(self.argv) > 3 else self
        text = " ".join(command.render_masked().split())
        return text if len(text) <= _SHORT_LENGTH else f"{text[:_SHORT_LENGTH]}…"

    def input_text(self) -> str:
        """Return the text for standard input."""
        return "" if self.stdin is None else _reveal(self.stdin)


def script(text: str, name: str, *args: str | Secret, stdin: str | Secret | None = None) -> Command:
    """Build a command from a constant POSIX shell script; data is passed as arguments ($1, $2, …).

    Args:
        text: the script; must not contain data.
        name: $0, shown in the host's process list.
        args: data.
        stdin: data for standard input.
    """
    return Command((*_SHELL, text, name, *args), stdin)


def _reveal(arg: str | Secret) -> str:
    return arg.value if isinstance(arg, Secret) else arg

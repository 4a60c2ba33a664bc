"""Command lines that every login shell passes on to /bin/sh unchanged. Pure.

sshd runs a command line through the login shell of the user. fish and tcsh parse the quotes of a
POSIX line in other ways (backslashes, exclamation marks, newlines), and may change it silently.
"""

from __future__ import annotations

# Between single quotes, sh, bash, zsh, ksh, fish and tcsh take each of these characters literally.
_LITERAL = frozenset(range(0x20, 0x7F)) - frozenset(b"'\\!")


def render_for_login_shell(line: str) -> str:
    """Return a line that runs a POSIX command line in place of the login shell.

    Args:
        line: one or more lines for /bin/sh, without NUL.
    """
    encoded = "".join(
        chr(byte) if byte in _LITERAL else f"\\0{byte:03o}"
        for byte in line.encode("utf-8", errors="surrogateescape")
    )
    return f"""exec /bin/sh -c 'eval "$(printf %b "$1")"' dagengine '{encoded}'"""

"""Command lines that every login shell passes on to /bin/sh unchanged. Pure.

sshd runs a command line through the login shell of the user. fish and tcsh parse the quotes of a
POSIX line in other ways (backslashes, exclamation marks, newlines), and may change it silently.
"""

from __future__ import annotations

# Between single quotes, sh, bash, zsh, ksh, fish and tcsh take each of these characters literally.
_LITERAL = frozenset(range(0x20, 0x7F)) - frozenset(b"'\\!")
_BACKSLASH = ord("\\")


def render_for_login_shell(line: str) -> str:
    """Return a line that runs a POSIX command line in place of the login shell.

    Args:
        line: one or more lines for /bin/sh, without NUL.
    """
    encoded = line.encode("utf-8", errors="surrogateescape")
    # The backslash first, since the replacement of each character contains one. A script of some
    # KiB has few different ones, so this is much faster than character by character.
    others = frozenset(encoded) - _LITERAL - {_BACKSLASH}
    for byte in (_BACKSLASH, *others):
        encoded = encoded.replace(bytes([byte]), b"\\0%03o" % byte)
    return f"""exec /bin/sh -c 'eval "$(printf %b "$1")"' dagengine '{encoded.decode("ascii")}'"""

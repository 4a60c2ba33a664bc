"""A host's own /etc, with the files that programs need and a separate user.

This is a separate directory, not files mounted over this machine's: a mount on a file is lost when
the file is replaced, as `useradd` does with /etc/passwd.
"""

from __future__ import annotations

import shutil
from pathlib import Path

_ETC = Path("/etc")
_TAKEN_OVER = (
    "alternatives",
    "group",
    "hosts",
    "iproute2",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mtab",
    "nsswitch.conf",
)


def make_etc(directory: Path, user: str, user_line: str) -> None:
    """Create and fill a directory.

    Args:
        directory: becomes /etc of the host.
        user: name of the host's user; this machine may have the same one.
        user_line: that user's line in the passwd file.
    """
    directory.mkdir(mode=0o755)
    (directory / "ssh").mkdir(mode=0o755)
    for name in _TAKEN_OVER:
        source, copy = _ETC / name, directory / name
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, copy, symlinks=True)
        elif source.is_symlink() or source.exists():
            shutil.copy2(source, copy, follow_symlinks=False)
    lines = (_ETC / "passwd").read_text().splitlines(keepends=True)
    others = [line for line in lines if not line.startswith(f"{user}:")]
    (directory / "passwd").write_text("".join([user_line, *others]))
    (directory / "shadow").write_text(f"{user}:*:::::::\n")  # without a password, and not locked
    (directory / "shadow").chmod(0o600)

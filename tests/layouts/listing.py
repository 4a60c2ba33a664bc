"""The files of a layout as they are at one moment, to prove that none was moved, lost or written.

Inode and change time say more than a digest: no program can set the change time, and a file that
was moved, replaced or written has another one. So two gigabytes need not be read.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# A running server writes these at any time, and SQLite removes its own files.
_NOT_DATA = re.compile(r"(^|/)(log|run)/")
_REPLACED = re.compile(r"(^|/)(slog/|meta\.db-|(log|run)/)")


@dataclass(frozen=True, slots=True)
class FileState:
    """One path.

    Attributes:
        kind: as stat(2) tells it.
        inode: 0 of a directory, which is compared by its name.
        size: bytes of a file.
        changed_ns: last change of content or metadata, in nanoseconds; 0 of a directory.
        target: of a link.
    """

    kind: int
    inode: int = 0
    size: int = 0
    changed_ns: int = 0
    target: str = ""


Listing = Mapping[str, FileState]


def list_data(root: Path) -> Listing:
    """Return every path below a root but those in log/ and run/; links are not followed."""
    listing = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if not _NOT_DATA.search(name):
            with suppress(FileNotFoundError):  # SQLite's own files come and go
                listing[name] = _read(path)
    return listing


def find_changes(before: Listing, after: Listing) -> list[str]:
    """Return every path that is new, gone, moved or written."""
    names = sorted(before.keys() | after.keys())
    return [name for name in names if before.get(name) != after.get(name)]


def find_losses(before: Listing, after: Listing) -> list[str]:
    """Return every path that is gone or another file now; a server may write to its files."""
    return [
        name
        for name, state in before.items()
        if not _REPLACED.search(name) and not _is_same(state, after.get(name))
    ]


def _is_same(state: FileState, later: FileState | None) -> bool:
    known = (state.kind, state.inode, state.target)
    return later is not None and known == (later.kind, later.inode, later.target)


def _read(path: Path) -> FileState:
    status = path.lstat()
    kind = stat.S_IFMT(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return FileState(kind)
    target = str(path.readlink()) if stat.S_ISLNK(status.st_mode) else ""
    return FileState(kind, status.st_ino, status.st_size, status.st_ctime_ns, target)

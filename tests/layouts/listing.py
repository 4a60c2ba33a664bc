"""The files of a layout at one moment, to prove that none was moved, lost or written.

Inode and change time prove more than a digest: programs cannot set the change time, and a file that
was moved, replaced or written has a different one. So two gigabytes need not be read.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# A running server writes these at any time, and SQLite removes its own files. The fence is replaced
# by every command that acts in the home.
_NOT_DATA = re.compile(r"(^|/)((log|run)/|\.dagengine-fence$)")
_REPLACED = re.compile(r"(^|/)(slog/|meta\.db-|(log|run)/)")


@dataclass(frozen=True, slots=True)
class FileState:
    """The state of one path.

    Attributes:
        kind: file type as in stat(2).
        inode: 0 for a directory, which is compared by its name.
        size: size of a file in bytes.
        changed_ns: last change of content or metadata, in nanoseconds; 0 for a directory.
        target: target of a link.
    """

    kind: int
    inode: int = 0
    size: int = 0
    changed_ns: int = 0
    target: str = ""


Listing = Mapping[str, FileState]


def list_data(root: Path) -> Listing:
    """Return every path below a root, except the fence and those in log/ and run/.

    Links are not followed.
    """
    listing = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if not _NOT_DATA.search(name):
            with suppress(FileNotFoundError):  # SQLite's transient files
                listing[name] = _read(path)
    return listing


def find_changes(before: Listing, after: Listing) -> list[str]:
    """Return every path that was added, removed, moved or written."""
    names = sorted(before.keys() | after.keys())
    return [name for name in names if before.get(name) != after.get(name)]


def find_losses(before: Listing, after: Listing) -> list[str]:
    """Return every path that was removed or replaced; a server may write to its files."""
    return [
        name
        for name, state in before.items()
        if not _REPLACED.search(name) and not _is_same(state, after.get(name))
    ]


def _is_same(state: FileState, later: FileState | None) -> bool:
    identity = (state.kind, state.inode, state.target)
    return later is not None and identity == (later.kind, later.inode, later.target)


def _read(path: Path) -> FileState:
    status = path.lstat()
    kind = stat.S_IFMT(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return FileState(kind)
    target = str(path.readlink()) if stat.S_ISLNK(status.st_mode) else ""
    return FileState(kind, status.st_ino, status.st_size, status.st_ctime_ns, target)

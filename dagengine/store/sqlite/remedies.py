"""Remedies for errors of SQLite or the operating system on a file."""

from __future__ import annotations

import errno
import shlex
import sqlite3
from pathlib import Path

_FULL = "make room on the disk, or in the quota"
_FORBIDDEN = "let this user write the file and in its directory, or name another path"
_BROKEN_DISK = "look at the disk: its free space, and the kernel's log (`dmesg`)"
_HELD = (
    "another process holds {path}, a shell or a copying program perhaps: `fuser -v {quoted}` tells "
    "which; end it, or wait for it"
)
_DAMAGED = (
    "{path} is damaged, or no store: if the path is right, move it away together with its -wal and "
    "-shm, and put a backup in its place"
)
_ANY = "look at the disk's free space and the file's permissions"

_BY_SQLITE = {
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_LOCKED: _HELD,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _FORBIDDEN,
    sqlite3.SQLITE_PERM: _FORBIDDEN,
    sqlite3.SQLITE_CANTOPEN: _FORBIDDEN,
    sqlite3.SQLITE_IOERR: _BROKEN_DISK,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
_BY_ERRNO = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FULL),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _FORBIDDEN),
    errno.EIO: _BROKEN_DISK,
}


def remedy_for(exc: sqlite3.Error | OSError, path: Path) -> str:
    """Return the remedy for an error on `path`."""
    if isinstance(exc, OSError):
        found = _BY_ERRNO.get(exc.errno or 0, _ANY)
    elif (code := getattr(exc, "sqlite_errorcode", None)) is not None:
        found = _BY_SQLITE.get(code & 0xFF, _ANY)  # the higher bits hold the extended code
    else:
        found = _ANY
    return found.format(path=path, quoted=shlex.quote(str(path)))

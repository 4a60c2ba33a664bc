"""Remedies for errors of SQLite or the operating system on a file."""

from __future__ import annotations

import errno
import shlex
import sqlite3
from pathlib import Path

from dagengine.store import messages

_BY_SQLITE = {
    sqlite3.SQLITE_BUSY: messages.END_HOLDER,
    sqlite3.SQLITE_LOCKED: messages.END_HOLDER,
    sqlite3.SQLITE_FULL: messages.MAKE_ROOM,
    sqlite3.SQLITE_READONLY: messages.GRANT_ACCESS,
    sqlite3.SQLITE_PERM: messages.GRANT_ACCESS,
    sqlite3.SQLITE_CANTOPEN: messages.GRANT_ACCESS,
    sqlite3.SQLITE_IOERR: messages.CHECK_DISK,
    sqlite3.SQLITE_CORRUPT: messages.REPLACE_DAMAGED,
    sqlite3.SQLITE_NOTADB: messages.REPLACE_DAMAGED,
}
_BY_ERRNO = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), messages.MAKE_ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), messages.GRANT_ACCESS),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EEXIST), messages.NAME_CREATABLE),
    errno.EIO: messages.CHECK_DISK,
    errno.ELOOP: messages.REMOVE_LINK,
}


def remedy_for(exc: sqlite3.Error | OSError, path: Path) -> str:
    """Return the remedy for an error on `path`."""
    if isinstance(exc, OSError):
        remedy = _BY_ERRNO.get(exc.errno or 0, messages.CHECK_DISK_AND_FILE)
    elif (code := getattr(exc, "sqlite_errorcode", None)) is not None:
        remedy = _BY_SQLITE.get(
            code & 0xFF, messages.CHECK_DISK_AND_FILE
        )  # the higher bits hold the extended code
    else:
        remedy = messages.CHECK_DISK_AND_FILE
    fields = {"path": path, "quoted": shlex.quote(str(path))}
    return remedy(**{name: fields[name] for name in remedy.fields})

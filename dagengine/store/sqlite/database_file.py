"""The store's file before SQLite has it, and who may read it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from dagengine.errors import StoreUnavailable
from dagengine.store.sqlite.remedies import advise

_BESIDE = ("-wal", "-shm")
_OWNER_ONLY = 0o600


def make_ready(path: Path) -> None:
    """Make the file when it is missing, empty and for its owner alone; refuse one that is no use.

    SQLite gives `-wal` and `-shm`, which show what is in the file, the mode that the file has
    when it makes them. It makes them for a file that may only be read, too: then they may only be
    read themselves and keep the store from being opened when the file is mended. So its mode is
    seen to before SQLite comes.

    An empty file is a new store: a first opening that is killed leaves one, and so does who makes
    the file ahead to give it its owner. Not when there is something in the log beside it: then
    the store was emptied or taken away, and SQLite would delete the log with its last commits.

    Raises:
        StoreUnavailable: it cannot be made or written, or a log lies there that is not its own.
    """
    real = Path(os.path.realpath(path))  # what SQLite puts beside it lies there, too
    log = beside(real)[0]
    try:
        if _size_of(real) == 0 and _size_of(log) > 0:
            raise StoreUnavailable(
                f"the store {path} is missing or empty, and {log} beside it is not",
                remedy="put back the file that this log belongs to, or move the log away",
            )
        with suppress(FileExistsError):
            os.close(os.open(real, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY))
    except OSError as exc:
        raise StoreUnavailable(
            f"cannot make the store {path}: {exc.strerror}", remedy=advise(exc, path)
        ) from exc
    # Asked, not opened: to close it would drop the locks that this process has on the file.
    for file in (real, *beside(real)):
        if file.exists() and not os.access(file, os.R_OK | os.W_OK, effective_ids=True):
            raise StoreUnavailable(
                f"the store {path} cannot be used: this user may not read and write {file}",
                remedy="mend its owner and mode (`chmod 600`), or name another store",
            )


def restrict(path: Path) -> None:
    """Take the file, and what SQLite has beside it, from everybody but the owner.

    Raises:
        OSError: it belongs to somebody else.
    """
    real = Path(os.path.realpath(path))
    real.chmod(_OWNER_ONLY)
    for file in beside(real):
        with suppress(FileNotFoundError):
            file.chmod(_OWNER_ONLY)


def beside(real: Path) -> tuple[Path, ...]:
    """SQLite's log of a file, and the log's index."""
    return tuple(real.with_name(real.name + end) for end in _BESIDE)


def _size_of(path: Path) -> int:
    """In bytes; 0 of what is missing."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

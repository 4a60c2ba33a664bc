"""One controller per store: an OS lock on a file next to it, which names the owner."""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path

from dagengine.errors import Message, StoreInUse, StoreUnavailable
from dagengine.runtime.new_file import open_lock_file
from dagengine.store import messages
from dagengine.store.sqlite.remedies import remedy_for


class StoreLock:
    """Holds `<store>.lock`. The kernel releases the lock when the process ends for any reason.

    The lock file sits next to the resolved path of the store, like SQLite's WAL. Hard links are not
    detected: a hard link is a second name with a separate WAL, which corrupts any SQLite database.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._file: TextIOWrapper | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            StoreInUse: another process holds it; the message names the process.
            StoreUnavailable: the lock file cannot be created or written, or is a symbolic link.
        """
        path = lock_file_of(self._store)
        try:
            # Owner only: any user who can open the file could lock it and block every controller.
            file = open(  # noqa: SIM115  # see release
                path, "a+", encoding="utf-8", opener=open_lock_file
            )
        except OSError as exc:
            raise _unusable(messages.LOCK_FILE_NOT_OPENED, path, exc) from exc
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            file.seek(0)
            owner = file.read().strip() or messages.OWNER_UNKNOWN()
            file.close()
            raise StoreInUse(
                messages.IN_USE(owner=owner, path=path),
                remedy=messages.STOP_OWNER(),
            ) from exc
        try:
            file.truncate(0)
            file.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        except OSError as exc:
            with suppress(OSError):  # close() retries the write
                file.close()
            raise _unusable(messages.LOCK_FILE_NOT_WRITTEN, path, exc) from exc
        self._file = file

    def release(self) -> None:
        """Release the lock. Safe to call twice. The file is kept: removing it would race."""
        if self._file is not None:
            self._file.close()
            self._file = None


def lock_file_of(store: Path) -> Path:
    """Return the lock file of a store, after resolving symbolic links."""
    real = Path(os.path.realpath(store))
    return real.with_name(real.name + ".lock")


def _unusable(message: Message, path: Path, exc: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        message(path=path, reason=exc.strerror),
        remedy=remedy_for(exc, path),
    )

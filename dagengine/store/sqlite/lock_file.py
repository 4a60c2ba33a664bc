"""One controller for each store: an OS lock on a file beside it, which says whose it is."""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from functools import partial
from io import TextIOWrapper
from pathlib import Path

from dagengine.errors import StoreInUse, StoreUnavailable
from dagengine.store.sqlite.remedies import advise


class StoreLock:
    """Holds `<store>.lock`. The kernel frees it when the process ends, however it ends.

    Beside the file itself, whatever symbolic links lead to it, as SQLite's own log is. A hard
    link is not seen through: it is a second name with a log of its own, which no SQLite
    database survives.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._file: TextIOWrapper | None = None

    def take(self) -> None:
        """Claim the store.

        Raises:
            StoreInUse: another process has it; the message says which.
            StoreUnavailable: the lock file cannot be made or written.
        """
        path = lock_file_of(self._store)
        try:
            # For the owner alone: who may open it may lock it, and keep every controller out.
            opener = partial(os.open, mode=0o600)
            file = open(path, "a+", encoding="utf-8", opener=opener)  # noqa: SIM115  # see release
        except OSError as exc:
            raise _unusable("open", path, exc) from exc
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            file.seek(0)
            owner = file.read().strip() or "an unnamed process"
            file.close()
            raise StoreInUse(
                f"the store is in use by {owner} (lock file {path})",
                remedy="stop that controller first; one store serves one controller",
            ) from exc
        try:
            file.truncate(0)
            file.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        except OSError as exc:
            with suppress(OSError):  # it tries once more to write
                file.close()
            raise _unusable("write", path, exc) from exc
        self._file = file

    def release(self) -> None:
        """Give the store up. Safe to call twice. The file stays: removing it would race."""
        if self._file is not None:
            self._file.close()
            self._file = None


def lock_file_of(store: Path) -> Path:
    """Where the claim on a store lies, by whatever symbolic links it is named."""
    real = Path(os.path.realpath(store))
    return real.with_name(real.name + ".lock")


def _unusable(what: str, path: Path, exc: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"cannot {what} {path}: {exc.strerror}",
        remedy=advise(exc, path),
    )

"""One controller for each store: an OS lock on a file beside it, which says whose it is."""

from __future__ import annotations

import fcntl
import os
import socket
from io import TextIOWrapper
from pathlib import Path

from dagengine.errors import StoreInUse, StoreUnusable


class Claim:
    """Holds `<store>.lock`. The kernel frees it when the process ends, however it ends."""

    def __init__(self, store: Path) -> None:
        self._path = store.with_name(store.name + ".lock")
        self._file: TextIOWrapper | None = None

    def take(self) -> None:
        """Claim the store.

        Raises:
            StoreInUse: another process has it; the message says which.
            StoreUnusable: the lock file cannot be made.
        """
        try:
            file = self._path.open("a+", encoding="utf-8")
        except OSError as exc:
            raise StoreUnusable(
                f"cannot open {self._path}: {exc.strerror}",
                remedy="let this user write there, or name another store path",
            ) from exc
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            file.seek(0)
            owner = file.read().strip() or "an unnamed process"
            file.close()
            raise StoreInUse(
                f"the store is in use by {owner} (lock file {self._path})",
                remedy="stop that controller first; one store serves one controller",
            ) from exc
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give the store up. Safe to call twice. The file stays: removing it would race."""
        if self._file is not None:
            self._file.close()
            self._file = None

"""The store's file before SQLite opens it, and its permissions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from dagengine.errors import StoreUnavailable
from dagengine.runtime.new_file import PRIVATE_MODE, create_file, is_dangling_link
from dagengine.store import messages
from dagengine.store.sqlite.remedies import remedy_for

_SIDECAR_SUFFIXES = ("-wal", "-shm")


def prepare_database_file(path: Path) -> None:
    """Create the database file if missing (empty, mode 0600); reject one that cannot be used.

    SQLite creates `-wal` and `-shm`, which contain stored data, with the permissions of the
    database file, even if that is read-only; read-only sidecar files would then block later opens,
    even after the database file's mode is fixed. So the permissions are checked before SQLite opens
    the file.

    An empty file counts as a new store: a first open that was killed leaves one, and an
    administrator may create one in advance to set its owner. The exception is an empty or missing
    file next to a non-empty `-wal`: that store was truncated or removed, and SQLite would delete
    the log together with its last commits.

    Links in the place of SQLite's own files are never legitimate: another user has placed them.

    Raises:
        StoreUnavailable: the file cannot be created or written, or has a link in the place of one
            of SQLite's files; or the `-wal` next to it belongs to another file.
    """
    real = Path(os.path.realpath(path))  # SQLite puts its sidecar files there, too
    _check_sidecar_links(path, (*sidecar_files(real), real.with_name(f"{real.name}-journal")))
    log = sidecar_files(real)[0]
    try:
        if _size_of(real) == 0 and _size_of(log) > 0:
            raise StoreUnavailable(
                messages.ORPHANED_LOG(path=path, log=log),
                remedy=messages.RESTORE_LOG_OWNER(),
            )
        if not real.exists():
            with suppress(FileExistsError):
                create_file(real)
    except OSError as exc:
        raise StoreUnavailable(
            messages.CREATE_FAILED(path=path, reason=exc.strerror), remedy=remedy_for(exc, path)
        ) from exc
    # Check access without opening: closing the file would drop this process's locks on it.
    for file in (real, *sidecar_files(real)):
        if file.exists() and not os.access(file, os.R_OK | os.W_OK, effective_ids=True):
            raise StoreUnavailable(
                messages.FILE_FORBIDDEN(path=path, file=file),
                remedy=messages.CORRECT_FILE_MODE(),
            )


def check_store_link(path: Path) -> None:
    """Reject a link to nothing; a link to an existing store is followed.

    Another user may have placed it so that lock file and store are created elsewhere.

    Raises:
        StoreUnavailable: the path is a link to nothing.
    """
    if is_dangling_link(path):
        raise StoreUnavailable(
            messages.LINK_TO_NOTHING(path=path), remedy=messages.REMOVE_LINK(path=path)
        )


def chmod_private(path: Path) -> None:
    """Make the file and SQLite's sidecar files accessible to the owner only.

    Raises:
        OSError: a file belongs to another user.
    """
    real = Path(os.path.realpath(path))
    real.chmod(PRIVATE_MODE)
    for file in sidecar_files(real):
        with suppress(FileNotFoundError):
            file.chmod(PRIVATE_MODE)


def sidecar_files(real: Path) -> tuple[Path, ...]:
    """Return the paths of SQLite's write-ahead log of a file and of the log's index."""
    return tuple(real.with_name(real.name + end) for end in _SIDECAR_SUFFIXES)


def _check_sidecar_links(path: Path, own_files: Iterable[Path]) -> None:
    for file in own_files:
        if file.is_symlink():
            raise StoreUnavailable(
                messages.LINK_BESIDE_STORE(path=path, file=file),
                remedy=messages.REMOVE_LINK(path=file),
            )


def _size_of(path: Path) -> int:
    """Return the size in bytes; 0 if the file is missing."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

"""Online backup: copy a store while a controller uses it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from dagengine.errors import StoreUnavailable
from dagengine.store import messages
from dagengine.store.sqlite.migrate import APPLICATION_ID
from dagengine.store.sqlite.remedies import remedy_for

_NAME_IT = messages.NAME_ENGINE_FILE()


def backup_store(source: Path, target: Path) -> int:
    """Copy a store as of one moment, while the controller keeps running.

    Args:
        source: the store's file.
        target: the new file. It must not exist, and appears only once it is complete and checked.

    Returns:
        The size of the copy in bytes.

    Raises:
        StoreUnavailable: the source is missing, damaged or not a store, the disk is full, or the
            target exists.
    """
    if not source.is_file():
        raise StoreUnavailable(messages.SOURCE_MISSING(path=source), remedy=_NAME_IT)
    if target.exists():
        raise StoreUnavailable(messages.TARGET_EXISTS(path=target), remedy=messages.NAME_NEW_FILE())
    part = target.with_name(f"{target.name}.part")
    try:
        _copy(source, part)
        part.rename(target)
    except (sqlite3.Error, OSError) as exc:
        raise StoreUnavailable(
            messages.COPY_FAILED(source=source, target=target, reason=exc),
            remedy=remedy_for(exc, source),
        ) from exc
    finally:
        _remove(part)
    return target.stat().st_size


def _remove(part: Path) -> None:
    """Remove an unfinished copy and the files that SQLite creates next to it."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        part.with_name(part.name + suffix).unlink(missing_ok=True)


def _copy(source: Path, part: Path) -> None:
    _remove(part)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as reader,
        closing(sqlite3.connect(part)) as writer,
    ):
        if reader.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise StoreUnavailable(messages.NOT_A_STORE(path=source), remedy=_NAME_IT)
        # Copy all pages in one step: with several steps, each concurrent commit would restart it.
        reader.backup(writer)
        (check_result,) = writer.execute("PRAGMA quick_check(1)").fetchone()
        if check_result != "ok":
            raise StoreUnavailable(
                messages.COPY_DAMAGED(source=source, reason=check_result),
                remedy=messages.KEEP_LAST_BACKUP(),
            )
        writer.execute("PRAGMA journal_mode = DELETE")  # a single file without -wal

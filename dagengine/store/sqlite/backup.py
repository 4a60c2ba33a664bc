"""Online backup: copy a store while a controller uses it."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from dagengine.errors import StoreUnavailable
from dagengine.runtime.new_file import create_file, publish_file
from dagengine.store import messages
from dagengine.store.sqlite.database_file import check_store_link
from dagengine.store.sqlite.migrate import APPLICATION_ID
from dagengine.store.sqlite.queries import QUERIES
from dagengine.store.sqlite.remedies import remedy_for

_PREFIX = "dagengine-backup"
_SESSIONS_SINCE = 9  # version of the schema
_NAME_IT = messages.NAME_ENGINE_FILE()


def backup_store(source: Path, target: Path) -> int:
    """Copy a store as of one moment, without sessions, while the controller keeps running.

    Args:
        source: the store's file.
        target: the new file. It must not exist, not even as a link to nothing, and appears only
            once it is complete and checked.

    Returns:
        The size of the copy in bytes.

    Raises:
        StoreUnavailable: the source is missing, damaged or not a store, the disk is full, or the
            target exists.
    """
    if not source.is_file():
        raise StoreUnavailable(messages.SOURCE_MISSING(path=source), remedy=_NAME_IT)
    check_store_link(target)
    if target.exists():
        raise _exists_error(target)
    try:
        # In a directory of its own, in which other users cannot place links: SQLite opens the copy
        # and the files beside it by their names.
        with tempfile.TemporaryDirectory(prefix=f".{_PREFIX}-", dir=target.parent) as directory:
            copy = Path(directory) / "copy"
            _copy(source, copy)
            publish_file(copy, target)
    except FileExistsError as exc:
        raise _exists_error(target) from exc
    except (sqlite3.Error, OSError) as exc:
        raise StoreUnavailable(
            messages.COPY_FAILED(source=source, target=target, reason=exc),
            remedy=remedy_for(exc, source),
        ) from exc
    return target.stat().st_size


def _exists_error(target: Path) -> StoreUnavailable:
    return StoreUnavailable(messages.TARGET_EXISTS(path=target), remedy=messages.NAME_NEW_FILE())


def _copy(source: Path, copy: Path) -> None:
    create_file(copy)
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as reader,
        closing(sqlite3.connect(copy)) as writer,
    ):
        if reader.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise StoreUnavailable(messages.NOT_A_STORE(path=source), remedy=_NAME_IT)
        # Copy all pages in one step: with several steps, each concurrent commit would restart it.
        reader.backup(writer)
        # A session that has ended must not become valid again when a backup is restored.
        if writer.execute("PRAGMA user_version").fetchone()[0] >= _SESSIONS_SINCE:
            writer.execute("PRAGMA secure_delete = ON")  # leave nothing in unused pages
            writer.execute(QUERIES["delete_all_sessions"])
            writer.commit()
        (check_result,) = writer.execute("PRAGMA quick_check(1)").fetchone()
        if check_result != "ok":
            raise StoreUnavailable(
                messages.COPY_DAMAGED(source=source, reason=check_result),
                remedy=messages.KEEP_LAST_BACKUP(),
            )
        writer.execute("PRAGMA journal_mode = DELETE")  # a single file without -wal

"""Open the file: verify that it is a store, set the pragmas, bring the schema up to date."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from dagengine.errors import StoreTooNew, StoreTooOld, StoreUnavailable
from dagengine.store import messages
from dagengine.store.sqlite.database_file import chmod_private, prepare_database_file
from dagengine.store.sqlite.migrate import (
    APPLICATION_ID,
    OLDEST_VERSION,
    apply_migrations,
    newest_version,
)
from dagengine.store.sqlite.remedies import remedy_for

_BUSY_TIMEOUT_MS = 5000


def connect_writer(path: Path) -> sqlite3.Connection:
    """Return the writing connection of a store; create or upgrade the store if necessary.

    Raises:
        StoreTooNew: a newer version of this program wrote the store.
        StoreTooOld: the store's schema cannot be upgraded.
        StoreUnavailable: not a database, damaged, not a store, or not writable.
    """
    prepare_database_file(path)
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as exc:
        raise _unusable(path, exc) from exc
    try:
        _set_up(connection, path)
    except (sqlite3.Error, OSError) as exc:
        connection.close()
        raise _unusable(path, exc) from exc
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS:d}")
    version = _check_version(connection, path)
    (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if result != "ok":
        raise StoreUnavailable(
            messages.STORE_DAMAGED(path=path, reason=result),
            remedy=(messages.RESTORE_BACKUP()),
        )
    chmod_private(path)  # the file may be a copy with wider permissions
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    apply_migrations(connection, version)
    connection.execute("PRAGMA foreign_keys = ON")  # only now: a migration may swap tables


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version, 0 for an empty file; raise if the store cannot be used."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    newest = newest_version()
    if tables and application_id != APPLICATION_ID:
        raise StoreUnavailable(
            messages.FOREIGN_DATABASE(path=path),
            remedy=messages.NAME_OTHER_STORE(),
        )
    if version > newest:
        raise StoreTooNew(
            messages.SCHEMA_TOO_NEW(path=path, version=version, newest=newest),
            remedy=messages.USE_NEWER_PROGRAM(),
        )
    if (tables or version) and version < OLDEST_VERSION:
        raise StoreTooOld(
            messages.SCHEMA_TOO_OLD(path=path, version=version, oldest=OLDEST_VERSION),
            remedy=(messages.REPLACE_OLD_STORE()),
        )
    return int(version)


def _unusable(path: Path, exc: sqlite3.Error | OSError) -> StoreUnavailable:
    return StoreUnavailable(
        messages.STORE_UNUSABLE(path=path, reason=exc),
        remedy=messages.STORE_UNCHANGED(remedy=remedy_for(exc, path)),
    )

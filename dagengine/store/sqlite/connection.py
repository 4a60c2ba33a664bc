"""Opening the file: pragmas, whose file it is, migrations."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from dagengine.errors import StoreTooNew, StoreUnavailable
from dagengine.store.sqlite.database_file import make_ready, restrict
from dagengine.store.sqlite.queries import read_sql
from dagengine.store.sqlite.remedies import advise

APPLICATION_ID = 0x44414745  # "DAGE", in the file's header
_BUSY_TIMEOUT_MS = 5000
_MIGRATION = re.compile(r"(\d{4})_\w+\.sql")


def connect_writer(path: Path) -> sqlite3.Connection:
    """The writing connection of a store that is ours and up to date; made when it is missing.

    Raises:
        StoreTooNew: a newer version wrote it.
        StoreUnavailable: not a database, damaged, somebody else's, or not writable.
    """
    make_ready(path)
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


def list_migrations() -> list[tuple[int, str]]:
    """(number, file name) in order; numbers count from 1 without a gap."""
    directory = resources.files(__package__ or "").joinpath("migrations")
    found = [(int(m[1]), m[0]) for f in directory.iterdir() if (m := _MIGRATION.fullmatch(f.name))]
    found.sort()
    if [number for number, _ in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations are not numbered 1, 2, …: {found}")
    return found


def apply_migrations(connection: sqlite3.Connection, done: int) -> None:
    """Apply every migration after number `done`, each in a transaction of its own."""
    for number, name in list_migrations():
        if number <= done:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in _split(read_sql(f"migrations/{name}")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number:d}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS:d}")
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    newest = list_migrations()[-1][0]
    if tables and application_id != APPLICATION_ID:
        raise StoreUnavailable(
            f"{path} is a database of some other program",
            remedy="name another path for the store",
        )
    if version > newest:
        raise StoreTooNew(
            f"the store {path} has schema {version}, this program knows up to {newest}",
            remedy="use the newer program that wrote it",
        )
    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise StoreUnavailable(
            f"the store {path} is damaged: {said}",
            remedy=(
                "it was left as it is; move it away together with its -wal and -shm, "
                "and put a backup in its place"
            ),
        )
    restrict(path)  # a file that somebody copied there
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    apply_migrations(connection, version)
    connection.execute("PRAGMA foreign_keys = ON")  # from here on: a migration may swap tables


def _split(text: str) -> Iterator[str]:
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _unusable(path: Path, exc: sqlite3.Error | OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"the store {path} cannot be used: {exc}",
        remedy=f"it was left as it is; {advise(exc, path)}",
    )

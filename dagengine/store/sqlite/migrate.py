"""The schema of a store: create it, or upgrade an older one."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from importlib import resources

from dagengine.store.sqlite.queries import read_file

APPLICATION_ID = 0x44414745  # "DAGE", in the file's header
OLDEST_VERSION = 6
"""The oldest schema that can be upgraded. Versions 1 to 5 were never released."""
_MIGRATION = re.compile(r"(\d{4})_\w+\.sql")


def list_migrations() -> list[tuple[int, str]]:
    """Return (version, file name) of every migration, in ascending order without a gap."""
    directory = resources.files(__package__ or "").joinpath("migrations")
    names = [(int(m[1]), m[0]) for f in directory.iterdir() if (m := _MIGRATION.fullmatch(f.name))]
    names.sort()
    first = OLDEST_VERSION + 1
    if [number for number, _ in names] != list(range(first, first + len(names))):
        raise ValueError(f"migrations are not numbered {first}, {first + 1}, …: {names}")
    return names


def newest_version() -> int:
    """Return the version of the schema that a new store gets."""
    return list_migrations()[-1][0]


def apply_migrations(connection: sqlite3.Connection, current: int) -> None:
    """Bring the schema to the newest version.

    Args:
        connection: a connection to the store's file.
        current: the current version; 0 for an empty file, which is created from `schema.sql`.
            Otherwise each later migration runs in its own transaction, so a crash leaves a valid
            version.
    """
    if current == 0:
        _apply(connection, "schema.sql", newest_version())
        return
    for number, name in list_migrations():
        if number > current:
            _apply(connection, f"migrations/{name}", number)


def _apply(connection: sqlite3.Connection, file: str, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _split(read_file(file)):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version:d}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _split(text: str) -> Iterator[str]:
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

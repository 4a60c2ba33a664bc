"""The identity of a store, for commands that work on its file.

`renew_epoch` needs the store for itself; the others also work while a controller uses it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from dagengine.errors import StoreUnavailable
from dagengine.model.fencing import StoreIdentity
from dagengine.model.records import AuditRecord
from dagengine.store import messages
from dagengine.store.rows import parse_identity, render_audit, render_instant
from dagengine.store.sqlite.connection import connect_writer
from dagengine.store.sqlite.lock_file import StoreLock
from dagengine.store.sqlite.migrate import APPLICATION_ID, newest_version
from dagengine.store.sqlite.queries import QUERIES
from dagengine.store.sqlite.remedies import remedy_for

_BUSY_TIMEOUT_S = 5.0


def renew_epoch(
    path: Path, audit: AuditRecord, *, at_least: int = 1
) -> tuple[StoreIdentity, StoreIdentity]:
    """Give a store a larger epoch, so that its tokens are newer than all of its copies.

    The new epoch is the Unix time of the audit row in seconds, or else the next number.

    Args:
        path: the file of the store.
        audit: the audit row of the change.
        at_least: minimum of the new epoch: above the one that a host knows, which may be larger
            than the Unix time if a clock was wrong once.

    Returns:
        The identity before and after the change.

    Raises:
        StoreInUse: a controller uses the store.
        StoreTooNew: a newer version of this program wrote the store.
        StoreTooOld: the store's schema cannot be upgraded.
        StoreUnavailable: the store does not exist, or cannot be written.
    """
    if not path.is_file():
        raise StoreUnavailable(
            messages.SOURCE_MISSING(path=path), remedy=messages.NAME_ENGINE_FILE()
        )
    lock = StoreLock(path)
    lock.take()
    try:
        with _translated(path), closing(connect_writer(path)) as connection:
            before = load_identity(connection)
            epoch = max(before.epoch + 1, render_instant(audit.at) // 1_000_000, at_least)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(QUERIES["update_epoch"], (str(epoch),))
            connection.execute(QUERIES["insert_audit"], render_audit(audit))
            connection.execute("COMMIT")
            return before, load_identity(connection)
    finally:
        lock.release()


def load_identity(connection: sqlite3.Connection) -> StoreIdentity:
    """Return the identity of the store to which a connection is open."""
    return parse_identity(connection.execute(QUERIES["load_identity"]).fetchone())


def read_last_token(path: Path) -> tuple[StoreIdentity, int]:
    """Return the identity of a store, and the newest token of its locks (0 if there is none).

    Raises:
        StoreUnavailable: the store does not exist, has another version, or cannot be read.
    """
    with _translated(path), _connect(path, "ro") as connection:
        (token,) = connection.execute(QUERIES["last_lock_token"]).fetchone()
        return load_identity(connection), int(token)


def append_audit(path: Path, audit: AuditRecord) -> None:
    """Append one row to the audit of a store; durable on return.

    Raises:
        StoreUnavailable: the store does not exist, has another version, or cannot be written.
    """
    with _translated(path), _connect(path, "rw") as connection:
        connection.execute(QUERIES["insert_audit"], render_audit(audit))  # a transaction of its own


@contextmanager
def _connect(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Open an existing store of the newest version."""
    if not path.is_file():
        raise StoreUnavailable(
            messages.SOURCE_MISSING(path=path), remedy=messages.START_CONTROLLER_ONCE()
        )
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with closing(
        sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S)
    ) as connection:
        if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise StoreUnavailable(
                messages.NOT_A_STORE(path=path), remedy=messages.NAME_ENGINE_FILE()
            )
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != newest_version():
            raise StoreUnavailable(
                messages.OTHER_SCHEMA(path=path, version=version, newest=newest_version()),
                remedy=messages.START_CONTROLLER_ONCE(),
            )
        connection.execute("PRAGMA synchronous = FULL")
        yield connection


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise StoreUnavailable(
            messages.STORE_UNUSABLE(path=path, reason=exc), remedy=remedy_for(exc, path)
        ) from exc

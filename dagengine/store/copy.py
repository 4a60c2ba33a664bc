"""Copies between stores in SQLite files and a shared database; both are stopped.

Ids, tokens and the audit are kept, sessions are dropped, and the copy gets a larger epoch, so that
hosts reject commands of the original.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dagengine.errors import StoreInUse, StoreUnavailable
from dagengine.model.fencing import StoreIdentity
from dagengine.mysql import Connection, MysqlError
from dagengine.runtime.addresses import render_host_port
from dagengine.runtime.new_file import publish_file
from dagengine.store import messages
from dagengine.store.mysql.clusters import NewCluster, create_cluster
from dagengine.store.mysql.connection import connect_error, open_store_connection
from dagengine.store.mysql.identity import pin_server_identity
from dagengine.store.mysql.migrate import check_schema
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.statements import (
    PACKETS,
    SET_LENGTHS,
    render_literal,
    render_query,
    render_rows,
    render_statement,
)
from dagengine.store.sqlite.connection import connect_writer
from dagengine.store.sqlite.identity import load_identity
from dagengine.store.sqlite.lock_file import StoreLock
from dagengine.store.sqlite.migrate import newest_version

_LONG_LITERAL: Final = 8192  # see plan.py
_PAGE_ROWS = 500
_PINNED: Final = "advertise"


@dataclass(frozen=True, slots=True)
class _Table:
    """A table that is copied: its columns in a shared store without `cluster`, and its key.

    Attributes:
        sequence: the kind of its ids in table id_seq; empty if they are not numbered.
    """

    name: str
    columns: Sequence[str]
    key: Sequence[str]
    sequence: str = ""


def _table(name: str, columns: str, key: str, sequence: str = "") -> _Table:
    return _Table(name, columns.split(), key.split(), sequence)


TABLES: Final = (
    _table(
        "dag",
        "dag_id name version params targets stage max_stage state operator lock_key lock_token "
        "created_at start_at end_at last_lock_token lock_successor_id",
        "dag_id",
        "dag",
    ),
    _table(
        "node",
        "node_id dag_id stage name kind flags state operator start_at end_at",
        "node_id",
        "node",
    ),
    _table(
        "sub_task",
        "sub_task_id node_id dag_id stage target state operator attempt_no execute_times start_at "
        "end_at data evidence summary",
        "sub_task_id",
        "sub_task",
    ),
    _table(
        "attempt",
        "sub_task_id attempt_no outcome error start_at end_at",
        "sub_task_id attempt_no",
    ),
    _table(
        "log",
        "log_id sub_task_id attempt_no execute_times content created_at dag_id seq",
        "log_id",
        "log",
    ),
    _table("event", "dag_id last_seq at entries", "dag_id last_seq"),
    _table("lock", "key dag_id token reason since_at", "key"),
    _table("unconfirmed_target", "target dag_id stage since_at", "target"),
    _table("audit", "audit_id at dag_id node_id action by reason", "audit_id", "audit"),
    _table("idempotency_key", "key digest dag_id", "key"),
    _table("reserved_request", "digest until_at", "digest"),
    _table(
        "token",
        "name digest access clusters created_by created_at expires_at last_used_at",
        "name",
    ),
)
"""All tables except meta, which becomes the cluster's row, and session, which is dropped."""

_TOKENS: Final = TABLES[-1]

_BLOBS: Final = frozenset({("reserved_request", "digest"), ("token", "digest")})


async def copy_to_database(
    path: Path, settings: MysqlSettings, cluster: str, *, now_s: int
) -> StoreIdentity:
    """Copy a store in an SQLite file into a shared store, as a new cluster without an owner.

    A copy that was interrupted is removed first. The cluster's row is written last. With an empty
    name, only the tokens are copied, for the service.

    Args:
        path: the file.
        settings: the database; its schema must be current.
        cluster: name of the cluster.
        now_s: the Unix time, for the epoch.

    Returns:
        The identity of the copy.

    Raises:
        StoreInUse: a controller uses one of the stores.
        StoreUnavailable: a store cannot be used, or the cluster exists.
        StoreTooOld, StoreTooNew: a store has another schema.
    """
    _check_source(path)
    lock = StoreLock(path)
    lock.take()
    try:
        with closing(connect_writer(path)) as source:
            connection = await _open_stopped(settings)
            try:
                return await _copy_in(source, connection, cluster, now_s)
            except MysqlError as exc:
                raise connect_error(settings, exc) from exc
            finally:
                connection.close()
    finally:
        lock.release()


async def copy_to_file(
    settings: MysqlSettings, cluster: str, path: Path, *, now_s: int
) -> StoreIdentity:
    """Copy a cluster of a shared store into a new SQLite file.

    Args:
        settings: the database.
        cluster: name of the cluster.
        path: the file, which must not exist; it appears when it is complete.
        now_s: the Unix time, for the epoch.

    Returns:
        The identity of the copy.

    Raises:
        StoreInUse, StoreTooOld, StoreTooNew: see `copy_to_database`.
        StoreUnavailable: a store cannot be used, the cluster does not exist, or the file exists.
    """
    _check_target(path)
    connection = await _open_stopped(settings)
    partial = path.with_name(f".{path.name}.copy")
    partial.unlink(missing_ok=True)
    try:
        with closing(connect_writer(partial)) as target:
            identity = await _copy_out(connection, target, cluster, now_s)
            target.execute("PRAGMA journal_mode = DELETE")
        publish_file(partial, path)
    except MysqlError as exc:
        raise connect_error(settings, exc) from exc
    finally:
        connection.close()
        for name in (partial.name, f"{partial.name}-wal", f"{partial.name}-shm"):
            partial.with_name(name).unlink(missing_ok=True)
    return identity


async def list_clusters(settings: MysqlSettings) -> Sequence[str]:
    """Return the names of the clusters in a shared store.

    Raises:
        StoreUnavailable: the database cannot be read.
    """
    connection = await _open_stopped(settings)
    try:
        rows = (await connection.query(render_query("list_clusters", ""))).rows
    except MysqlError as exc:
        raise connect_error(settings, exc) from exc
    finally:
        connection.close()
    return [name.decode() for (name,) in rows if isinstance(name, bytes)]


def _check_source(path: Path) -> None:
    if not path.is_file():
        raise StoreUnavailable(messages.SOURCE_MISSING(path=path))


def _check_target(path: Path) -> None:
    if path.exists():
        raise StoreUnavailable(messages.TARGET_EXISTS(path=path), remedy=messages.NAME_NEW_FILE())


async def _open_stopped(settings: MysqlSettings) -> Connection:
    """Return a connection to a shared store that no controller uses."""
    connection = await open_store_connection(settings)
    try:
        await check_schema(connection, settings, is_exact=True)
        await pin_server_identity(connection, settings)
        ((live,),) = (await connection.query(render_query("count_live_controllers", ""))).rows
    except MysqlError as exc:
        connection.close()
        raise connect_error(settings, exc) from exc
    except BaseException:
        connection.close()
        raise
    if live:
        connection.close()
        raise StoreInUse(
            messages.CONTROLLERS_LIVE(store=settings, count=live),
            remedy=messages.STOP_CONTROLLERS(),
        )
    return connection


async def _copy_in(
    source: sqlite3.Connection, connection: Connection, cluster: str, now_s: int
) -> StoreIdentity:
    if not cluster:
        return await _copy_service(source, connection)
    if (await connection.query(render_query("find_cluster", cluster))).rows:
        raise StoreUnavailable(
            messages.CLUSTER_EXISTS(cluster=cluster), remedy=messages.NAME_OTHER_CLUSTER()
        )
    await _remove_rows(connection, cluster)
    following: dict[str, int] = {}
    for table in TABLES:
        for page in _read_pages(source, table):
            await _insert_page(connection, cluster, table, page)
            if table.sequence:
                following[table.sequence] = int(str(page[-1][0])) + 1
    for table in TABLES:
        if table.sequence:
            text = render_query(
                "set_sequence", cluster, kind=table.sequence, next=following.get(table.sequence, 1)
            )
            await connection.query(text)
    meta: dict[str, str] = dict(source.execute("SELECT key, value FROM meta").fetchall())
    identity = StoreIdentity(meta["store_id"], max(int(meta["epoch"]) + 1, now_s))
    for name in meta.keys() - {"store_id", "epoch"}:
        await connection.query(render_query("pin_meta", cluster, name=name, value=meta[name]))
    port, _, ip = meta.get(_PINNED, "").partition(" ")
    advertise = render_host_port(ip, int(port)) if port else ""
    # Not pinned yet: id and flavour are in the cluster file, which the first controller reads.
    await create_cluster(connection, NewCluster(cluster, 0, "", advertise, identity))
    return identity


async def _copy_service(source: sqlite3.Connection, connection: Connection) -> StoreIdentity:
    """Copy the tokens of the service; those that the shared store has already make it fail."""
    for page in _read_pages(source, _TOKENS):
        await _insert_page(connection, "", _TOKENS, page)
    return load_identity(source)


async def _remove_rows(connection: Connection, cluster: str) -> None:
    for name in (*(table.name for table in TABLES), "session", "id_seq", "cluster_meta"):
        literals = {"table": f"`{name}`", "cluster": render_literal(cluster)}
        text = render_statement(PACKETS["delete_copied"], literals | {"limit": str(_PAGE_ROWS)})
        while (await connection.query(text)).affected_rows:
            pass


def _read_pages(source: sqlite3.Connection, table: _Table) -> Iterator[Sequence[Sequence[object]]]:
    columns, key = _names(table.columns, '"'), _names(table.key, '"')
    cursor = source.execute(f'SELECT {columns} FROM "{table.name}" ORDER BY {key}')  # noqa: S608
    while page := cursor.fetchmany(_PAGE_ROWS):
        yield page


async def _insert_page(
    connection: Connection, cluster: str, table: _Table, page: Sequence[Sequence[object]]
) -> None:
    columns = _names(table.columns, "`")
    names = [f"`{name}`" for name in table.columns]
    for rows in _split([[render_literal(value) for value in row] for row in page]):
        literals = {
            "table": f"`{table.name}`",
            "columns": columns,
            "rows": render_rows(names, rows),
        }
        literals["cluster"] = render_literal(cluster)
        await connection.query(render_statement(PACKETS["insert_copied"], literals))


def _split(rows: Sequence[Sequence[str]]) -> Iterator[Sequence[Sequence[str]]]:
    """Split rows into sets; a row with a long literal is a set of its own, see plan.py."""
    waiting: list[Sequence[str]] = []
    for row in rows:
        if any(len(value) > _LONG_LITERAL for value in row):
            yield [row]
            continue
        waiting.append(row)
        if len(waiting) == max(SET_LENGTHS):
            yield waiting
            waiting = []
    for row in waiting:
        yield [row]


async def _copy_out(
    connection: Connection, target: sqlite3.Connection, cluster: str, now_s: int
) -> StoreIdentity:
    if not cluster:
        target.execute("BEGIN IMMEDIATE")
        async for page in _read_database(connection, "", _TOKENS):
            target.executemany(_insert_statement(_TOKENS), page)
        target.execute("COMMIT")
        return load_identity(target)
    rows = (await connection.query(render_query("find_cluster", cluster))).rows
    if not rows:
        raise StoreUnavailable(messages.CLUSTER_UNKNOWN(cluster=cluster))
    _advertise, store_id, epoch = rows[0]
    identity = StoreIdentity(str(store_id), max(int(str(epoch)) + 1, now_s))
    target.execute("BEGIN IMMEDIATE")
    for table in TABLES:
        async for page in _read_database(connection, cluster, table):
            target.executemany(_insert_statement(table), page)
    put = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
    meta: Mapping[str, str] = {"store_id": identity.store_id, "epoch": str(identity.epoch)}
    target.executemany(put, meta.items())
    values = await connection.query(render_query("list_cluster_meta", cluster))
    pairs = [(_text(name), _text(value)) for name, value in values.rows]
    target.executemany(put, pairs)
    target.execute("COMMIT")
    assert target.execute("PRAGMA user_version").fetchone() == (newest_version(),)
    return identity


def _insert_statement(table: _Table) -> str:
    marks = ", ".join("?" for _ in table.columns)
    columns = _names(table.columns, '"')
    return f'INSERT INTO "{table.name}" ({columns}) VALUES ({marks})'  # noqa: S608  # constants


async def _read_database(
    connection: Connection, cluster: str, table: _Table
) -> AsyncIterator[Sequence[Sequence[object]]]:
    """Yield the rows of a table in pages; each page begins after the key of the last one."""
    literals = {
        "table": f"`{table.name}`",
        "columns": _names(table.columns, "`"),
        "ids": _names(table.key, "`"),
        "cluster": render_literal(cluster),
        "limit": str(_PAGE_ROWS),
    }
    positions = [table.columns.index(name) for name in table.key]
    text = render_statement(PACKETS["read_first"], literals)
    while rows := (await connection.query(text)).rows:
        yield [
            [
                value.decode() if isinstance(value, bytes) and not is_blob else value
                for value, is_blob in zip(row, _blobs(table), strict=True)
            ]
            for row in rows
        ]
        after = ", ".join(render_literal(rows[-1][position]) for position in positions)
        text = render_statement(PACKETS["read_copied"], literals | {"after": after})


def _blobs(table: _Table) -> Sequence[bool]:
    return [(table.name, name) in _BLOBS for name in table.columns]


def _names(names: Sequence[str], quote: str) -> str:
    return ", ".join(f"{quote}{name}{quote}" for name in names)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

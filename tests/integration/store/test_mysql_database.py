"""Schema, session variables, identity and orphans of a shared store on a real seekdb."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from dagengine.errors import StoreInUse, StoreTooNew, StoreTooOld, StoreUnavailable
from dagengine.model.changes import DagChanged
from dagengine.model.states import State
from dagengine.mysql import Options, connect
from dagengine.store.contract import Retention
from dagengine.store.mysql import connection as connections
from dagengine.store.mysql.connection import Dialect, open_store_connection, session_variables
from dagengine.store.mysql.identity import ServerIdentity, pin_server_identity
from dagengine.store.mysql.migrate import (
    Migrated,
    check_schema,
    migrate_store,
    newest_version,
)
from dagengine.store.mysql.store import MysqlStore
from tests.conformance.builders import NOW, batch_of, commit_one, create, line_of
from tests.support.store_databases import StoreDatabase

_TASKS = "SELECT sub_task_id FROM sub_task s WHERE s.cluster = t.cluster"
ORPHANS = {
    "node": "dag_id NOT IN (SELECT dag_id FROM dag d WHERE d.cluster = t.cluster)",
    "sub_task": "node_id NOT IN (SELECT node_id FROM node n WHERE n.cluster = t.cluster)",
    "attempt": f"sub_task_id NOT IN ({_TASKS})",
    "log": f"sub_task_id NOT IN ({_TASKS})",
    "event": "dag_id NOT IN (SELECT dag_id FROM dag d WHERE d.cluster = t.cluster)",
    "idempotency_key": "dag_id NOT IN (SELECT dag_id FROM dag d WHERE d.cluster = t.cluster)",
    "id_seq": "cluster <> '' AND cluster NOT IN (SELECT name FROM cluster)",
}
"""The rows that foreign keys reject in SQLite. (The owner's row may outlive a controller.)"""


# --- schema --------------------------------------------------------------------------------------


async def test_migrate_store_creates_schema_once(seekdb_database: StoreDatabase) -> None:
    empty = await seekdb_database.make_database("migrated")
    assert await migrate_store(empty.settings) == Migrated(newest_version())
    assert await empty.query("SELECT value FROM meta WHERE name = 'schema_version'") == [
        (str(newest_version()),)
    ]


async def test_open_without_schema_names_command(seekdb_database: StoreDatabase) -> None:
    await seekdb_database.query("CREATE DATABASE IF NOT EXISTS empty_one")
    settings = replace(seekdb_database.settings, database="empty_one")
    store = MysqlStore(settings, await seekdb_database.own_cluster())
    with pytest.raises(StoreTooOld, match="dagengine store migrate mysql://"):
        await store.open()
    other = replace(seekdb_database.settings, database="missing_one")
    with pytest.raises(StoreUnavailable, match="create the database missing_one"):
        await MysqlStore(other, await seekdb_database.own_cluster()).open()


async def test_open_refuses_newer_schema(seekdb_database: StoreDatabase) -> None:
    newer = await seekdb_database.make_database("newer")
    await newer.query(
        "UPDATE meta SET value = '99' WHERE name IN ('schema_version', 'compatible_from')"
    )
    connection = await open_store_connection(newer.settings)
    with pytest.raises(StoreTooNew):
        await check_schema(connection, newer.settings)
    connection.close()
    with pytest.raises(StoreTooNew):
        await migrate_store(newer.settings)


async def test_migrate_store_excludes_second_run(seekdb_database: StoreDatabase) -> None:
    database = await seekdb_database.make_database("locked_one")
    held = replace(database.settings.limits, transaction_s=60.0)
    holder = await open_store_connection(database.settings, held)
    await holder.query("BEGIN")
    await holder.query("SELECT value FROM meta WHERE name = 'migration' FOR UPDATE")
    try:
        with pytest.raises(StoreInUse):
            await migrate_store(database.settings)
    finally:
        holder.close()


# --- session variables ---------------------------------------------------------------------------


async def test_connection_sets_session_variables(seekdb_database: StoreDatabase) -> None:
    settings = seekdb_database.settings
    wanted = session_variables(Dialect.MYSQL_MODE, settings.limits)
    connection = await open_store_connection(settings)
    names = ", ".join(f"@@{name}" for name in wanted)
    ((*actual,),) = (await connection.query(f"SELECT {names}")).rows
    connection.close()
    assert dict(zip(wanted, actual, strict=True)) == {
        "sql_mode": "STRICT_ALL_TABLES",
        "autocommit": 1,
        "tx_isolation": "READ-COMMITTED",
        "ob_trx_lock_timeout": 2_000_000,
        "ob_query_timeout": 4_000_000,
        "ob_trx_timeout": 2_000_000,
        "ob_trx_idle_timeout": 2_000_000,
    }


async def test_connection_with_other_variable_is_refused(
    seekdb_database: StoreDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """seekdb reads `ON` back as 1: a value that the database changes is refused."""
    variables = dict(session_variables(Dialect.MYSQL_MODE, seekdb_database.settings.limits))
    monkeypatch.setattr(
        connections, "session_variables", lambda *_: variables | {"autocommit": "ON"}
    )
    with pytest.raises(StoreUnavailable, match="autocommit remains 1"):
        await open_store_connection(seekdb_database.settings)


# --- identity ------------------------------------------------------------------------------------


async def test_identity_of_seekdb_is_pinned(seekdb_database: StoreDatabase) -> None:
    database = await seekdb_database.make_database("identified")
    connection = await open_store_connection(database.settings)
    identity = await pin_server_identity(connection, database.settings)
    assert int(identity.created) > 0
    assert await pin_server_identity(connection, database.settings) == identity
    other = ServerIdentity("", "1", identity.address)
    assert not other.is_same_server(identity)
    await database.query(
        f"UPDATE meta SET value = '{other.render()}' WHERE name = 'store_identity'"
    )
    with pytest.raises(StoreUnavailable, match="another database server"):
        await pin_server_identity(connection, database.settings)
    connection.close()


async def test_identity_is_independent_of_address(seekdb_database: StoreDatabase) -> None:
    settings = seekdb_database.settings
    async with asyncio.timeout(10):
        plain = await connect(
            (settings.host, settings.port), user="root", password="", options=Options()
        )
    plain.close()
    connection = await open_store_connection(settings)
    first = await pin_server_identity(connection, settings)
    connection.close()
    assert replace(first, address="10.0.0.9:2881").is_same_server(first)


# --- rows ----------------------------------------------------------------------------------------


async def find_orphans(database: StoreDatabase, cluster: str) -> dict[str, int]:
    counts = {}
    for table, condition in ORPHANS.items():
        ((count,),) = await database.query(
            f"SELECT COUNT(*) FROM {table} t WHERE t.cluster = '{cluster}' AND {condition}"
        )
        counts[table] = int(str(count))
    return {table: count for table, count in counts.items() if count}


async def test_pruned_store_has_no_orphans(seekdb_database: StoreDatabase) -> None:
    ownership = await seekdb_database.own_cluster()
    store = MysqlStore(seekdb_database.settings, ownership)
    await store.open()
    for dag_id in (1, 2, 3):
        created = create(dag_id)
        ended = created.dag._replace(state=State.SUCCEED)
        batch = batch_of(
            created, line_of(created, "x"), DagChanged(created.dag, ended), dag_id=dag_id
        )
        assert await commit_one(store, batch) is None
    assert await store.prune(Retention(max_count=1), NOW) > 0
    assert [dag.dag_id for dag in await store.list_dags(limit=9)] == [3]
    assert await find_orphans(seekdb_database, ownership.cluster) == {}
    await seekdb_database.query(f"DELETE FROM dag WHERE cluster = '{ownership.cluster}'")
    assert set(await find_orphans(seekdb_database, ownership.cluster)) == {"node", "event"}
    await store.close()

"""Upgrades of a shared store while controllers run, with real databases.

The program under test is the older one; NEWER has one more version of the schema, which removes a
column that this program writes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from dagengine.cli import store_commands
from dagengine.errors import StoreInUse, StoreTooNew, StoreTooOld, StoreUnavailable
from dagengine.extension import SelfCheckStatus
from dagengine.runtime.clock import SystemClock
from dagengine.server.shared import self_check
from dagengine.store.copy import list_clusters
from dagengine.store.membership import JoiningController, ServedCluster
from dagengine.store.mysql.connection import open_store_connection
from dagengine.store.mysql.membership import MysqlMembership
from dagengine.store.mysql.migrate import (
    Migrated,
    check_schema,
    migrate_store,
    newest_version,
    read_state,
)
from dagengine.store.mysql.migrations.steps import (
    Schema,
    SchemaState,
    Step,
    StepKind,
    load_schema,
    split_statements,
)
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.store import MysqlStore
from dagengine.testing import eventually
from tests.conformance.builders import batch_of, commit_one, create
from tests.support.store_databases import StoreDatabase

DATABASES = ["seekdb_database", pytest.param("mariadb_database", marks=pytest.mark.slow)]
SCHEMA_1 = Path(__file__).parents[2] / "fixtures" / "mysql_schema_1.sql"
OWN = newest_version()
EXPAND = Step(
    OWN + 1,
    StepKind.EXPAND,
    OWN,
    ("ALTER TABLE dag ADD COLUMN note LONGTEXT", "CREATE TABLE IF NOT EXISTS extra (a BIGINT)"),
)
CONTRACT = Step(
    OWN + 1, StepKind.CONTRACT, OWN + 1, ("ALTER TABLE controller_cluster DROP COLUMN file_digest",)
)
NEWER = Schema(load_schema().creation, (*load_schema().steps, EXPAND, CONTRACT))
JOINING = JoiningController("ctl-a", "1.0", 2.5, "ab" * 32)
SERVED = [ServedCluster("demo", "https://a/demo", "d1", ready=True)]
_numbers = count(1)


@pytest.fixture(params=DATABASES)
def server(request: pytest.FixtureRequest) -> StoreDatabase:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, StoreDatabase)
    return found


@pytest.fixture
async def database(server: StoreDatabase) -> StoreDatabase:
    """A store of its own with the schema of this program."""
    return await server.make_database(f"upgraded_{next(_numbers)}")


@asynccontextmanager
async def open_membership(settings: MysqlSettings) -> AsyncIterator[MysqlMembership]:
    membership = MysqlMembership(settings, SystemClock(), secrets.token_bytes)
    try:
        yield membership
    finally:
        await membership.close()


async def read_store_state(database: StoreDatabase) -> SchemaState:
    connection = await open_store_connection(database.settings)
    try:
        return await read_state(connection)
    finally:
        connection.close()


async def list_columns(database: StoreDatabase) -> Sequence[tuple[object, ...]]:
    """Return all columns and keys of a store, in an order that does not depend on its history."""
    name = database.settings.database
    columns = await database.query(
        "SELECT table_name, column_name, column_type, is_nullable, column_default, column_key "
        f"FROM information_schema.columns WHERE table_schema = '{name}' ORDER BY 1, 2"
    )
    keys = await database.query(
        "SELECT table_name, index_name, seq_in_index, column_name "
        f"FROM information_schema.statistics WHERE table_schema = '{name}' ORDER BY 1, 2, 3"
    )
    return [*columns, *keys]


# --- an upgrade while a controller runs ----------------------------------------------------------


async def test_older_program_works_on_expanded_schema(database: StoreDatabase) -> None:
    async with open_membership(database.settings) as membership:
        controller = await membership.join(JOINING)
        migrated = await migrate_store(database.settings, NEWER)
        assert migrated.version == OWN + 1
        assert await membership.beat(controller)
        await membership.announce(controller, SERVED)
    async with open_membership(database.settings) as membership:
        assert await membership.join(JOINING) > controller
    store = MysqlStore(database.settings, await database.own_cluster())
    await store.open()
    assert await commit_one(store, batch_of(create(1), dag_id=1)) is None
    await store.close()
    assert await database.query("SELECT note FROM dag") == [(None,)]


async def test_contract_waits_for_live_controllers(database: StoreDatabase) -> None:
    async with open_membership(database.settings) as membership:
        first = await membership.join(JOINING)
        second = await membership.join(replace(JOINING, name="ctl-b"))
        migrated = await migrate_store(database.settings, NEWER)
        assert migrated.postponed is not None
        assert [str(each) for each in migrated.postponed.controllers] == [
            f"ctl-a (schema {OWN})",
            f"ctl-b (schema {OWN})",
        ]
        assert await read_store_state(database) == SchemaState(OWN + 1, OWN, OWN)
        await membership.leave(first)
        again = await migrate_store(database.settings, NEWER)
        assert again.postponed is not None
        assert [each.name for each in again.postponed.controllers] == ["ctl-b"]
        await membership.announce(second, SERVED)  # writes what the step removes
        assert await membership.declare_dead(second, beat=0)
        assert await migrate_store(database.settings, NEWER) == Migrated(OWN + 1)
    assert await read_store_state(database) == SchemaState(OWN + 1, OWN + 1, OWN + 1)
    columns = await list_columns(database)
    assert not [row for row in columns if "file_digest" in row]


async def test_older_program_is_refused_after_contract(database: StoreDatabase) -> None:
    async with open_membership(database.settings) as membership:
        await membership.leave(await membership.join(JOINING))
        await migrate_store(database.settings, NEWER)
        expected = f"for programs with schema {OWN + 1} and later: this program has schema {OWN}"
        with pytest.raises(StoreTooNew, match=expected) as refused:
            await membership.join(JOINING)  # on a connection that had checked the schema before
        assert "newer program" in (refused.value.remedy or "")
    store = MysqlStore(database.settings, await database.own_cluster())
    with pytest.raises(StoreTooNew, match=expected):
        await store.open()
    with pytest.raises(StoreTooNew, match=expected):
        await migrate_store(database.settings)
    rows = await database.query("SELECT state FROM controller")
    assert [str(state, "ascii") for (state,) in rows if isinstance(state, bytes)] == ["LEFT"]


async def test_newer_controllers_do_not_delay_contract(database: StoreDatabase) -> None:
    async with open_membership(database.settings) as membership:
        await membership.join(JOINING)
    await database.query(f"UPDATE controller SET schema_version = {OWN + 1}")
    assert await migrate_store(database.settings, NEWER) == Migrated(OWN + 1)


async def test_expand_refuses_controller_two_versions_behind(database: StoreDatabase) -> None:
    expand = Step(OWN + 2, StepKind.EXPAND, OWN + 1, ())
    latest = Schema(NEWER.creation, (*NEWER.steps, expand))
    async with open_membership(database.settings) as membership:
        controller = await membership.join(JOINING)
        expected = rf"step {OWN + 2} \(expand\).*: ctl-a \(schema {OWN}\)"
        with pytest.raises(StoreInUse, match=expected) as refused:
            await migrate_store(database.settings, latest)
        assert f"with schema {OWN + 1} first" in (refused.value.remedy or "")
        assert (await read_store_state(database)).version == OWN + 1
        assert await membership.beat(controller)
        await membership.leave(controller)
    assert await migrate_store(database.settings, latest) == Migrated(OWN + 2)


async def test_join_during_contract_is_ordered_by_row(database: StoreDatabase) -> None:
    """A controller that checked the schema before a contract step does not join after it."""
    settings = database.settings
    holder = await open_store_connection(settings, replace(settings.limits, transaction_s=60.0))
    async with open_membership(settings) as membership:
        await membership.read_fleet()  # checks the schema
        await holder.query("BEGIN")
        await holder.query("UPDATE meta SET value = '99' WHERE name = 'compatible_from'")
        joining = asyncio.create_task(join_when_possible(membership))

        async def has_joined_or_waits() -> bool:
            return joining.done() or await is_waiting(database)

        try:
            await eventually(has_joined_or_waits, timeout_s=30)
            await holder.query("COMMIT")
            with pytest.raises(StoreTooNew):
                await joining
        finally:
            joining.cancel()
            holder.close()
    assert await database.query("SELECT controller_id FROM controller") == []


async def join_when_possible(membership: MysqlMembership) -> int:
    """Join; repeat it when the wait for the row has ended by its limit."""
    while True:
        try:
            return await membership.join(JOINING)
        except StoreUnavailable:
            continue


async def is_waiting(database: StoreDatabase) -> bool:
    """Return whether a controller waits for the row that a contract step locks."""
    return bool(
        await database.query(
            "SELECT 1 FROM information_schema.processlist WHERE info LIKE "
            "'%compatible_from%FOR UPDATE%' AND id <> connection_id()"
        )
    )


# --- interrupted, repeated, older ----------------------------------------------------------------


@pytest.mark.parametrize("done", range(3))
async def test_interrupted_step_is_completed(database: StoreDatabase, done: int) -> None:
    for statement in (*EXPAND.statements, *CONTRACT.statements)[:done]:
        await database.query(statement)
    await migrate_store(database.settings, NEWER)
    assert await read_store_state(database) == SchemaState(OWN + 1, OWN + 1, OWN + 1)


async def test_contract_interrupted_after_exclusion_is_done(database: StoreDatabase) -> None:
    await database.query(f"UPDATE meta SET value = '{OWN + 1}' WHERE name = 'compatible_from'")
    await database.query(CONTRACT.statements[0])
    assert await migrate_store(database.settings, NEWER) == Migrated(OWN + 1)
    assert (await read_store_state(database)).contracted == OWN + 1


async def test_store_of_schema_1_is_upgraded(server: StoreDatabase) -> None:
    database = await make_schema_1(server)
    connection = await open_store_connection(database.settings)
    with pytest.raises(StoreTooOld, match="dagengine store migrate"):
        await check_schema(connection, database.settings)
    connection.close()
    assert await migrate_store(database.settings) == Migrated(OWN)
    assert await read_store_state(database) == load_schema().created
    created = await server.make_database(f"created_{next(_numbers)}")
    assert await list_columns(database) == await list_columns(created)


async def test_schema_1_with_live_controller_is_refused(server: StoreDatabase) -> None:
    """Programs of schema 1 refuse every newer schema, so they cannot stay."""
    database = await make_schema_1(server)
    await database.query(
        "INSERT INTO controller (controller_id, name, version, state, beat, started_at, seen_at) "
        "VALUES (1, 'ctl-a', '0.1', 'LIVE', 0, 0, 0)"
    )
    with pytest.raises(StoreInUse, match=r"ctl-a \(schema 1\)"):
        await migrate_store(database.settings)
    assert (await read_store_state(database)).version == 1
    await database.query("UPDATE controller SET state = 'LEFT'")
    assert await migrate_store(database.settings) == Migrated(OWN)


async def make_schema_1(server: StoreDatabase) -> StoreDatabase:
    """Return a store that a program of schema 1 has created."""
    name = f"schema_1_{next(_numbers)}"
    await server.query(f"CREATE DATABASE {name}")
    database = StoreDatabase(replace(server.settings, database=name))
    for statement in split_statements(SCHEMA_1.read_text(encoding="utf-8")):
        await database.query(statement)
    await database.query("INSERT INTO meta (name, value) VALUES ('schema_version', '1')")
    return database


# --- commands ------------------------------------------------------------------------------------


async def test_older_program_does_not_migrate_back(database: StoreDatabase) -> None:
    async with open_membership(database.settings) as membership:
        await membership.join(JOINING)
        await migrate_store(database.settings, NEWER)
        assert await migrate_store(database.settings) == Migrated(OWN + 1)
    assert await read_store_state(database) == SchemaState(OWN + 1, OWN, OWN)


async def test_copy_needs_schema_of_program(database: StoreDatabase) -> None:
    """Otherwise it would omit the columns that it does not know."""
    async with open_membership(database.settings) as membership:
        controller = await membership.join(JOINING)
        await migrate_store(database.settings, NEWER)
        await membership.leave(controller)
    with pytest.raises(StoreTooNew, match=f"with schema {OWN + 1} and later"):
        await list_clusters(database.settings)


def test_store_migrate_reports_postponed_step(
    seekdb_database: StoreDatabase,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = asyncio.run(seekdb_database.make_database(f"upgraded_{next(_numbers)}"))

    async def join() -> None:
        async with open_membership(database.settings) as membership:
            await membership.join(JOINING)

    async def migrate_newer(settings: MysqlSettings) -> Migrated:
        return await migrate_store(settings, NEWER)

    asyncio.run(join())
    monkeypatch.setattr(store_commands, "migrate_store", migrate_newer)
    store_commands.migrate_stores([str(database.settings)], store_commands.AccessFiles())
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{database.settings}: the schema has version {OWN + 1}"
    assert f"step {OWN + 1} (contract) of the schema waits" in second
    assert f"ctl-a (schema {OWN})" in second


@pytest.mark.parametrize(
    ("state", "health", "text"),
    [
        (SchemaState(OWN, OWN, OWN), SelfCheckStatus.OK, f"the schema has version {OWN}"),
        (SchemaState(OWN + 1, OWN, OWN), SelfCheckStatus.WARN, f"this program has schema {OWN}"),
    ],
)
def test_doctor_reports_schema(state: SchemaState, health: SelfCheckStatus, text: str) -> None:
    settings = MysqlSettings("127.0.0.1", 1, "u", "d")
    result = self_check.describe_schema(settings, state)
    assert (result.health, text in result.message) == (health, True)


def test_doctor_warns_of_postponed_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_check, "load_schema", lambda: NEWER)
    monkeypatch.setattr(self_check, "newest_version", lambda: NEWER.version)
    settings = MysqlSettings("127.0.0.1", 1, "u", "d")
    result = self_check.describe_schema(settings, SchemaState(OWN + 1, OWN, OWN))
    assert result.health is SelfCheckStatus.WARN
    assert f"step {OWN + 1} (contract)" in result.message
    assert "dagengine store migrate" in result.remedy

"""The schema of a shared store: `migrate_store` creates or upgrades it, `check_schema` compares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from dagengine.errors import StoreInUse, StoreTooNew, StoreTooOld
from dagengine.mysql import Connection, MysqlError, MysqlServerError
from dagengine.store import messages
from dagengine.store.mysql.connection import connect_error, open_store_connection
from dagengine.store.mysql.migrations.steps import (
    Schema,
    SchemaState,
    Step,
    find_contract_steps,
    find_expand_steps,
    load_schema,
)
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.statements import render_query

_DDL_S = 60.0
_LOCK_HELD_S = 600.0
_NO_TABLE = 1146
_LOCK_ERRORS = frozenset({1205, 6003, 6004})  # MySQL and OceanBase: the lock wait timed out
# A column or key that exists already, or no longer: the step was interrupted after this statement.
_DONE_BEFORE = frozenset({1060, 1061, 1091})
_LOCK_ROW = "migration"
_VERSION_ROW, _LOWEST_ROW, _CONTRACTED_ROW = "schema_version", "compatible_from", "contracted"


@dataclass(frozen=True, slots=True)
class OlderController:
    """A LIVE controller whose program has an older schema than a step permits."""

    name: str
    schema_version: int

    def __str__(self) -> str:
        return f"{self.name} (schema {self.schema_version})"


@dataclass(frozen=True, slots=True)
class Postponed:
    """A contract step that has to wait.

    Attributes:
        step: the step, and with it all later ones.
        controllers: the LIVE controllers that may use what it removes.
    """

    step: Step
    controllers: Sequence[OlderController]


@dataclass(frozen=True, slots=True)
class Migrated:
    """The result of an upgrade.

    Attributes:
        version: the version of the store's schema.
        postponed: what has to be done when older controllers have ended; None if nothing.
    """

    version: int
    postponed: Postponed | None = None


def newest_version() -> int:
    """Return the version of this program's schema."""
    return load_schema().version


async def migrate_store(settings: MysqlSettings, schema: Schema | None = None) -> Migrated:
    """Create the schema, or upgrade it while controllers of an earlier version run.

    Expand steps are done at once. A contract step is done when no LIVE controller is older. It may
    be repeated after any error.

    Args:
        settings: the database.
        schema: that of the program; None for this one.

    Raises:
        StoreInUse: another process does the same, or an expand step does not permit a LIVE
            controller, whose program is more than one upgrade behind.
        StoreTooNew: a newer version of this program wrote the store, and this one may not use it.
        StoreUnavailable: the database cannot be used.
    """
    schema = schema or load_schema()
    ddl_limits = replace(
        settings.limits, statement_s=_DDL_S, transaction_s=_DDL_S, response_s=_DDL_S + 5.0
    )
    connection = await open_store_connection(settings, ddl_limits)
    try:
        await connection.query(schema.creation[0])  # table `meta`, which has the lock row
        async with _lock(settings):
            return await _migrate(connection, settings, schema)
    except MysqlError as exc:
        raise connect_error(settings, exc) from exc
    finally:
        connection.close()


async def check_schema(
    connection: Connection, settings: MysqlSettings, *, is_exact: bool = False
) -> SchemaState:
    """Check that this program may use the store; runs no DDL.

    Args:
        connection: a connection to the store.
        settings: the database.
        is_exact: require the schema of this program, to read all that the store has.

    Returns:
        What the store says of its schema.

    Raises:
        StoreTooOld: the schema is missing or older; the remedy names the command.
        StoreTooNew: a newer version of this program wrote the store, and this one may not use it.
        MysqlError: the database does not answer.
    """
    state, own = await read_state(connection), newest_version()
    if state.version < own:
        raise StoreTooOld(
            messages.DATABASE_TOO_OLD(store=settings, version=state.version, newest=own),
            remedy=messages.MIGRATE_DATABASE(store=settings),
        )
    if not state.admits(own) or (is_exact and state.version != own):
        raise _too_new(settings, state, own)
    return state


async def read_state(connection: Connection) -> SchemaState:
    """Return what the store says of its schema.

    Version 0 stands for no schema, or one whose creation was interrupted. A store of version 1 has
    no row but its version; it is for programs of exactly this version.

    Raises:
        MysqlError: the database does not answer.
    """
    try:
        rows = (await connection.query(render_query("read_schema_state", ""))).rows
    except MysqlServerError as exc:
        if exc.number != _NO_TABLE:
            raise
        rows = ()
    values = {_text(name): int(_text(value)) for name, value in rows}
    version = values.get(_VERSION_ROW, 0)
    return SchemaState(
        version, values.get(_LOWEST_ROW, version), values.get(_CONTRACTED_ROW, version)
    )


async def _migrate(connection: Connection, settings: MysqlSettings, schema: Schema) -> Migrated:
    state = await read_state(connection)
    if state.version == 0:
        await _create(connection, schema)
        return Migrated(schema.version)
    if state.compatible_from > schema.version:
        raise _too_new(settings, state, schema.version)
    if state.version > schema.version:  # steps that this program does not have are done already
        return Migrated(state.version)
    for name, value in ((_LOWEST_ROW, state.compatible_from), (_CONTRACTED_ROW, state.contracted)):
        await connection.query(render_query("add_meta_value", "", name=name, value=str(value)))
    for step in find_expand_steps(schema, state):
        await _expand(connection, settings, step)
    return Migrated(schema.version, await _contract_all(connection, schema, state))


async def _create(connection: Connection, schema: Schema) -> None:
    for statement in schema.creation:
        await connection.query(statement)
    for step in schema.steps:  # for tables whose creation by an earlier program was interrupted
        await _run_ddl(connection, step)
    created = schema.created
    await _put(connection, _CONTRACTED_ROW, created.contracted)
    await _put(connection, _LOWEST_ROW, created.compatible_from)
    await _put(connection, _VERSION_ROW, created.version)  # last: it makes the schema complete


async def _expand(connection: Connection, settings: MysqlSettings, step: Step) -> None:
    """Add what the step adds, then let programs of its version use it."""
    await _run_ddl(connection, step)
    if older := await _exclude_older(connection, step.compatible_from):
        raise StoreInUse(
            messages.EXPAND_REFUSED(store=settings, step=step, controllers=_names(older)),
            remedy=messages.UPGRADE_IN_BETWEEN(lowest=step.compatible_from),
        )
    await _put(connection, _VERSION_ROW, step.version)


async def _contract_all(
    connection: Connection, schema: Schema, state: SchemaState
) -> Postponed | None:
    """Exclude programs that use what a step removes, then remove it."""
    for step in find_contract_steps(schema, state):
        if older := await _exclude_older(connection, step.compatible_from):
            return Postponed(step, older)
        await _run_ddl(connection, step)
        await _put(connection, _CONTRACTED_ROW, step.version)
    await _put(connection, _CONTRACTED_ROW, schema.version)
    return None


async def _exclude_older(connection: Connection, lowest: int) -> Sequence[OlderController]:
    """Exclude programs with a lower schema version, unless a LIVE controller has one.

    The locked row orders this and the joining of controllers (membership.py): either the
    controller is found here, or it finds the new lowest version.

    Returns:
        The LIVE controllers that are older; nothing was changed if there are any.
    """
    await connection.query("BEGIN")
    (row,) = (await connection.query(render_query("lock_meta_value", "", name=_LOWEST_ROW))).rows
    query = render_query("find_older_controllers", "", lowest=lowest)
    rows = (await connection.query(query)).rows
    older = [OlderController(_text(name), int(_text(version))) for name, version in rows]
    if not older and lowest > int(_text(row[0])):
        await _put(connection, _LOWEST_ROW, lowest)
    await connection.query("COMMIT")
    return older


async def _run_ddl(connection: Connection, step: Step) -> None:
    for statement in step.statements:
        try:
            await connection.query(statement)
        except MysqlServerError as exc:
            if exc.number not in _DONE_BEFORE:
                raise


async def _put(connection: Connection, name: str, value: int) -> None:
    await connection.query(render_query("put_meta_value", "", name=name, value=str(value)))


@asynccontextmanager
async def _lock(settings: MysqlSettings) -> AsyncIterator[None]:
    """Hold the lock row on a connection of its own, because DDL commits on its connection.

    The database releases the row when the connection ends, also after a crash.
    """
    held = replace(settings.limits, transaction_s=_LOCK_HELD_S)
    connection = await open_store_connection(settings, held)
    try:
        await _take_lock(connection, settings)
        yield
        await connection.query("ROLLBACK")
    finally:
        connection.close()


async def _take_lock(connection: Connection, settings: MysqlSettings) -> None:
    try:
        await connection.query(render_query("add_meta_value", "", name=_LOCK_ROW, value=""))
        await connection.query("BEGIN")
        await connection.query(render_query("lock_meta_value", "", name=_LOCK_ROW))
    except MysqlServerError as exc:
        if exc.number not in _LOCK_ERRORS:
            raise
        raise StoreInUse(
            messages.MIGRATION_RUNNING(store=settings), remedy=messages.WAIT_FOR_MIGRATION()
        ) from exc


def _too_new(settings: MysqlSettings, state: SchemaState, own: int) -> StoreTooNew:
    lowest = state.compatible_from if state.compatible_from > own else state.version
    return StoreTooNew(
        messages.DATABASE_TOO_NEW(store=settings, version=state.version, lowest=lowest, own=own),
        remedy=messages.USE_NEWER_PROGRAM(),
    )


def _names(controllers: Sequence[OlderController]) -> str:
    return ", ".join(map(str, controllers))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

"""New epochs for a shared store that was restored from a backup of its database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dagengine.errors import StoreInUse, StoreUnavailable
from dagengine.model.records import AuditRecord
from dagengine.mysql import Connection, MysqlError
from dagengine.store import messages
from dagengine.store.mysql.connection import connect_error, open_store_connection
from dagengine.store.mysql.credentials import MysqlCredentials
from dagengine.store.mysql.identity import repin_server_identity
from dagengine.store.mysql.migrate import check_schema
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.statements import render_query
from dagengine.store.rows import render_instant


@dataclass(frozen=True, slots=True)
class RenewedEpoch:
    """The epoch of a cluster before and after the change."""

    cluster: str
    before: int
    after: int


async def renew_epochs(
    settings: MysqlSettings,
    cluster: str | None,
    audit: AuditRecord,
    *,
    at_least: int = 1,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Sequence[RenewedEpoch]:
    """Give clusters larger epochs, so that their tokens are newer than all that hosts know.

    The server that has the database now is pinned as that of the store. A restored database lists
    controllers as LIVE that do not run; they use it only if a heartbeat changes within the lease.

    Args:
        settings: the database.
        cluster: the only cluster; None for all of the store.
        audit: the audit row of the change, for each cluster. The new epoch is its Unix time in
            seconds, or else the next number.
        at_least: minimum of the new epochs; see `dagengine.store.sqlite.identity.renew_epoch`.
        sleep: waits for the given seconds.

    Raises:
        StoreInUse: a controller uses the store.
        StoreTooOld, StoreTooNew: the schema is not that of this program.
        StoreUnavailable: the database cannot be used, or does not have the cluster.
    """
    async with _connected(settings) as connection:
        await check_schema(connection, settings)
        await _ensure_unused(connection, settings, sleep)
        await repin_server_identity(connection, settings)
        listed = (await connection.query(render_query("list_clusters", ""))).rows
        names = [_text(name) for (name,) in listed]
        if cluster is not None and cluster not in names:
            raise StoreUnavailable(messages.CLUSTER_UNKNOWN(cluster=cluster))
        chosen = names if cluster is None else [cluster]
        smallest = max(at_least, render_instant(audit.at) // 1_000_000)
        return [await _renew(connection, settings, name, audit, smallest) for name in chosen]


async def _renew(
    connection: Connection, settings: MysqlSettings, name: str, audit: AuditRecord, at_least: int
) -> RenewedEpoch:
    credentials = MysqlCredentials(settings, name)
    await credentials.open()
    try:
        await credentials.append_audit(audit)
    finally:
        await credentials.close()
    before = await _read_epoch(connection, name)
    await connection.query(render_query("renew_epoch", name, at_least=at_least))
    return RenewedEpoch(name, before, await _read_epoch(connection, name))


async def _ensure_unused(
    connection: Connection, settings: MysqlSettings, sleep: Callable[[float], Awaitable[None]]
) -> None:
    before = (await connection.query(render_query("list_beats", ""))).rows
    if not before:
        return
    await sleep(settings.lease_s)
    after = (await connection.query(render_query("list_beats", ""))).rows
    if changed := len(set(after) - set(before)):
        raise StoreInUse(
            messages.CONTROLLERS_LIVE(store=settings, count=changed),
            remedy=messages.STOP_CONTROLLERS(),
        )


async def _read_epoch(connection: Connection, name: str) -> int:
    ((_advertise, _store_id, epoch),) = (
        await connection.query(render_query("find_cluster", name))
    ).rows
    return int(str(epoch))


@asynccontextmanager
async def _connected(settings: MysqlSettings) -> AsyncIterator[Connection]:
    connection = await open_store_connection(settings)
    try:
        yield connection
    except MysqlError as exc:
        raise connect_error(settings, exc) from exc
    finally:
        connection.close()


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

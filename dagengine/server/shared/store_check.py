"""What `serve` checks of a shared store before it joins the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import structlog

from dagengine.errors import ConfigError
from dagengine.mysql import Connection, MysqlError
from dagengine.server.cluster_service import ClusterService
from dagengine.server.shared import messages
from dagengine.store.mysql.connection import (
    connect_error,
    find_dialect,
    open_store_connection,
)
from dagengine.store.mysql.identity import ServerIdentity, find_managed, pin_server_identity
from dagengine.store.mysql.migrate import check_schema
from dagengine.store.mysql.settings import MysqlSettings

_log = structlog.get_logger("dagengine.server.shared")

_WITHIN_S = 5.0
"""Limit on reading the identities of all servers together, in seconds."""


async def check_store(settings: MysqlSettings) -> ServerIdentity:
    """Check schema and server of the database; log what users should know about it.

    Returns:
        The identity of the database's server, as it is pinned.

    Raises:
        StoreError: the database cannot be used, has another schema, or is on another server than
            the one on which the store was created.
    """
    async with _connected(settings) as connection:
        await check_schema(connection, settings)
        identity = await pin_server_identity(connection, settings)
        if identity.is_single_server:
            _log.warning(
                "store_without_redundancy", store=str(settings), reason=messages.SINGLE_SERVER()
            )
        dialect = await find_dialect(connection)
    _log.info("store_checked", store=str(settings), dialect=dialect, untested=messages.UNTESTED())
    return identity


async def ensure_not_managed(
    settings: MysqlSettings,
    store: ServerIdentity,
    clusters: Sequence[ClusterService],
    owned: Collection[str],
) -> None:
    """Refuse a store on a server of a cluster that this controller is to manage.

    A server that hosts the store answers SQL now, whatever its address is. So servers that do not
    answer need no comparison.

    Args:
        settings: the database.
        store: the identity of its server.
        clusters: the clusters that this controller serves.
        owned: names of clusters with a running owner, which has compared them. A controller must
            not contact the hosts of clusters that it does not own.

    Raises:
        ConfigError: the store is on a server of one of the clusters.
    """
    compared = [each for each in clusters if each.name not in owned]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(read_identities(each), name=f"identities {each.name}")
            for each in compared
        ]
    for cluster, task in zip(compared, tasks, strict=True):
        if find_managed(store, task.result()) is not None:
            raise ConfigError(
                messages.STORE_MANAGED(store=settings, cluster=cluster.name),
                remedy=messages.USE_META_CLUSTER(),
            )


async def read_identities(cluster: ClusterService) -> Sequence[ServerIdentity]:
    """Return the identities of a cluster's servers that answer SQL now; none after a time-out."""
    try:
        async with asyncio.timeout(_WITHIN_S):
            return await cluster.read_identities()
    except TimeoutError:
        _log.warning("servers_not_compared", cluster=cluster.name, limit_s=_WITHIN_S)
        return ()


@asynccontextmanager
async def _connected(settings: MysqlSettings) -> AsyncIterator[Connection]:
    connection = await open_store_connection(settings)
    try:
        yield connection
    except MysqlError as exc:
        raise connect_error(settings, exc) from exc
    finally:
        connection.close()

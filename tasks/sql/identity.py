"""The identities of the servers of a cluster, to find out that a store is on one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dagengine.errors import DagengineError
from dagengine.extension import ServerIdentity, read_server_identity, render_host_port
from dagengine.mysql import MysqlError
from tasks.cluster.access import ClusterAccess
from tasks.cluster.servers import Server
from tasks.sql.access import open_sql

_SERVER_S = 4.0  # limit for one server


async def read_identities(access: ClusterAccess) -> Sequence[ServerIdentity]:
    """Return the identities of the cluster's servers that answer SQL now."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_read_identity(access, server), name=f"identity {server.name}")
            for server in access.cluster.servers
        ]
    return [identity for task in tasks if (identity := task.result()) is not None]


async def _read_identity(access: ClusterAccess, server: Server) -> ServerIdentity | None:
    address = render_host_port(server.ip, server.sql_port)
    try:
        password = access.cluster.root_password()
        async with (
            asyncio.timeout(_SERVER_S),
            open_sql(
                server, access.runner(server), password, logins=access.cluster.logins
            ) as connection,
        ):
            return await read_server_identity(connection, address)
    except (DagengineError, MysqlError, TimeoutError):
        return None  # it does not answer, so it does not host the store

"""The identity of the database server of a store, so that no store is on a cluster it manages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from dagengine.errors import StoreUnavailable
from dagengine.mysql import Connection, Result
from dagengine.store import messages
from dagengine.store.mysql.connection import Dialect, find_dialect
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.statements import render_query

_NAME, _VALUE = "name", "value"
_ROW = "store_identity"


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What identifies a database server or cluster behind any address.

    Attributes:
        cluster: name and id of an OceanBase cluster, as `name:id`; empty for others.
        created: the instant at which a seekdb server was created; empty for others.
        address: the address in the settings, `host:port`.
    """

    cluster: str
    created: str
    address: str

    def is_same_server(self, other: ServerIdentity) -> bool:
        """Return whether both are one server or cluster; addresses count if nothing else does."""
        if self.created or other.created:
            return self.created == other.created
        if self.cluster or other.cluster:
            return self.cluster == other.cluster
        return self.address == other.address

    @property
    def is_single_server(self) -> bool:
        """Whether it is a server without a cluster, so that its loss is the loss of the store."""
        return bool(self.created and not self.cluster)

    def render(self) -> str:
        """Return the identity as it is stored."""
        return json.dumps(asdict(self), sort_keys=True)


def parse_identity(text: str) -> ServerIdentity:
    """Parse a stored identity."""
    values: dict[str, Any] = json.loads(text)
    return ServerIdentity(values["cluster"], values["created"], values["address"])


async def read_server_identity(connection: Connection, address: str) -> ServerIdentity:
    """Read the identity of a server.

    Args:
        connection: a connection to the server; also to a server of a managed cluster.
        address: its address, `host:port`.

    Raises:
        MysqlError: the server does not answer.
    """
    if await find_dialect(connection) is not Dialect.MYSQL_MODE:
        return ServerIdentity("", "", address)
    parameters: dict[str, str] = {}
    for name in ("show_cluster", "show_created"):
        parameters |= _parse_parameters(await connection.query(render_query(name, "")))
    number = parameters.get("cluster_id", "")
    cluster = f"{parameters.get('cluster', '')}:{number}" if number else ""
    return ServerIdentity(cluster, parameters.get("server_create_time", ""), address)


async def find_meta_value(connection: Connection, name: str) -> str | None:
    """Return what the store has pinned under a name; None if nothing.

    Raises:
        MysqlError: the database does not answer.
    """
    rows = (await connection.query(render_query("find_meta_value", "", name=name))).rows
    return None if not rows else _text(rows[0][0])


async def find_server_identity(connection: Connection) -> ServerIdentity | None:
    """Return the pinned identity of the store's server; None before the first controller.

    Raises:
        MysqlError: the database does not answer.
    """
    text = await find_meta_value(connection, _ROW)
    return None if text is None else parse_identity(text)


async def pin_server_identity(connection: Connection, settings: MysqlSettings) -> ServerIdentity:
    """Store the identity of the server with the first call; compare it with every later one.

    Raises:
        StoreUnavailable: the store was created on another server.
        MysqlError: the database does not answer.
    """
    identity = await read_server_identity(connection, f"{settings.host}:{settings.port}")
    await connection.query(render_query("add_meta_value", "", name=_ROW, value=identity.render()))
    ((stored,),) = (await connection.query(render_query("find_meta_value", "", name=_ROW))).rows
    if not identity.is_same_server(parse_identity(str(stored))):
        raise StoreUnavailable(
            messages.SERVER_DIFFERS(store=settings), remedy=messages.RESTORE_SERVER()
        )
    return identity


async def repin_server_identity(connection: Connection, settings: MysqlSettings) -> None:
    """Store the identity of the server that has the database now, after a restore.

    Raises:
        MysqlError: the database does not answer.
    """
    identity = await read_server_identity(connection, f"{settings.host}:{settings.port}")
    await connection.query(render_query("put_meta_value", "", name=_ROW, value=identity.render()))


def find_managed(
    identity: ServerIdentity, managed: Iterable[ServerIdentity]
) -> ServerIdentity | None:
    """Return the managed cluster or server that hosts the store; None if there is none."""
    return next(
        (
            server
            for server in managed
            if server.is_same_server(identity) or server.address == identity.address
        ),
        None,
    )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _parse_parameters(result: Result) -> dict[str, str]:
    """Return names and values; a server that does not know a parameter returns no row."""
    columns = result.columns
    if _NAME not in columns or _VALUE not in columns:
        return {}
    name, value = columns.index(_NAME), columns.index(_VALUE)
    return {str(row[name]): str(row[value]) for row in result.rows}

"""Only the owner of a cluster contacts its hosts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from dagengine.server.controller import Controller
from dagengine.testing import eventually
from tasks.demo.hosts import LOOPBACK
from tests.support.shared_controller import SharedController, make_user
from tests.support.shared_database import make_database
from tests.support.store_databases import StoreDatabase

BOUND_S = 60.0


class CountingHost:
    """A host that accepts connections and closes them at once.

    Attributes:
        connections: number of connections so far.
    """

    def __init__(self) -> None:
        self.connections = 0
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[CountingHost]:
        self._server = await asyncio.start_server(self._refuse, LOOPBACK, 0)
        async with self._server:
            yield self

    async def wait_for_connections(self, count: int) -> None:
        async def is_contacted() -> bool:
            return self.connections >= count

        await eventually(is_contacted, timeout_s=BOUND_S)

    async def _refuse(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


async def wait_for_ownership(controller: Controller) -> None:
    async def is_owner() -> bool:
        return controller.served[0].local is not None

    await eventually(is_owner, timeout_s=BOUND_S)


async def test_controller_without_cluster_contacts_no_host(
    seekdb_database: StoreDatabase, tmp_path: Path
) -> None:
    database = await make_database(seekdb_database.settings)
    await make_user(database)
    async with AsyncExitStack() as stack:
        first_host = await stack.enter_async_context(CountingHost().listening())
        second_host = await stack.enter_async_context(CountingHost().listening())
        first = SharedController(tmp_path, "first", database, ssh_port=first_host.port)
        second = SharedController(tmp_path, "second", database, ssh_port=second_host.port)
        async with AsyncExitStack() as life:
            owner = await life.enter_async_context(first.running())
            await wait_for_ownership(owner)
            other = await stack.enter_async_context(second.running())
            await first_host.wait_for_connections(1)
            other.reload()
            assert other.served[0].forwarder is not None
            assert other.served[0].local is None
            assert second_host.connections == 0
        # The first one has left.
        before = first_host.connections
        await wait_for_ownership(other)
        await second_host.wait_for_connections(2)  # it connects again at growing intervals
        assert first_host.connections == before

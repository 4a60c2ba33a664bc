"""A TCP load balancer that sends each connection to the controller that answers `/owner` by 200."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from tasks.demo.fleet import is_owner
from tasks.demo.hosts import LOOPBACK


class OwnerBalancer:
    """Forwards connections to the owner of one cluster; closes them while there is none.

    Args:
        urls: the listeners of the cluster, one of each controller.

    Attributes:
        port: its port on loopback.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for url in self._urls:
                if await is_owner(url):
                    with suppress(OSError):
                        await self._forward(url, reader, writer)
                    return
        finally:
            writer.close()

    async def _forward(
        self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        port = int(url.rpartition(":")[2])
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_relay(reader, far_writer))
                group.create_task(_relay(far_reader, writer))
        finally:
            far_writer.close()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def open_balancer(urls: Sequence[str]) -> AsyncIterator[OwnerBalancer]:
    """Run a load balancer."""
    balancer = OwnerBalancer(urls)
    server = await asyncio.start_server(balancer.serve, LOOPBACK, 0)
    balancer.port = int(server.sockets[0].getsockname()[1])
    try:
        yield balancer
    finally:
        server.close()

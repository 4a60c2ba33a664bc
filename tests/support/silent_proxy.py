"""A TCP proxy that can stop forwarding, as a network partition does: nothing is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tasks.demo.hosts import LOOPBACK


class SilentProxy:
    """Forwards connections while `forwards` is set; otherwise data waits in both directions."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self.forwards = asyncio.Event()
        self.forwards.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:  # no database: neither has its client a connection
            writer.close()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._relay(reader, far_writer), name="to the database")
            group.create_task(self._relay(far_reader, writer), name="from the database")

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while data := await reader.read(1 << 16):
                    await self.forwards.wait()
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def open_silent_proxy(target: int) -> AsyncIterator[SilentProxy]:
    """Run a proxy for a port of this machine."""
    proxy = SilentProxy(target)
    server = await asyncio.start_server(proxy.serve, LOOPBACK, 0)
    proxy.port = int(server.sockets[0].getsockname()[1])
    try:
        yield proxy
    finally:
        proxy.forwards.set()
        server.close()

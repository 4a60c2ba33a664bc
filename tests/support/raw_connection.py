"""A connection to a controller on which anything can be written."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from dagengine.server.controller import Controller


class RawConnection:
    """A connection on which anything can be written."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, controller: Controller, address: str = "127.0.0.1") -> RawConnection:
        port = int(controller.url.rpartition(":")[2])
        streams = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        line = cls(*streams)
        OPEN_CONNECTIONS.append(line)
        return line

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """The next answer's status and content."""
        head, content = await self.response()
        return int(head.split()[1]), content

    async def response(self) -> tuple[bytes, dict[str, Any]]:
        """The next response: status line and headers as they are, and the content."""
        async with asyncio.timeout(30):
            head = await self._reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head, json.loads(await self._reader.readexactly(size))

    async def is_closed(self) -> bool:
        """Wait until the other side has closed it; False when it sends something instead."""
        try:
            async with asyncio.timeout(30):
                return await self._reader.read(1) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


OPEN_CONNECTIONS: list[RawConnection] = []

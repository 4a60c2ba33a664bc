"""A TCP proxy in front of a database that loses connections at chosen moments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto

from tasks.demo.hosts import LOOPBACK

_PACKET = b"commit_no ="  # in every packet that writes
_CHUNK = 1 << 16
_QUIET_S = 0.3


class Loss(Enum):
    """When the connection of the next packet that writes is lost."""

    NEVER = auto()
    BEFORE_SENDING = auto()
    HALF_SENT = auto()
    BEFORE_RESPONSE = auto()


class TcpProxy:
    """Forwards connections to a database.

    Attributes:
        loss: applies to the next packet that writes; once, unless `is_lasting`.
        is_lasting: whether `loss` applies to every packet that writes.
        lost: set when that connection has been lost.
        admits: set while new connections are forwarded; others are closed at once.
        refused: number of connections that were closed at once.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._withheld: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.loss = Loss.NEVER
        self.is_lasting = False
        self.refused = 0
        self.lost = asyncio.Event()
        self.admits = True

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        while self._serving:
            self.cut()
            await asyncio.wait(self._serving, timeout=0.1)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Lose every connection."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        if not self.admits:
            self.refused += 1
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target)
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, far_writer, writer))
                group.create_task(self._return(far_reader, writer))
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, far: asyncio.StreamWriter, near: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.loss is not Loss.NEVER and _PACKET in data:
                    loss = self.loss
                    if not self.is_lasting:
                        self.loss = Loss.NEVER
                    if loss is Loss.HALF_SENT:
                        data = data[: len(data) // 2]
                    if loss is Loss.BEFORE_RESPONSE:
                        self._withheld.add(near)
                        far.write(data)
                        continue
                    near.transport.abort()
                    if loss is Loss.HALF_SENT:
                        far.write(data)
                        await far.drain()
                    self.lost.set()
                    break
                far.write(data)
                await far.drain()
            far.write_eof()

    async def _return(self, far: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await far.read(_CHUNK):
                if near in self._withheld:
                    await _skip_response(far)
                    self._withheld.discard(near)
                    self.lost.set()
                    break
                if not near.is_closing():
                    near.write(data)
                    await near.drain()
        near.transport.abort()


async def _skip_response(far: asyncio.StreamReader) -> None:
    """Read until the database has nothing more to say: the packet has been executed."""
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(_QUIET_S):
                if not await far.read(_CHUNK):
                    return


@asynccontextmanager
async def open_proxy(port: int) -> AsyncIterator[TcpProxy]:
    """Run a proxy for a port of this machine."""
    proxy = TcpProxy(port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()

"""A scripted MySQL peer, friendly or hostile, that records every byte it receives."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

from tests.support.tls_stream import TlsStream

SALT = b"saltsaltsaltsaltsalt"
SSL_OFFERED = 0x000BAA0A
"""The capabilities of a peer that offers TLS."""

OK = b"\0\0\0\x02\0\0\0"
EOF = b"\xfe\0\0\x02\0"
NATIVE = b"mysql_native_password"


def packet(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence & 255]) + payload


def greeting(
    *, plugin: bytes = NATIVE, salt: bytes = SALT, capabilities: int = 0x000BA20A
) -> bytes:
    return b"".join(
        [
            b"\x0a8.0.0-peer\0" + (1).to_bytes(4, "little") + salt[:8] + b"\0",
            (capabilities & 0xFFFF).to_bytes(2, "little") + b"\x2d\x02\0",
            (capabilities >> 16).to_bytes(2, "little"),
            bytes([len(salt) + 1]) + bytes(10) + salt[8:] + b"\0" + plugin + b"\0",
        ]
    )


def length(number: int) -> bytes:
    if number < 251:
        return bytes([number])
    return b"\xfd" + number.to_bytes(3, "little")


def column(code: int, charset: int = 45) -> bytes:
    names = b"".join(length(len(text)) + text for text in (b"def", b"", b"", b"", b"x", b"x"))
    fixed = charset.to_bytes(2, "little") + bytes(4) + bytes([code]) + bytes(5)
    return names + b"\x0c" + fixed


def row(*values: bytes | None) -> bytes:
    return b"".join(b"\xfb" if v is None else length(len(v)) + v for v in values)


@dataclass
class Dialog:
    """One connection, from the peer's side.

    Attributes:
        received: every byte, also of other connections of the same peer.
        payloads: what the client sent on this connection, one packet each.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: bytearray
    payloads: list[bytes] = field(default_factory=list)
    sequence: int = 0

    def send(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.writer.write(packet(self.sequence, payload))
            self.sequence += 1

    async def read(self) -> bytes:
        header = await self.reader.readexactly(4)
        self.received += header
        payload = await self.reader.readexactly(int.from_bytes(header[:3], "little"))
        self.received += payload
        self.payloads.append(payload)
        self.sequence = header[3] + 1
        return payload

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Read the client's request for TLS and encrypt the connection."""
        await self.read()
        stream = TlsStream(self.reader, self.writer, context)
        await stream.do_handshake()
        self.reader = self.writer = cast("Any", stream)

    async def read_to_end(self) -> None:
        """Any other bytes of the client."""
        while data := await self.reader.read(4096):
            self.received += data

    async def let_in(self) -> None:
        self.send(greeting())
        await self.read()
        self.send(OK)


Script: TypeAlias = Callable[[Dialog], Awaitable[None]]


@dataclass
class Peer:
    """Address of the peer, and the bytes it received."""

    address: tuple[str, int]
    path: Path | None
    received: bytearray
    dialogs: list[Dialog]
    ended: asyncio.Event


@asynccontextmanager
async def open_peer(script: Script, path: Path | None = None) -> AsyncIterator[Peer]:
    """Runs the script for each connection, then reads to its end.

    It listens on loopback, or on a unix socket if a path is given.
    """
    ended = asyncio.Event()
    peer = Peer(("127.0.0.1", 0), path, bytearray(), [], ended)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialog = Dialog(reader, writer, peer.received)
        peer.dialogs.append(dialog)
        try:
            await script(dialog)
            await dialog.read_to_end()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()
            ended.set()

    if path is not None:
        async with await asyncio.start_unix_server(talk, path):
            yield peer
        return
    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        peer.address = server.sockets[0].getsockname()[:2]
        yield peer

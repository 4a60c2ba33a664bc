"""The server's side of TLS on a stream that has begun in plain text.

`StreamWriter.start_tls` does not pass on what the reader has received already, and a client may
send its first message of TLS together with the request for it.
"""

from __future__ import annotations

import asyncio
import ssl

_CHUNK = 1 << 16


class TlsStream:
    """Has the methods of a reader and a writer that scripts of peers use."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._received = b""

    async def do_handshake(self) -> None:
        """Encrypt the stream; raises OSError if the client ends it."""
        while True:
            try:
                self._tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                await self._fetch()

    async def read(self, limit: int = _CHUNK) -> bytes:
        """Return the next bytes; empty at the end."""
        while not self._received:
            try:
                self._received = self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                await self._fetch()
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b""
            else:
                if not self._received:
                    return b""
        data, self._received = self._received[:limit], self._received[limit:]
        return data

    async def readexactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = await self.read(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def write(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    async def _fetch(self) -> None:
        self._flush()
        if data := await self._reader.read(_CHUNK):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        self._writer.write(self._outgoing.read())

"""SQL of all fake servers of `loopback_hosts`, in one process; accepts any login.

Reads lines from the FIFO in its first argument: `start PORT HOME` listens on a loopback port and on
HOME/run/sql.sock, `reset` closes all listeners. `loopback_hosts` runs it as a child process.
"""

from __future__ import annotations

import asyncio
import os
import sys

_GREETING = (
    b"\x0a8.0.0-fake\0"
    + (1).to_bytes(4, "little")
    + b"saltsalt\0"
    + (0xA200 | 0x0008).to_bytes(2, "little")  # protocol 4.1, secure connection, transactions
    + b"\x2d"
    + (2).to_bytes(2, "little")
    + (0x0008).to_bytes(2, "little")  # plugin auth
    + b"\x15"
    + bytes(10)
    + b"saltsaltsalt\0"
    + b"mysql_native_password\0"
)
_OK = b"\0\0\0\x02\0\0\0"
_EOF = b"\xfe\0\0\x02\0"
_QUERY, _QUIT = 3, 1


def main() -> None:
    """Serve until the process is killed."""
    asyncio.run(_serve(sys.argv[1]))


async def _serve(fifo_path: str) -> None:
    servers: list[asyncio.Server] = []
    reader = asyncio.StreamReader()
    fifo_file = os.fdopen(os.open(fifo_path, os.O_RDWR | os.O_NONBLOCK), "rb", 0)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), fifo_file
    )
    print("serving", flush=True)
    while words := (await reader.readline()).decode().split():
        if words[0] == "start":
            _, port, home = words
            servers.append(
                await asyncio.start_unix_server(handle_connection, f"{home}/run/sql.sock")
            )
            servers.append(await asyncio.start_server(handle_connection, "127.0.0.1", int(port)))
        else:
            for server in servers:
                server.close()
            servers.clear()


async def handle_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the statements of one connection."""
    try:
        _send(writer, 0, _GREETING)
        number, _ = await _receive(reader)
        _send(writer, number + 1, _OK)
        while True:
            number, packet = await _receive(reader)
            if packet[0] == _QUIT:
                return
            if packet[0] == _QUERY and packet[1:7].lower() == b"select":
                _send_row(writer, number, b"1")
            else:
                _send(writer, number + 1, _OK)
    except (asyncio.IncompleteReadError, OSError):
        return
    finally:
        writer.close()


def _send_row(writer: asyncio.StreamWriter, number: int, value: bytes) -> None:
    column = b"".join(_length_encoded(part) for part in (b"def", b"", b"", b"", b"x", b"x"))
    column += b"\x0c\x2d\0\x40\0\0\0\xfd\0\0\0\0\0"
    for offset, packet in enumerate((b"\x01", column, _EOF, _length_encoded(value), _EOF), start=1):
        _send(writer, number + offset, packet)


def _length_encoded(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def _send(writer: asyncio.StreamWriter, number: int, packet: bytes) -> None:
    writer.write(len(packet).to_bytes(3, "little") + bytes([number & 255]) + packet)


async def _receive(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    header = await reader.readexactly(4)
    return header[3], await reader.readexactly(int.from_bytes(header[:3], "little"))


if __name__ == "__main__":
    main()

"""The first contact with a host: connect and wait for its first data.

Up to that point a host costs only waiting time, so any number of hosts can be awaited at once.
"""

from __future__ import annotations

import asyncio
import socket


async def connect_and_await_banner(host: str, port: int) -> socket.socket:
    """Return a connected socket with data to read. The caller must set a time limit.

    Raises:
        OSError: none of the host's addresses accepted a connection.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failed: OSError | None = None
    for family, kind, protocol, _, place in found:
        door = socket.socket(family, kind, protocol)
        door.setblocking(False)
        try:
            await loop.sock_connect(door, place)
            await _until_readable(door)
        except OSError as error:
            door.close()
            failed = error
        except BaseException:
            door.close()
            raise
        else:
            return door
    raise failed or OSError(f"{host} has no address")


async def _until_readable(door: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(door, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(door)

"""The first contact with a host: connected, and something there has said a first word.

Until then a host costs nothing but patience, and any number of them can be waited for at once.
"""

from __future__ import annotations

import asyncio
import socket


async def knock(host: str, port: int) -> socket.socket:
    """A connected socket on which there is something to read. Bound it from outside.

    Raises:
        OSError: no address of the host could be connected to.
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

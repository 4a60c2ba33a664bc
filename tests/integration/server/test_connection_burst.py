"""Many connections at once: all are accepted, a few in each pass of the loop."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import ExitStack

from aiohttp import web

from dagengine.api.connections import Limits
from dagengine.runtime.clock import SystemClock
from dagengine.server.http_server import serving

CONNECTION_COUNT = 300


class LoopPassCounter:
    """Counts the passes of the running loop."""

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_soon(self._note)

    def _note(self) -> None:
        self.count += 1
        self._next = self._loop.call_soon(self._note)

    def stop(self) -> None:
        self._next.cancel()


async def test_listener_connection_burst_is_accepted_gradually() -> None:
    served: list[int] = []
    all_served = asyncio.Event()

    async def serve(request: web.Request) -> web.Response:
        served.append(counter.count)
        if len(served) == CONNECTION_COUNT:
            all_served.set()
        return web.Response()

    app = web.Application()
    app.router.add_get("/", serve)
    listener = socket.create_server(("127.0.0.1", 0))
    with ExitStack() as stack:
        async with serving(app, Limits(), SystemClock(), [(listener, None)]):
            for _ in range(CONNECTION_COUNT):  # the loop does not run until all of them wait
                caller = stack.enter_context(socket.create_connection(listener.getsockname(), 20))
                caller.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            counter = LoopPassCounter()
            async with asyncio.timeout(60):
                await all_served.wait()
            counter.stop()
    at_once = max(Counter(served).values())
    assert at_once <= CONNECTION_COUNT // 6, f"{at_once} of {CONNECTION_COUNT} in one pass"

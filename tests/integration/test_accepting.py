"""Many connections at once: all are accepted, a few in each pass of the loop."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import ExitStack

from aiohttp import web

from dagengine.api.connections import Limits
from dagengine.runtime.clock import SystemClock
from dagengine.server.listener import serving

CALLERS = 300


class Passes:
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


async def test_a_crowd_is_let_in_a_few_at_a_time_and_none_is_turned_away() -> None:
    served: list[int] = []
    everybody = asyncio.Event()

    async def serve(request: web.Request) -> web.Response:
        served.append(passes.count)
        if len(served) == CALLERS:
            everybody.set()
        return web.Response()

    app = web.Application()
    app.router.add_get("/", serve)
    listener = socket.create_server(("127.0.0.1", 0))
    with ExitStack() as stack:
        async with serving(app, Limits(), SystemClock(), [(listener, None)]):
            for _ in range(CALLERS):  # the loop does not run meanwhile: they all wait
                caller = stack.enter_context(socket.create_connection(listener.getsockname(), 20))
                caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            passes = Passes()
            async with asyncio.timeout(60):
                await everybody.wait()
            passes.stop()
    at_once = max(Counter(served).values())
    assert at_once <= CALLERS // 6, f"{at_once} of {CALLERS} in one pass"

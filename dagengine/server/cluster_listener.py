"""The listener of one cluster: its sockets stay open while its engine opens and closes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from aiohttp import web

from dagengine.runtime.clock import Clock
from dagengine.server.config import ClusterConfig
from dagengine.server.http_server import BoundSocket, HttpServer
from dagengine.server.listener import Tls, limits_of, listen, url_of
from dagengine.server.local_socket import open_local_socket

AppFactory: TypeAlias = Callable[[], web.Application]
"""Makes a new application each time, because aiohttp cannot serve one a second time."""


class ClusterListener:
    """The sockets at which one cluster's API answers.

    Requests are answered by the application of a local engine within `serve`, and otherwise by
    that of `serve_elsewhere`.

    Args:
        config: addresses, TLS and limits.
        clock: source of time.
        share: number of listeners of this process, at least 1.

    Raises:
        ConfigError: an address cannot be bound, or a TLS file cannot be used.
    """

    def __init__(self, config: ClusterConfig, clock: Clock, *, share: int = 1) -> None:
        api = config.api
        self.url = url_of(api)
        self.socket: Path | None = None
        self._elsewhere: AppFactory | None = None
        self._tls = None if api.tls_cert_file is None else Tls(api)
        self._sockets: list[BoundSocket] = []
        self._is_serving = False
        with ExitStack() as stack:
            context = None if self._tls is None else self._tls.context
            self._sockets.append((stack.enter_context(listen(api)), context))
            local = open_local_socket(config, stack)
            if local is not None:
                self._sockets.append((local[0], None))
                self.socket = local[1]
            self._server = HttpServer(limits_of(api), clock, share=share)
            self._bound = stack.pop_all()

    async def accept(self) -> None:
        """Accept connections; until then, they wait."""
        if not self._is_serving:
            await self._server.switch(self._make_standby())
        await self._server.accept(self._sockets)

    @asynccontextmanager
    async def serve(self, app: web.Application) -> AsyncIterator[None]:
        """Answer by an application within the context.

        At its end, the requests in progress have a grace period, and further ones are answered by
        the application of `serve_elsewhere`.
        """
        self._is_serving = True
        await self._server.switch(app)
        try:
            yield
        finally:
            self._is_serving = False
            await self._server.switch(self._make_standby())

    async def serve_elsewhere(self, make_app: AppFactory | None) -> None:
        """Answer by another application while none is served; None closes the connections."""
        self._elsewhere = make_app
        if not self._is_serving:
            await self._server.switch(self._make_standby())

    def reload_tls(self) -> bool:
        """Read certificate and key again; return False without TLS.

        Raises:
            ConfigError: the files cannot be used; the current ones stay in use.
        """
        if self._tls is None:
            return False
        self._tls.reload()
        return True

    async def stop(self) -> None:
        """Stop accepting, and end all connections after a grace period."""
        await self._server.stop()

    def close(self) -> None:
        """Close the sockets; the paths of unix sockets are removed."""
        self._bound.close()

    def _make_standby(self) -> web.Application | None:
        return None if self._elsewhere is None else self._elsewhere()

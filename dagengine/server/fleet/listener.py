"""The listener of the service: its socket, its TCP port, and its store."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

import structlog

from dagengine.api.fleet.admission import AdmissionLimits
from dagengine.api.fleet.app import build_fleet_app
from dagengine.api.fleet.bulk import BulkActions
from dagengine.api.fleet.handlers import FleetContext
from dagengine.api.fleet.view import FleetView
from dagengine.api.login.schemes import Login
from dagengine.api.login.token_manager import TokenManager
from dagengine.errors import ConfigError, StoreError
from dagengine.model.records import AuditRecord
from dagengine.runtime.cancellation import run_phase
from dagengine.runtime.clock import Clock
from dagengine.security.server_key import ServerKey
from dagengine.security.tokens import SERVICE
from dagengine.server.config import ApiConfig, ServiceConfig
from dagengine.server.fleet import messages
from dagengine.server.fleet.service_store import ServiceStore
from dagengine.server.http_server import HttpServer
from dagengine.server.listener import Tls, limits_of, listen, listen_at, url_of
from dagengine.web.fleet.app import add_fleet_pages

_log = structlog.get_logger("dagengine.server.fleet")

_KEY_BYTES = 16
_CLOSE_S = 10.0  # limit on ending requests, bulk actions and the store of the service


class ServiceListener:
    """Answers for all clusters. Use it as an async context manager.

    The socket is always open. The TCP port opens only if a caller could log in there: by a client
    certificate or a token of the service.

    Args:
        config: addresses, TLS and limits.
        store: the data of the service, not opened yet.
        load_key: returns the RSA key; called in a thread. The listener closes the key.
        fleet: the clusters and controllers.
        clock: source of time.
        share: number of listeners of this process, at least 1.

    Raises:
        ConfigError: an address cannot be bound, or TLS is required or cannot be used.
        StoreError: the store is in use, unusable or too new.
    """

    def __init__(
        self,
        config: ServiceConfig,
        store: ServiceStore,
        load_key: Callable[[], ServerKey],
        fleet: FleetView,
        clock: Clock,
        *,
        share: int = 1,
    ) -> None:
        self.config = config
        self.url: str | None = None
        self._api: ApiConfig = config.listener_keys()
        self._load_key = load_key
        self._fleet = fleet
        self._clock = clock
        self._share = share
        self._stack = AsyncExitStack()
        self._store = store
        self._tls: Tls | None = None
        self._server: HttpServer | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> ServiceListener:
        config, clock = self.config, self._clock
        self._check_exposure()
        async with AsyncExitStack() as stack:
            assert config.socket is not None
            unix = stack.enter_context(listen_at(config.socket))
            if config.tls_cert_file is not None:
                self._tls = Tls(self._api, is_optional=True)
            await self._store.open()
            stack.push_async_callback(self._store.close)
            key = await asyncio.to_thread(self._load_key)
            stack.callback(key.close)
            limits = AdmissionLimits(config.clusters_at_once, config.hosts_at_once)
            bulk = BulkActions(self._fleet, limits)
            stack.push_async_callback(bulk.stop)
            ctx = FleetContext(self._fleet, bulk, self._make_token_manager(), clock)
            app = build_fleet_app(
                ctx,
                login=Login(self._store, key, clock, self._api.body_timeout_s),
                clock=clock,
                version=version("dagengine"),
                address=self._api.advertised,
                allowed_hosts=config.allowed_hosts,
                accepts_certificates=config.tls_client_ca_file is not None,
            )
            add_fleet_pages(app, ctx, clock, partial(secrets.token_hex, _KEY_BYTES))
            server = HttpServer(limits_of(self._api), clock, share=self._share)
            stack.push_async_callback(server.stop)
            await server.switch(app)
            await server.accept([(unix, None)])
            self._server = server
            self._stack = stack.pop_all()
        try:
            await self.open_port()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        end = self._stack.aclose()
        await run_phase(end, limit_s=_CLOSE_S, phase="listener of the service")

    @property
    def socket(self) -> Path:
        """Path of the unix socket."""
        assert self.config.socket is not None
        return self.config.socket

    async def open_port(self) -> None:
        """Open the TCP port, if one is configured and a caller could log in there.

        Raises:
            ConfigError: the address cannot be bound.
        """
        async with self._opening:
            if self.config.port is None or self.url is not None or self._server is None:
                return
            has_ca = self.config.tls_client_ca_file is not None
            if not has_ca and not await self._store.list_tokens():
                _log.warning(
                    "service_port_closed",
                    port=self.config.port,
                    remedy=messages.CREATE_SERVICE_TOKEN(),
                )
                return
            context: ssl.SSLContext | None = None if self._tls is None else self._tls.context
            # The server closes the socket when it stops.
            await self._server.accept([(listen(self._api), context)])
            self.url = url_of(self._api)

    async def retry_port(self) -> None:
        """Open the TCP port as `open_port` does; log an error if it cannot be bound."""
        try:
            await self.open_port()
        except (ConfigError, StoreError) as exc:
            _log.error("service_port_closed", port=self.config.port, reason=str(exc))

    def reload_tls(self) -> None:
        """Read certificate and key again; log an error and keep the old ones if invalid."""
        if self._tls is None:
            return
        try:
            self._tls.reload()
        except ConfigError as exc:
            _log.error("certificate_refused", error=str(exc))
        else:
            _log.info("certificate_reloaded")

    def _make_token_manager(self) -> TokenManager:
        async def append(action: str, by: str, reason: str) -> None:
            row = AuditRecord(0, self._clock.now(), 0, None, action, by, reason)
            await self._store.append_audit(row)

        return TokenManager(self._store, SERVICE, self._clock, secrets.token_bytes, append)

    def _check_exposure(self) -> None:
        config = self.config
        if config.port is not None and not self._api.is_loopback and config.tls_cert_file is None:
            raise ConfigError(
                messages.SERVICE_EXPOSED(host=config.host), remedy=messages.SET_SERVICE_TLS()
            )

"""One cluster of a controller: its listener, its extensions, and its engine with store and API."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from types import TracebackType
from typing import Any

import structlog
from aiohttp import web

from dagengine.act_guard import ActGuard
from dagengine.api.app import EVENT_STREAMS, build_app
from dagengine.api.extension import ClusterView, Route
from dagengine.api.forwarding.app import build_forwarding_app
from dagengine.api.forwarding.forwarder import Forwarder
from dagengine.api.forwarding.owner import OwnershipView
from dagengine.api.forwarding.scheme import ForwardedRequests
from dagengine.api.login.schemes import Login
from dagengine.api.metrics import Counters
from dagengine.engine.engine import Engine
from dagengine.errors import ConfigError
from dagengine.model.ids import AgentAddress, OwnIds
from dagengine.remote.ssh.pool import SshPool
from dagengine.runtime.cancellation import run_phase
from dagengine.runtime.clock import Clock
from dagengine.runtime.logging import LogRing, LogScope
from dagengine.security.credentials import Passwords
from dagengine.security.forwarded_header import KEY_PURPOSE, NONCE_BYTES, NonceLog
from dagengine.security.replay import ReplayGuard
from dagengine.security.server_key import ServerKey, load_or_create_key
from dagengine.server import messages
from dagengine.server.cluster_listener import ClusterListener
from dagengine.server.config import ClusterConfig
from dagengine.server.extension import Extension, ExtensionContext, Plugin
from dagengine.server.listener import check_exposure, limits_of
from dagengine.server.listener_passwords import open_agent_password, read_root_password
from dagengine.server.local_store import controller_name, key_file_of
from dagengine.server.shared.parts import EngineStore, SharedStoreParts
from dagengine.store.contract import Retention
from dagengine.store.mysql.credentials import MysqlCredentials
from dagengine.store.mysql.identity import ServerIdentity
from dagengine.store.sqlite.store import SqliteStore
from dagengine.web.app import add_pages
from dagengine.web.forwarding import add_forwarded_pages

_log = structlog.get_logger("dagengine.server.controller")

_ENGINE_S = 20.0  # limit on ending requests, watches of hosts, attempts and store together


@dataclass(frozen=True, slots=True)
class SharedParts:
    """What all clusters of a controller share.

    Attributes:
        plugins: opened once for each cluster; a cluster is that of the first one.
        pool: runs commands on hosts.
        clock: source of time.
        retention: how long each cluster's finished DAGs are kept.
        listeners: number of listeners of this controller, at least 1.
        store: the shared store of several controllers; None if each cluster has an SQLite file.
        urls: the URLs of the clusters that are open now, by name.
    """

    plugins: Sequence[Plugin]
    pool: SshPool
    clock: Clock
    retention: Retention
    listeners: int = 1
    store: SharedStoreParts | None = None
    urls: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """The engine of a cluster while this controller runs its DAGs.

    Attributes:
        engine: the engine, already entered.
        store: its store.
        app: the cluster's API.
    """

    engine: Engine
    store: EngineStore
    app: web.Application

    @property
    def is_busy(self) -> bool:
        """Whether DAGs are unfinished, or event streams are open."""
        return self.engine.has_active_dags or self.app[EVENT_STREAMS].is_followed


class ClusterService:
    """Everything of one cluster. Use it as an async context manager.

    Entering binds the listener, opens the extensions and the engine, and accepts requests. While
    the listener stays, the engine can be closed and opened again: `close_engine`, `open_engine`.
    On a shared store, the engine is opened only once the controller owns the cluster; until then
    requests are forwarded to the owner.

    Args:
        config: the cluster's settings.
        shared: what all clusters of the controller share.

    Attributes:
        config: the cluster's settings.
        local: the engine; None while this controller does not run the cluster's DAGs.
        forwarder: sends requests to the owner; None without a shared store.

    Raises:
        ConfigError: an address is in use, or a file or the password is invalid.
        StoreError: the store is in use, unusable or too new.
    """

    def __init__(self, config: ClusterConfig, shared: SharedParts) -> None:
        self.config = config
        self.local: LocalEngine | None = None
        self._shared = shared
        self._log_ring = LogRing()
        self._scope = LogScope(config.name, ring=self._log_ring)
        self._stack = AsyncExitStack()
        self._engine_stack = AsyncExitStack()
        self._extensions: tuple[Extension, ...] = ()
        self._key: ServerKey | None = None
        self.forwarder: Forwarder | None = None
        self._ownership: OwnershipView | None = None
        self._listener: ClusterListener | None = None

    async def __aenter__(self) -> ClusterService:
        with self._scope.entered():
            async with AsyncExitStack() as stack:
                # Bind first: a second controller must fail here, before it contacts any host.
                listener = ClusterListener(
                    self.config, self._shared.clock, share=self._shared.listeners
                )
                self._listener = listener
                stack.callback(listener.close)
                await self._open_extensions(stack)
                self._shared.urls[self.name] = listener.url
                stack.callback(self._shared.urls.pop, self.name, None)
                stack.callback(self._close_key)
                stack.push_async_callback(self.close_engine)
                stack.push_async_callback(listener.stop)
                if self._shared.store is None:
                    await self.open_engine(SqliteStore(self.config.store))
                else:
                    await self._open_forwarding(self._shared.store, stack)
                await listener.accept()
                self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._scope.entered():
            await self._stack.aclose()

    async def open_engine(self, store: EngineStore, act_guard: ActGuard | None = None) -> None:
        """Open store and engine, and answer requests by them; nothing if they are open.

        Args:
            store: not opened yet.
            act_guard: see Engine.

        Raises:
            StoreError: the store is in use, unusable or too new.
        """
        if self.local is not None:
            return
        with self._scope.entered():
            async with AsyncExitStack() as stack:
                local = await self._enter_engine(stack, store, act_guard)
                await stack.enter_async_context(self.listener.serve(local.app))
                self.local = local
                self._engine_stack = stack.pop_all()

    async def close_engine(self) -> None:
        """Close engine and store; further requests go to the listener's other handler."""
        self.local, stack, self._engine_stack = None, self._engine_stack, AsyncExitStack()
        with self._scope.entered():
            await run_phase(stack.aclose(), limit_s=_ENGINE_S, phase=f"engine of {self.name}")

    @property
    def name(self) -> str:
        """The cluster's name; that of the cluster file if the engine file has none."""
        return self.config.name or self.cluster.name

    @property
    def log_scope(self) -> LogScope:
        """What the cluster's log lines have in common."""
        return self._scope

    @property
    def routes(self) -> list[Route[Any]]:
        """The routes of its operations."""
        return [route for extension in self._extensions for route in extension.routes]

    @property
    def cluster(self) -> ClusterView:
        """View of the cluster."""
        return self._extensions[0].cluster

    @property
    def url(self) -> str:
        """URL of the cluster's API for a client on this machine."""
        return self.listener.url

    @property
    def listener(self) -> ClusterListener:
        """The cluster's listener."""
        assert self._listener is not None
        return self._listener

    async def read_identities(self) -> Sequence[ServerIdentity]:
        """Return the identities of its database servers that answer SQL now."""
        return [each for e in self._extensions for each in await e.read_identities()]

    async def ping_writer(self) -> None:
        """Return once the store's writer has processed its queue."""
        if self.local is not None:
            await self.local.store.ping()

    def reload(self) -> None:
        """Read certificate and cluster file again.

        Logs an error and keeps the old one if the new one is invalid.
        """
        with self._scope.entered():
            try:
                if self.listener.reload_tls():
                    _log.info("certificate_reloaded")
            except ConfigError as exc:
                _log.error("certificate_refused", error=str(exc))
            self._reload_files()

    async def _open_extensions(self, stack: AsyncExitStack) -> None:
        shared, api = self._shared, self.config.api
        context = ExtensionContext(self.config.file, shared.pool, shared.clock)
        self._extensions = tuple(
            [await stack.enter_async_context(p.open(context)) for p in shared.plugins]
        )
        self.config.check_name(self.cluster.name)
        self._scope.cluster = self.name
        root_password = self.cluster.root_password()
        check_exposure(api, root_password)
        if not root_password:
            _log.warning(
                "no_password_needed",
                url=self.listener.url,
                remedy=messages.SET_ROOT_PASSWORD(),
            )

    async def _open_forwarding(self, store: SharedStoreParts, stack: AsyncExitStack) -> None:
        """Forward requests while another controller owns the cluster."""
        self._ownership = store.ownership_of(self.name)
        credentials = MysqlCredentials(store.settings, self.name)
        await credentials.open()
        stack.push_async_callback(credentials.close)
        clock, timeout_s = self._shared.clock, limits_of(self.config.api).body_timeout_s
        # In memory: the owner makes sure that a request acts only once.
        replay = ReplayGuard(clock, public_key=store.key.public_key)
        self.forwarder = Forwarder(
            self._ownership,
            store.key.derive_key(KEY_PURPOSE),
            clock,
            partial(secrets.token_hex, NONCE_BYTES),
            store.session,
        )
        login = Login(credentials, store.key, clock, timeout_s)
        make_app = partial(
            self._build_forwarding_app, self.forwarder, self._ownership, login, replay
        )
        await self.listener.serve_elsewhere(make_app)

    def _build_forwarding_app(
        self, forwarder: Forwarder, view: OwnershipView, login: Login, replay: ReplayGuard
    ) -> web.Application:
        translations = [e.translations for e in self._extensions]
        app = build_forwarding_app(
            forwarder=forwarder,
            view=view,
            login=login,
            passwords=self._passwords(),
            replay=replay,
            agent=AgentAddress(*self.config.api.advertised),
            allowed_hosts=self.config.api.allowed_hosts,
            translations=translations,
        )
        add_forwarded_pages(app, forwarder, cluster=self.name, translations=translations)
        return app

    async def _enter_engine(
        self, stack: AsyncExitStack, store: EngineStore, act_guard: ActGuard | None
    ) -> LocalEngine:
        config, clock = self.config, self._shared.clock
        agent = AgentAddress(*config.api.advertised)
        self._scope.id_prefix = OwnIds(agent).render(0).removesuffix("0")
        stack.callback(setattr, self._scope, "id_prefix", "")
        engine = await stack.enter_async_context(
            Engine(
                store=store,
                operations=[operation for e in self._extensions for operation in e.operations],
                advertise=agent,
                clock=clock,
                retention=self._shared.retention,
                controller_name=controller_name(config),
                act_guard=act_guard,
            )
        )
        for extension in self._extensions:
            await stack.enter_async_context(extension.running())
        # The store may have another address.
        self._scope.id_prefix = engine.generic_id(0).removesuffix("0")
        key = await self._load_key()
        replay = ReplayGuard(clock, store, public_key=key.public_key)
        await replay.load()
        return LocalEngine(engine, store, self._build_app(engine, store, key, replay))

    def _build_app(
        self, engine: Engine, store: EngineStore, key: ServerKey, replay: ReplayGuard
    ) -> web.Application:
        extensions, api, pool = self._extensions, self.config.api, self._shared.pool
        clock, view, timeout_s = self._shared.clock, self._ownership, limits_of(api).body_timeout_s
        forwarded = None
        if view is not None:
            mac_key = key.derive_key(KEY_PURPOSE)
            forwarded = ForwardedRequests(mac_key, key, view, clock, replay, NonceLog(), timeout_s)
        app = build_app(
            engine=engine,
            cluster=self.cluster,
            routes=self.routes,
            translations=[e.translations for e in extensions],
            key=key,
            replay=replay,
            store=store,
            clock=self._shared.clock,
            version=version("dagengine"),
            root_password=partial(read_root_password, api, self.cluster),
            agent_password=open_agent_password(api),
            before_retry=self._reload_files,
            allowed_hosts=api.allowed_hosts,
            body_timeout_s=timeout_s,
            figures=lambda: Counters(
                store.commit_count, store.batch_count, pool.login.login_count, pool.login.failed
            ),
            metrics_label=self.config.name,
            forwarded=forwarded,
            ownership=view,
            metric_sources=[e.metrics for e in extensions if e.metrics is not None],
        )
        add_pages(
            app,
            ring=self._log_ring,
            pages=[page for e in extensions for page in e.pages],
            translations=[e.translations for e in extensions],
            count_servers=extensions[0].count_servers,
            signals=[signal for e in extensions for signal in e.signals],
            urls=self._shared.urls,
        )
        return app

    def _passwords(self) -> Callable[[], Passwords]:
        """Return a function that reads the passwords that are valid now."""
        root = partial(read_root_password, self.config.api, self.cluster)
        agent = open_agent_password(self.config.api)
        return lambda: Passwords(root(), agent() or None)

    async def _load_key(self) -> ServerKey:
        """Return the key, which is beside the store and stays loaded while the engine is closed."""
        if self._shared.store is not None:
            return self._shared.store.key
        if self._key is None:
            path = key_file_of(self.config.store)
            self._key = await asyncio.to_thread(load_or_create_key, path)
        return self._key

    def _close_key(self) -> None:
        if self._key is not None:
            self._key.close()

    def _reload_files(self) -> None:
        for extension in self._extensions:
            try:
                extension.reload()
            except ConfigError as exc:
                _log.error("cluster_file_refused", error=str(exc))
            else:
                _log.info("cluster_file_reloaded")

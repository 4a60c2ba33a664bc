"""Opens the shared store of a controller, and its membership in the service."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

import aiohttp
import structlog

from dagengine.errors import ConfigError
from dagengine.ownership.local_cluster import LocalCluster
from dagengine.ownership.service import OwnershipService
from dagengine.ownership.timings import Timings
from dagengine.runtime.addresses import render_host_port
from dagengine.runtime.cancellation import run_phase
from dagengine.runtime.clock import BootClock, Clock
from dagengine.security.server_key import load_or_create_key
from dagengine.server import messages
from dagengine.server.cluster_service import ClusterService
from dagengine.server.clusters import Clusters
from dagengine.server.config import ApiConfig, EngineConfig
from dagengine.server.shared.cluster_host import SharedClusterHost
from dagengine.server.shared.ownership_view import ClusterOwnership
from dagengine.server.shared.parts import SharedStoreParts
from dagengine.server.shared.settings import read_settings, render_fingerprint
from dagengine.server.shared.store_check import check_store, ensure_not_managed
from dagengine.server.shared.store_guard import StoreGuard
from dagengine.store.membership import ClusterPins, JoiningController
from dagengine.store.mysql.identity import ServerIdentity
from dagengine.store.mysql.membership import MysqlMembership

_log = structlog.get_logger("dagengine.server.shared")

_SESSION_S = 2.0  # limit on closing the connections to other controllers


class SharedStore:
    """The shared store of a controller, from its start to its end.

    Attributes:
        parts: what each cluster needs.
        ownership: the membership; None until `join`.
    """

    def __init__(
        self, parts: SharedStoreParts, identity: ServerIdentity, lease_s: float, clock: Clock
    ) -> None:
        self.parts = parts
        self._identity = identity
        self.ownership: OwnershipService | None = None
        self._guard: StoreGuard | None = None
        self._lease_s = lease_s
        self._clock = clock

    async def join(self, clusters: Clusters, boot_clock: BootClock) -> OwnershipService:
        """Join the service, and begin to take clusters over.

        Raises:
            ConfigError: the store is on a server of a cluster of this controller.
        MembershipRefused: lease or key differ from those of the other controllers.
            StoreError: the database cannot be used.
        """
        parts = self.parts
        await self._ensure_not_managed(clusters)
        fingerprint = render_fingerprint(parts.key)
        guard = StoreGuard(
            parts.settings,
            self._identity,
            lambda: clusters.served,
            self._announce_again,
        )
        service = OwnershipService(
            open_store=lambda: MysqlMembership(parts.settings, self._clock, secrets.token_bytes),
            joining=JoiningController(
                f"{socket.gethostname()}:{os.getpid()}",
                version("dagengine"),
                self._lease_s,
                fingerprint,
            ),
            local_clusters=lambda: [
                describe_cluster(each, guard.explain_refusal(each)) for each in clusters.served
            ],
            host=SharedClusterHost(clusters, parts.settings, boot_clock),
            clock=boot_clock,
            timings=Timings(lease_s=self._lease_s),
            exit_process=lambda: os._exit(os.EX_TEMPFAIL),
        )
        await service.join()
        self.ownership, self._guard = service, guard
        service.start()
        guard.start()
        return service

    def _announce_again(self) -> None:
        if self.ownership is not None:
            self.ownership.reload()

    async def leave(self) -> None:
        """Close all engines and leave the service; see OwnershipService.leave."""
        if self._guard is not None:
            await self._guard.stop()
        if self.ownership is not None:
            await self.ownership.leave()

    async def _ensure_not_managed(self, clusters: Clusters) -> None:
        settings = self.parts.settings
        membership = MysqlMembership(settings, self._clock, secrets.token_bytes)
        try:
            fleet = await membership.read_fleet()
        finally:
            await membership.close()
        owned = [name for name, row in fleet.clusters.items() if fleet.is_live(row.owner)]
        await ensure_not_managed(settings, self._identity, clusters.served, owned)


@asynccontextmanager
async def open_shared_store(config: EngineConfig, clock: Clock) -> AsyncIterator[SharedStore]:
    """Open what the clusters of a shared store need, before any cluster is opened.

    Raises:
        ConfigError: the URL, a password file, the key or a listener cannot be used.
        StoreError: see check_store.
    """
    settings = read_settings(config)
    apis = [cluster.api for cluster in config.cluster_configs]
    for api in apis:
        check_reachable(api)
    key_file = config.key_file
    if key_file is None:
        raise ConfigError(messages.KEY_FILE_MISSING(), remedy=messages.NAME_KEY_FILE())
    async with AsyncExitStack() as stack:
        identity = await check_store(settings)
        key = await asyncio.to_thread(load_or_create_key, key_file)
        stack.callback(key.close)
        session = await stack.enter_async_context(_open_session(config.api, apis))
        store: SharedStore
        parts = SharedStoreParts(
            settings, key, session, lambda name: ClusterOwnership(lambda: store.ownership, name)
        )
        store = SharedStore(parts, identity, settings.lease_s, clock)
        yield store


def check_reachable(api: ApiConfig) -> None:
    """Refuse a listener that other controllers cannot call, or only without TLS.

    Raises:
        ConfigError: other controllers cannot call the host, or TLS is missing.
    """
    if api.host in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        raise ConfigError(
            messages.HOST_NOT_CALLABLE(host=api.host), remedy=messages.NAME_OWN_ADDRESS()
        )
    if not api.is_loopback and api.tls_cert_file is None:
        raise ConfigError(
            messages.SHARED_WITHOUT_TLS(host=render_host_port(api.host, api.port)),
            remedy=messages.SET_TLS(),
        )


def describe_cluster(service: ClusterService, refusal: str = "") -> LocalCluster:
    """Return what this controller announces about a cluster that it serves.

    Args:
        service: the cluster.
        refusal: why this controller must not run it; empty if it may.
    """
    cluster, (ip, port) = service.cluster, service.config.api.advertised
    return LocalCluster(
        pins=ClusterPins(
            service.name, cluster.cluster_id, cluster.flavour, render_host_port(ip, port)
        ),
        url=service.url,
        file_digest=cluster.file_digest,
        refusal=refusal,
    )


@asynccontextmanager
async def _open_session(
    api: ApiConfig, listeners: Sequence[ApiConfig]
) -> AsyncIterator[aiohttp.ClientSession]:
    """Provide the HTTP session for owners; see `Forwarder`."""
    context: ssl.SSLContext | bool = True
    if any(each.tls_cert_file is not None for each in listeners):
        try:
            context = ssl.create_default_context(cafile=api.controllers_ca_file)
            if api.tls_cert_file is not None and api.tls_client_ca_file is not None:
                context.load_cert_chain(api.tls_cert_file, api.tls_key_file)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(
                messages.CONTROLLERS_CA_UNUSABLE(path=api.controllers_ca_file, reason=exc)
            ) from exc
    connector = aiohttp.TCPConnector(ssl=context, force_close=True, limit=0)
    session = aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    try:
        yield session
    finally:
        phase = "connections to other controllers"
        await run_phase(session.close(), limit_s=_SESSION_S, phase=phase)

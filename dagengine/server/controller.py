"""Assembly of a controller: the only module that combines the concrete classes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import SystemRandom

import structlog

from dagengine.api.extension import ClusterView
from dagengine.api.fleet.view import FleetView
from dagengine.remote.ssh.pool import SshPool
from dagengine.runtime.cancellation import run_phase
from dagengine.runtime.clock import SystemClock
from dagengine.runtime.service import Service
from dagengine.security.server_key import load_or_create_key
from dagengine.server import messages
from dagengine.server.cluster_service import ClusterService, SharedParts
from dagengine.server.clusters import Clusters
from dagengine.server.config import EngineConfig
from dagengine.server.extension import Plugin
from dagengine.server.fleet.listener import ServiceListener
from dagengine.server.fleet.service_store import ServiceStore, SqliteServiceStore
from dagengine.server.fleet.standalone import StandaloneFleet
from dagengine.server.local_store import key_file_of
from dagengine.server.shared.fleet import SharedFleet
from dagengine.server.shared.store import SharedStore, open_shared_store
from dagengine.server.systemd import Notifier, Watchdog, watchdog_period_s
from dagengine.store.contract import Retention
from dagengine.store.mysql.credentials import MysqlCredentials

_log = structlog.get_logger("dagengine.server.controller")

STOP_LIMIT_S = 28.0
"""Limit on the whole stop of a controller, in seconds: less than a service manager waits before it
kills the process. Each phase has a limit of its own, but several may be slow."""

_POOL_S = 6.0  # limit on closing all SSH connections


async def serve(
    config: EngineConfig,
    points: Sequence[Plugin],
    announce: Callable[[Controller], None],
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Run a controller until SIGTERM or SIGINT. SIGHUP reloads cluster files and certificates.

    Args:
        config: the engine file.
        points: the extensions; the controller serves the clusters of the first one.
        announce: called once the controller answers requests.
        on_stop: called when the stop begins.

    Raises:
        ConfigError: the port is in use, or a file or the password is invalid. If there are several
            clusters, this applies to all of them.
        StoreError: the store is in use, unusable or too new.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    notifier = Notifier.from_env(os.environ)
    async with run_controller(config, points) as controller:
        loop.add_signal_handler(signal.SIGHUP, controller.reload)
        for served in controller.served:
            store = str(served.config.store)
            _log.info("controller_started", cluster=served.name, url=served.url, store=store)
        # Objects created so far live as long as the process. A full garbage collection that
        # includes them would delay every request by 30 to 60 ms.
        gc.collect()
        gc.freeze()
        announce(controller)
        notifier.send("READY=1", messages.SERVING(url=controller.url))
        period_s = watchdog_period_s(os.environ)
        watchdog = Watchdog(notifier, period_s or 0.0, controller.ping_writer)
        if period_s is not None:
            watchdog.start()
        await stopping.wait()
        on_stop()
        notifier.send("STOPPING=1", messages.STOPPING())
        _log.info("stop_requested")
        await watchdog.stop()
    _log.info("controller_stopped")


@dataclass(frozen=True, slots=True)
class Controller:
    """A running controller.

    Attributes:
        served: the clusters that it served at its start, at least one.
        reload: reloads cluster files and certificates, logs an error and keeps the old ones if
            invalid, and opens refused clusters.
        ping_writer: returns once the writers of all stores have processed their queues.
        service: the listener of the service; None if there is none.
    """

    served: tuple[ClusterService, ...]
    reload: Callable[[], None]
    ping_writer: Callable[[], Awaitable[None]]
    service: ServiceListener | None = None

    @property
    def url(self) -> str:
        """URL of the first cluster's API for a client on this machine."""
        return self.served[0].url

    @property
    def cluster(self) -> ClusterView:
        """The first cluster."""
        return self.served[0].cluster

    @property
    def socket(self) -> Path | None:
        """The unix socket of the first cluster; None for none."""
        return self.served[0].listener.socket


@asynccontextmanager
async def run_controller(
    config: EngineConfig, points: Sequence[Plugin]
) -> AsyncIterator[Controller]:
    """Run a controller that answers requests within the context; raises like `serve`."""
    config.ensure_store_supported()
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        pool = SshPool(clock, SystemRandom())
        stack.push_async_callback(_close_pool, pool)
        configs, service_config = config.cluster_configs, config.service_config
        store = None
        if config.store.url is not None:
            store = await stack.enter_async_context(open_shared_store(config, clock))
        shared = SharedParts(
            plugins=points,
            pool=pool,
            clock=clock,
            retention=Retention(config.store.keep_days * 86_400, config.store.keep_dags),
            listeners=len(configs) + (service_config is not None),
            store=None if store is None else store.parts,
        )
        clusters = Clusters(configs, shared)
        stack.push_async_callback(clusters.close)
        await clusters.open()
        ownership = None
        if store is not None:
            ownership = await store.join(clusters, clock)
            stack.push_async_callback(store.leave)
        service: ServiceListener | None = None
        if service_config is not None:
            fleet: FleetView = (
                StandaloneFleet(clusters, config, clock, version("dagengine"))
                if ownership is None
                else SharedFleet(clusters, ownership)
            )
            credentials, key_file = _open_service_store(config, store)
            service = ServiceListener(
                *(service_config, credentials, partial(load_or_create_key, key_file), fleet, clock),
                share=shared.listeners,
            )
            await stack.enter_async_context(service)
        port = Service("service port")
        stack.push_async_callback(port.stop)

        def reload() -> None:
            clusters.reload()
            if ownership is not None:
                ownership.reload()
            if service is not None:
                service.reload_tls()
                port.spawn(service.retry_port(), name="opening the port of the service")

        yield Controller(clusters.served, reload, clusters.ping_writers, service)


async def _close_pool(pool: SshPool) -> None:
    await run_phase(pool.close(), limit_s=_POOL_S, phase="SSH connections")


def _open_service_store(
    config: EngineConfig, store: SharedStore | None
) -> tuple[ServiceStore, Path]:
    """Return the store of the service's data, not opened yet, and the file of its key."""
    if store is None:
        return SqliteServiceStore(config.service_store), key_file_of(config.service_store)
    assert config.key_file is not None
    return MysqlCredentials(store.parts.settings, ""), config.key_file

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

from dagengine.api.app import build_app
from dagengine.api.extension import ClusterView
from dagengine.api.metrics import Counters
from dagengine.engine.engine import Engine
from dagengine.errors import ConfigError, StoreUnavailable
from dagengine.model.ids import AgentAddress
from dagengine.remote.ssh.pool import SshPool
from dagengine.runtime.clock import SystemClock
from dagengine.runtime.watched_file import PasswordFile, read_agent_password
from dagengine.security.errors import PasswordUnavailable
from dagengine.security.replay import ReplayGuard
from dagengine.security.server_key import load_or_create_key
from dagengine.server import messages
from dagengine.server.config import ApiConfig, EngineConfig
from dagengine.server.extension import Extension, ExtensionContext, Plugin
from dagengine.server.listener import (
    Tls,
    check_exposure,
    limits_of,
    listen,
    listen_at,
    serving,
    url_of,
)
from dagengine.server.systemd import Notifier, Watchdog, watchdog_period_s
from dagengine.store.contract import Retention
from dagengine.store.sqlite.backup import backup_store
from dagengine.store.sqlite.store import SqliteStore

_log = structlog.get_logger("dagengine.server.controller")


async def serve(
    config: EngineConfig, points: Sequence[Plugin], announce: Callable[[str], None]
) -> None:
    """Run a controller until SIGTERM or SIGINT. SIGHUP reloads cluster file and certificate.

    Args:
        config: the engine file.
        points: the extensions; the controller serves the cluster of the first one.
        announce: called with the URL once the controller answers requests.

    Raises:
        ConfigError: the port is in use, or a file or the password is invalid.
        StoreError: the store is in use, unusable or too new.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    notifier = Notifier.from_env(os.environ)
    async with run_controller(config, points) as controller:
        loop.add_signal_handler(signal.SIGHUP, controller.reload)
        _log.info("controller_started", url=controller.url, store=str(config.store.path))
        # Objects created so far live as long as the process. A full garbage collection that
        # includes them would delay every request by 30 to 60 ms.
        gc.collect()
        gc.freeze()
        announce(controller.url)
        notifier.send("READY=1", messages.SERVING(url=controller.url))
        period_s = watchdog_period_s(os.environ)
        watchdog = Watchdog(notifier, period_s or 0.0, controller.ping_writer)
        if period_s is not None:
            watchdog.start()
        await stopping.wait()
        notifier.send("STOPPING=1", messages.STOPPING())
        _log.info("stop_requested")
        await watchdog.stop()
    _log.info("controller_stopped")


@dataclass(frozen=True, slots=True)
class Controller:
    """A running controller.

    Attributes:
        url: the API's URL for a client on this machine.
        reload: reloads cluster file and certificate; logs an error and keeps the old one if
            invalid.
        ping_writer: returns once the store's writer has processed its queue.
    """

    url: str
    reload: Callable[[], None]
    ping_writer: Callable[[], Awaitable[None]]


@asynccontextmanager
async def run_controller(
    config: EngineConfig, points: Sequence[Plugin]
) -> AsyncIterator[Controller]:
    """Run a controller that answers requests within the context; raises like `serve`."""
    async with AsyncExitStack() as stack:
        # Bind the port first: a second controller must fail here, before it contacts any host.
        limits = limits_of(config.api)
        tls = None if config.api.tls_cert_file is None else Tls(config.api)
        context = None if tls is None else tls.context
        listeners = [(stack.enter_context(listen(config.api)), context)]
        if config.api.socket is not None:
            listeners.append((stack.enter_context(listen_at(config.api.socket)), None))
        clock = SystemClock()
        pool = SshPool(clock, SystemRandom())
        stack.push_async_callback(pool.close)
        surroundings = ExtensionContext(config.cluster, pool, clock)
        extensions = [await stack.enter_async_context(p.open(surroundings)) for p in points]
        cluster = extensions[0].cluster
        root_password = cluster.root_password()
        check_exposure(config.api, root_password)
        if not root_password:
            _log.warning(
                "no_password_needed",
                url=url_of(config.api),
                remedy=messages.SET_ROOT_PASSWORD(),
            )
        store = SqliteStore(config.store.path)
        engine = await stack.enter_async_context(
            Engine(
                store=store,
                operations=[operation for e in extensions for operation in e.operations],
                advertise=AgentAddress(*config.api.advertised),
                clock=clock,
                retention=Retention(config.store.keep_days * 86_400, config.store.keep_dags),
            )
        )
        key = await asyncio.to_thread(load_or_create_key, key_file_of(config.store.path))
        stack.callback(key.close)
        replay = ReplayGuard(clock, store)
        await replay.load()
        password_path = config.api.agent_password_file
        agent_file = (
            None
            if password_path is None
            else PasswordFile(password_path, "api.agent_password_file")
        )
        read_agent_password(agent_file)
        app = build_app(
            engine=engine,
            cluster=cluster,
            routes=[route for e in extensions for route in e.routes],
            key=key,
            replay=replay,
            clock=clock,
            version=version("dagengine"),
            root_password=partial(_guarded_password, config.api, cluster),
            agent_password=partial(_guarded_agent_password, agent_file),
            before_retry=lambda: _reload(extensions),
            body_timeout_s=limits.body_timeout_s,
            figures=lambda: Counters(
                store.commit_count, store.batch_count, pool.login.login_count, pool.login.failed
            ),
        )
        await stack.enter_async_context(serving(app, limits, clock, listeners))
        yield Controller(url_of(config.api), partial(_reload, extensions, tls), store.ping)


def key_file_of(store: Path) -> Path:
    """Return the file with the key that decrypts request headers."""
    return store.with_suffix(".key.pem")


def backup_controller(config: EngineConfig, target: Path) -> int:
    """Copy the store and its key; return the size of the store's copy in bytes.

    Existing files are never overwritten. After an error, neither copy exists.

    Raises:
        StoreUnavailable: see backup_store; or the key's copy exists already or cannot be written.
    """
    key, copy = key_file_of(config.store.path), key_file_of(target)
    if copy.exists():
        raise StoreUnavailable(
            messages.BACKUP_KEY_EXISTS(path=copy),
            remedy=messages.NAME_OTHER_BACKUP(),
        )
    size_bytes = backup_store(config.store.path, target)
    try:
        if key.exists():
            _copy_key(key, copy)
    except OSError as exc:
        target.unlink()
        raise StoreUnavailable(
            messages.KEY_NOT_COPIED(key=key, copy=copy, reason=exc.strerror),
            remedy=messages.CHECK_SPACE_AND_ACCESS(),
        ) from exc
    return size_bytes


def _copy_key(key: Path, copy: Path) -> None:
    content = key.read_bytes()
    descriptor = os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except BaseException:
        copy.unlink()
        raise


def _guarded_password(api: ApiConfig, cluster: ClusterView) -> str:
    """Return the current password of root@sys; log the details of an error instead of raising them.

    Raises:
        PasswordUnavailable: the password cannot be read, or without it the API would be open.
    """
    try:
        password = cluster.root_password()
        check_exposure(api, password)
    except ConfigError as exc:
        _log.error("password_unavailable", error=str(exc))
        raise PasswordUnavailable from exc
    return password


def _guarded_agent_password(file: PasswordFile | None) -> str:
    """Return the current agent password; empty if none is configured.

    Raises:
        PasswordUnavailable: the password cannot be read, or is empty.
    """
    try:
        return read_agent_password(file)
    except ConfigError as exc:
        _log.error("password_unavailable", error=str(exc))
        raise PasswordUnavailable from exc


def _reload(extensions: Sequence[Extension], tls: Tls | None = None) -> None:
    if tls is not None:
        try:
            tls.reload()
        except ConfigError as exc:
            _log.error("certificate_refused", error=str(exc))
        else:
            _log.info("certificate_reloaded")
    for extension in extensions:
        try:
            extension.reload()
        except ConfigError as exc:
            _log.error("cluster_file_refused", error=str(exc))
        else:
            _log.info("cluster_file_reloaded")

"""Puts a controller together: the only file that names the concrete classes side by side."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import SystemRandom

import structlog
from aiohttp import web

from dagengine.api.app import build_app
from dagengine.api.route import ClusterView
from dagengine.clock import SystemClock
from dagengine.config import ApiConfig, EngineConfig
from dagengine.engine.engine import Engine
from dagengine.errors import ConfigError
from dagengine.extension import Extension, ExtensionPoint, Surroundings
from dagengine.model.ids import AgentAddress
from dagengine.remote.pool import SshPool
from dagengine.security.errors import PasswordUnavailable
from dagengine.security.key import load_or_make_key
from dagengine.security.replay import ReplayGuard
from dagengine.store.base import Retention
from dagengine.store.sqlite.backup import backup_store
from dagengine.store.sqlite.store import SqliteStore

_log = structlog.get_logger("dagengine.wiring")

# How long requests that are being answered may go on once the controller is told to stop.
_LAST_ANSWERS_S = 2.0

# A signed header is about 1 kB; what is longer than aiohttp's own limit must still get the API's
# answer, without a part of it in the log.
_HEADER_LIMIT_BYTES = 256 * 1024


async def serve(
    config: EngineConfig, points: Sequence[ExtensionPoint], announce: Callable[[str], None]
) -> None:
    """Run a controller until SIGTERM or SIGINT. SIGHUP re-reads the cluster file.

    Args:
        config: the engine file.
        points: the extensions; the first one's cluster is what the controller serves.
        announce: told the URL once requests are answered.

    Raises:
        ConfigError: the port is taken, or a file or the password is not as it must be.
        StoreError: the store is in use, unusable or too new.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with run_controller(config, points) as (url, extensions):
        loop.add_signal_handler(signal.SIGHUP, _reload, extensions)
        _log.info("controller_started", url=url, store=str(config.store.path))
        announce(url)
        await stopping.wait()
        _log.info("stop_requested")
    _log.info("controller_stopped")


@asynccontextmanager
async def run_controller(
    config: EngineConfig, points: Sequence[ExtensionPoint]
) -> AsyncIterator[tuple[str, Sequence[Extension]]]:
    """A controller that answers requests within the context; raises as `serve`."""
    async with AsyncExitStack() as stack:
        # First the port: a second controller should end here, before it looks at any host.
        listener = stack.enter_context(listen(config.api))
        clock = SystemClock()
        pool = SshPool(clock, SystemRandom())
        stack.push_async_callback(pool.close)
        surroundings = Surroundings(config.cluster, pool, clock)
        extensions = [await stack.enter_async_context(p.open(surroundings)) for p in points]
        cluster = extensions[0].cluster
        refuse_open_door(config.api, cluster.root_password())
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
        key = await asyncio.to_thread(load_or_make_key, key_file_of(config.store.path))
        stack.callback(key.close)
        replay = ReplayGuard(clock, store)
        await replay.load()
        agent_password = read_agent_password(config.api.agent_password_file)
        app = build_app(
            engine=engine,
            cluster=cluster,
            routes=[route for e in extensions for route in e.routes],
            key=key,
            replay=replay,
            clock=clock,
            version=version("dagengine"),
            root_password=partial(_guarded_password, config.api, cluster),
            agent_password=lambda: agent_password,
            before_retry=lambda: _reload(extensions),
        )
        runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=_LAST_ANSWERS_S,
            max_field_size=_HEADER_LIMIT_BYTES,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listener).start()
        yield url_of(config.api), extensions


def key_file_of(store: Path) -> Path:
    """Where the key that decrypts callers' headers is kept."""
    return store.with_suffix(".key.pem")


def back_up(config: EngineConfig, target: Path) -> int:
    """Copy the store, and beside it the key; returns the copy's size in bytes.

    Raises:
        StoreUnusable: see backup_store.
    """
    size_bytes = backup_store(config.store.path, target)
    key = key_file_of(config.store.path)
    if key.exists():
        copy = key_file_of(target)
        copy.touch(mode=0o600)
        copy.write_bytes(key.read_bytes())
    return size_bytes


def listen(api: ApiConfig) -> socket.socket:
    """A socket that owns the configured address.

    Raises:
        ConfigError: it cannot be had.
    """
    host = "127.0.0.1" if api.host == "localhost" else api.host
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, api.port))
        listener.listen()
    except OSError as exc:
        listener.close()
        raise ConfigError(
            f"cannot listen on {url_of(api)}: {exc.strerror}",
            remedy="stop what listens there, or set another api.port",
        ) from exc
    return listener


def url_of(api: ApiConfig) -> str:
    """Where the API is, for a client on this machine."""
    host = f"[{api.host}]" if ":" in api.host else api.host
    return f"http://{host}:{api.port}"


def refuse_open_door(api: ApiConfig, root_password: str) -> None:
    """Refuse to listen beyond this machine while no password is needed.

    Raises:
        ConfigError: the host is not loopback and the password of root@sys is empty.
    """
    if not api.is_loopback and not root_password:
        raise ConfigError(
            f"api.host {api.host} is reachable from other machines, but the password of root@sys "
            "is empty: anybody could start servers",
            remedy="set the password that the cluster file names, or listen on 127.0.0.1",
        )


def _guarded_password(api: ApiConfig, cluster: ClusterView) -> str:
    """The password of root@sys, read anew; what is wrong with it is for the log alone.

    Raises:
        PasswordUnavailable: it cannot be read, or the door would stand open.
    """
    try:
        password = cluster.root_password()
        refuse_open_door(api, password)
    except ConfigError as exc:
        _log.error("password_unavailable", error=str(exc))
        raise PasswordUnavailable from exc
    return password


def read_agent_password(file: Path | None) -> str:
    """The agent password: the first line of its file; empty when there is no file.

    Raises:
        ConfigError: the file cannot be read or its first line is empty.
    """
    if file is None:
        return ""
    try:
        password = file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read api.agent_password_file {file}: {exc}") from exc
    if not password:
        raise ConfigError(f"the first line of api.agent_password_file {file} is empty")
    return password


def _reload(extensions: Sequence[Extension]) -> None:
    for extension in extensions:
        try:
            extension.reload()
        except ConfigError as exc:
            _log.error("cluster_file_refused", error=str(exc))
        else:
            _log.info("cluster_file_reloaded")

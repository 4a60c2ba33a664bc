"""The clusters of a controller. Each lives in a task of its own, so that none delays another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import structlog
from aiohttp import web

from dagengine.api.envelope import render_envelope
from dagengine.errors import ClusterNotServed, ConfigError, DagengineError
from dagengine.runtime.cancellation import run_phase
from dagengine.runtime.clock import Clock
from dagengine.runtime.logging import LogScope
from dagengine.runtime.service import Service
from dagengine.server.cluster_listener import ClusterListener
from dagengine.server.cluster_service import ClusterService, SharedParts
from dagengine.server.config import ClusterConfig

_log = structlog.get_logger("dagengine.server.controller")

_CLUSTER_S = 25.0  # limit on closing a cluster: its listener, engine and extensions together


@dataclass(slots=True)
class ClusterLife:
    """One configured cluster, from the start of the controller to its end.

    Attributes:
        config: the cluster's settings.
        service: the cluster while it is served; None before, after, and while it is refused.
        refusal: why it is not served; None otherwise.
    """

    config: ClusterConfig
    service: ClusterService | None = None
    refusal: DagengineError | None = None
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _is_closing: bool = False
    _task: asyncio.Task[None] | None = None


class Clusters:
    """Opens the clusters of a controller at the same time, and closes them.

    If there are several, one that cannot be opened is refused with a log line, its listener
    answers 503, and the others are served. It is tried again at each reload.

    Args:
        configs: the settings of the clusters, at least one.
        shared: what they share.
    """

    def __init__(self, configs: Sequence[ClusterConfig], shared: SharedParts) -> None:
        self.lives = tuple(ClusterLife(config) for config in configs)
        self._shared = shared
        self._service = Service("clusters")

    @property
    def served(self) -> tuple[ClusterService, ...]:
        """The clusters that are served now."""
        return tuple(life.service for life in self.lives if life.service is not None)

    def find(self, name: str) -> ClusterService | None:
        """Return a cluster that is served now, or None."""
        return next((service for service in self.served if service.name == name), None)

    async def open(self) -> None:
        """Open all clusters; return once each is served or refused.

        Raises:
            ConfigError, StoreError: no cluster could be opened; the error of the first one.
        """
        for life in self.lives:
            name = life.config.name or "cluster"
            life._task = self._service.spawn(self._live(life), name=f"cluster {name}")
        for life in self.lives:
            await life._settled.wait()
            if life._task is not None and life._task.done():
                life._task.result()  # an unexpected error
        refusals = [life.refusal for life in self.lives if life.refusal is not None]
        if len(refusals) == len(self.lives):
            raise refusals[0]

    def reload(self) -> None:
        """Read the files of all clusters again; open refused clusters whose files are valid now."""
        for life in self.lives:
            if life.service is not None:
                life.service.reload()
            else:
                life._woken.set()

    async def ping_writers(self) -> None:
        """Return once the writer of each cluster's store has processed its queue.

        Raises:
            StoreUnavailable: a store has no running writer.
        """
        async with asyncio.TaskGroup() as group:
            for service in self.served:
                group.create_task(service.ping_writer(), name=f"ping {service.name}")

    async def close(self) -> None:
        """Close all clusters, within a limit; finishes even if the caller is cancelled."""
        tasks = []
        for life in self.lives:
            life._is_closing = True
            life._woken.set()
            if (task := life._task) is not None:
                tasks.append(task)
                if not life._settled.is_set():
                    task.cancel()  # it is still opening
        phases = [run_phase(each, limit_s=_CLUSTER_S, phase=each.get_name()) for each in tasks]
        for result in await asyncio.gather(*phases, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    # --- internal functions ----------------------------------------------------------------------

    async def _live(self, life: ClusterLife) -> None:
        try:
            while not life._is_closing:
                life._woken.clear()
                try:
                    await self._serve(life)
                except DagengineError as exc:
                    if life.refusal is not exc:
                        raise  # while closing
                    await self._wait_refused(life, exc)
        finally:
            life.service = None
            life._settled.set()

    async def _serve(self, life: ClusterLife) -> None:
        service = ClusterService(life.config, self._shared)
        try:
            await service.__aenter__()
        except DagengineError as exc:
            life.refusal = exc
            raise
        try:
            life.service, life.refusal = service, None
            if life._settled.is_set():
                _log.info("cluster_opened", cluster=service.name, url=service.listener.url)
            life._settled.set()
            while not life._is_closing:
                await life._woken.wait()
                life._woken.clear()
        finally:
            life.service = None
            await service.__aexit__(None, None, None)

    async def _wait_refused(self, life: ClusterLife, refusal: DagengineError) -> None:
        """Answer requests with 503 until the next reload or the end."""
        life._settled.set()
        if len(self.lives) == 1:
            life._is_closing = True  # `open` raises the error
            return
        _log.error("cluster_refused", cluster=life.config.name, error=str(refusal))
        async with _refusing(life.config, self._shared):
            if not life._is_closing:
                await life._woken.wait()


@asynccontextmanager
async def _refusing(config: ClusterConfig, shared: SharedParts) -> AsyncIterator[None]:
    """Answer at the listener of a refused cluster, if its addresses can be bound."""
    with LogScope(config.name).entered():
        try:
            listener = ClusterListener(config, shared.clock, share=shared.listeners)
        except ConfigError:
            yield  # perhaps the refusal itself, which is logged already
            return
        try:
            await listener.serve_elsewhere(_Refuser(config.name, shared.clock).make_app)
            await listener.accept()
            yield
        finally:
            await listener.stop()
            listener.close()


class _Refuser:
    """Answers the requests for a cluster that is not served."""

    def __init__(self, cluster: str, clock: Clock) -> None:
        self._error = ClusterNotServed(cluster)
        self._clock = clock

    def make_app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/healthz":
            return web.Response(text="ok\n")
        status = HTTPStatus.SERVICE_UNAVAILABLE
        body = render_envelope(
            status=status, at=self._clock.now(), duration_ms=0, trace_id="", error=self._error
        )
        return web.Response(status=status, body=body, content_type="application/json")

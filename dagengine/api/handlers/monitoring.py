"""The routes for monitoring: liveness, readiness and metrics.

They use neither the envelope nor a login, because supervisors and Prometheus have no credentials.
Therefore their responses contain no name of a host, a task or a person.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from prometheus_client import generate_latest

from dagengine.api import messages
from dagengine.api.envelope import render_json
from dagengine.api.metrics import CONTENT_TYPE, Metrics
from dagengine.engine.engine import Engine
from dagengine.errors import StoreError
from dagengine.runtime.clock import Clock

_FRESH_S = 2.0  # how long a readiness result is cached, because a probe writes to the disk
_PATIENCE_S = 5.0


class Health:
    """The three routes for monitoring.

    Args:
        engine: the engine, already entered.
        clock: source of time for the age of a cached readiness result.
        metrics: the metrics to export.
    """

    def __init__(self, engine: Engine, clock: Clock, metrics: Metrics) -> None:
        self._engine = engine
        self._clock = clock
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self._statuses: dict[str, str] = {}
        self._read_at_s = float("-inf")

    async def get_health(self, _request: web.Request) -> web.StreamResponse:
        """Respond with 200; this only shows that the process is alive."""
        return web.Response(text="ok\n")

    async def get_readiness(self, _request: web.Request) -> web.StreamResponse:
        """Report whether the store is writable and the scheduler runs; 503 if not."""
        async with self._lock:  # one probe for all concurrent requests
            if self._clock.monotonic_s() - self._read_at_s > _FRESH_S:
                self._statuses = await self._read_statuses()
                self._read_at_s = self._clock.monotonic_s()
        is_ready = all(status == "ok" for status in self._statuses.values())
        body = render_json({"ready": is_ready, **self._statuses})
        status = 200 if is_ready else 503
        return web.Response(status=status, body=body, content_type="application/json")

    async def get_metrics(self, _request: web.Request) -> web.StreamResponse:
        """Return all metrics in the text format of Prometheus."""
        await self._metrics.refresh()
        body = await asyncio.to_thread(generate_latest, self._metrics.exported)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _read_statuses(self) -> dict[str, str]:
        scheduler = "ok" if self._engine.is_scheduling else messages.SCHEDULER_NOT_RUNNING()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._engine.probe_store(self._clock.now())
        except TimeoutError:
            return {
                "store": messages.STORE_WRITE_TIMEOUT(timeout_s=_PATIENCE_S),
                "scheduler": scheduler,
            }
        except StoreError:
            return {"store": messages.STORE_NOT_WRITABLE(), "scheduler": scheduler}
        return {"store": "ok", "scheduler": scheduler}

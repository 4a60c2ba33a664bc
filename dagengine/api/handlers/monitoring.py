"""For those who watch over the process: is it alive, can it work, how does it do.

Outside of the envelope and without a login, because supervisors and Prometheus have none: nothing
here names a host, a task or a person.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from prometheus_client import generate_latest

from dagengine.api.envelope import render_json
from dagengine.api.metrics import CONTENT_TYPE, Metrics
from dagengine.engine.engine import Engine
from dagengine.errors import StoreError
from dagengine.runtime.clock import Clock

_FRESH_S = 2.0  # how long an answer of readiness is used again: asking writes to the disk
_PATIENCE_S = 5.0


class Health:
    """The three routes for supervisors.

    Args:
        engine: entered.
        clock: says how old an answer is.
        metrics: of the engine.
    """

    def __init__(self, engine: Engine, clock: Clock, metrics: Metrics) -> None:
        self._engine = engine
        self._clock = clock
        self._metrics = metrics
        self._asking = asyncio.Lock()
        self._found: dict[str, str] = {}
        self._found_at_s = float("-inf")

    async def get_health(self, _request: web.Request) -> web.StreamResponse:
        """The process answers: that is all this says."""
        return web.Response(text="ok\n")

    async def get_readiness(self, _request: web.Request) -> web.StreamResponse:
        """Whether the store can be written and the scheduler works; 503 when not."""
        async with self._asking:  # one question for all who ask at the same time
            if self._clock.monotonic_s() - self._found_at_s > _FRESH_S:
                self._found = await self._ask()
                self._found_at_s = self._clock.monotonic_s()
        is_ready = all(found == "ok" for found in self._found.values())
        body = render_json({"ready": is_ready, **self._found})
        status = 200 if is_ready else 503
        return web.Response(status=status, body=body, content_type="application/json")

    async def get_metrics(self, _request: web.Request) -> web.StreamResponse:
        """Every figure, as Prometheus reads it."""
        await self._metrics.refresh()
        body = await asyncio.to_thread(generate_latest, self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _ask(self) -> dict[str, str]:
        scheduler = "ok" if self._engine.is_scheduling else "not running"
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._engine.probe_store(self._clock.now())
        except TimeoutError:
            return {"store": f"no write within {_PATIENCE_S:g} s", "scheduler": scheduler}
        except StoreError:
            return {"store": "refuses to write: see the log", "scheduler": scheduler}
        return {"store": "ok", "scheduler": scheduler}

"""A controller whose DAGs write scripted log lines, and a function that collects their events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from pydantic import BaseModel

from dagengine import (
    DagDetail,
    Failed,
    Operation,
    Outcome,
    Problem,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.client import Client, StreamEvent
from dagengine.client.transport import Transport
from dagengine.extension import Call, Extension, ExtensionContext, Route
from dagengine.testing import Latch
from tests.support.fake_cluster import FIRST, PASSWORD, SECOND, FakeCluster
from tests.support.fake_controller import FakeController


class AnyBody(BaseModel):
    """Body of POST /ob/start, which is ignored."""

    scope: dict[str, Any] = {}  # pydantic copies it


@dataclass
class EventController(FakeController):
    """A controller that can be restarted, and the script of its steps."""

    lines: tuple[str, ...] = ("inspected",)
    is_broken: bool = False
    takes_lock: bool = False
    dedupe_window_s: float = 0.0
    latch: Latch | None = None

    @asynccontextmanager
    async def open_extension(self, surroundings: ExtensionContext) -> AsyncIterator[Extension]:
        async def start(call: Call[AnyBody]) -> DagDetail:
            submission = Submission("Start OB", (FIRST, SECOND))
            return await call.submit(submission, dedupe_window_s=self.dedupe_window_s)

        stages = (
            Stage("Look", StageKind.PARALLEL, self._step),
            Stage("Finish", StageKind.NORMAL, self._finish),
        )
        route = Route("POST", "/ob/start", AnyBody, start)
        yield Extension(
            [Operation("Start OB", stages, lock_key="cluster", takes_lock="Finish")],
            [route],
            FakeCluster(),
            lambda: None,
        )

    async def _step(self, context: StepContext) -> Outcome:
        if self.takes_lock:
            await context.acquire_lock()
        for line in self.lines:
            await context.log(line)
        if self.latch is not None:
            await self.latch.wait()
        if self.is_broken and context.target == SECOND:
            return Failed(Problem("Fake.Broken", "it is broken", "repair it"))
        return Succeeded()

    async def _finish(self, context: StepContext) -> Outcome:
        await context.acquire_lock()
        return Succeeded()

    async def run_to_end(self, client: Client) -> tuple[str, list[StreamEvent]]:
        """Run a DAG to its end; return its id and all of its events."""
        dag_id = (await client.start("GLOBAL"))["id"]
        return dag_id, await collect(client, dag_id)

    @asynccontextmanager
    async def open_stream(
        self, dag_id: str, **headers: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open the stream of the events route."""
        door = Transport(self.url, PASSWORD, 30)
        await door.open()
        try:
            path = f"/task/dag/{dag_id}/events"
            async with door.stream("GET", path, None, headers) as response:
                yield response
        finally:
            await door.close()


async def collect(client: Client, dag_id: str, after: int = 0) -> list[StreamEvent]:
    """Return all events after the given one, until the DAG has ended."""
    async with asyncio.timeout(60), aclosing(client.follow(dag_id, after=after)) as events:
        return [event async for event in events]

"""A controller of several clusters with a minimal operation, whose DAGs end on request."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dagengine import DagDetail, Operation, Outcome, Stage, StageKind, Submission, Succeeded
from dagengine.client import Client, FleetClient
from dagengine.extension import Call, Extension, ExtensionContext, Plugin, Route
from dagengine.model.step import StepContext
from dagengine.server.config import load_config
from dagengine.server.controller import Controller, run_controller
from dagengine.server.local_store import key_file_of
from dagengine.testing import Latch
from tasks.cluster.cluster_file import ClusterFile
from tasks.demo.hosts import free_port
from tasks.flavours.select import FLAVOURS
from tests.support.planted_key import plant_key

NAMES = ("alpha", "beta", "gamma")


class EmptyBody(BaseModel):
    """No body."""

    reason: str | None = None


class FleetController:
    """The files of a controller of several clusters, and one latch for each.

    Attributes:
        latches: the DAG of a cluster ends after its latch is released.
        urls: URL of each cluster's API.
    """

    def __init__(self, directory: Path, names: Sequence[str] = NAMES, **service: Any) -> None:
        self.directory = directory
        self.latches = {name: Latch() for name in names}
        self.urls: dict[str, str] = {}
        self.engine_file = directory / "engine.yaml"
        clusters = {}
        for number, name in enumerate(names, start=1):
            port = free_port()
            self.write_cluster(name, number)
            clusters[name] = {"file": f"{name}.yaml", "port": port}
            self.urls[name] = f"http://127.0.0.1:{port}"
        self.engine: dict[str, Any] = {
            "store": {"directory": "var"},
            "clusters": clusters,
            "service": service,
        }

    @property
    def service_url(self) -> str:
        return f"unix:{self.directory / 'var' / 'service.sock'}"

    def write_cluster(self, name: str, number: int) -> None:
        (self.directory / f"{name}.yaml").write_text(
            f"name: {name}\nid: {number}\nflavour: seekdb\nroot_password: none\n"
            f"zones: {{z: [{{ip: 10.0.0.{number}, home: /h}}]}}\n"
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Controller]:
        self.engine_file.write_text(json.dumps(self.engine))
        config = load_config(self.engine_file, {})
        for store in (config.service_store, *map(config.store_of, config.clusters)):
            plant_key(key_file_of(store))
        async with run_controller(config, [Plugin("test", self._open)]) as controller:
            yield controller

    def fleet(self) -> FleetClient:
        return FleetClient(self.service_url)

    def client(self, name: str) -> Client:
        return Client(self.urls[name], "")

    @asynccontextmanager
    async def _open(self, context: ExtensionContext) -> AsyncIterator[Extension]:
        cluster = ClusterFile(context.cluster_file, FLAVOURS)

        async def hold(step: StepContext) -> Outcome:
            reply = await step.acquire_lock(())
            assert reply.holder is None
            await self.latches[cluster.name].wait()
            return Succeeded()

        async def start(call: Call[EmptyBody]) -> DagDetail:
            """Start."""
            return await call.submit(Submission("hold"), reason=call.body.reason or "")

        operation = Operation(
            "hold", (Stage("hold", StageKind.NORMAL, hold),), lock_key="cluster", takes_lock="hold"
        )
        route = Route("POST", "/go", EmptyBody, start, fleet_action="start")
        yield Extension([operation], [route], cluster, cluster.reload)

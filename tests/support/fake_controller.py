"""A controller of a FakeCluster; subclasses define its operations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dagengine.client import Client
from dagengine.extension import Extension, ExtensionContext, Plugin
from dagengine.server.config import ApiConfig, EngineConfig, StoreConfig
from dagengine.server.controller import run_controller
from tasks.demo.hosts import free_port
from tests.support.fake_cluster import PASSWORD
from tests.support.planted_key import plant_key


@dataclass
class FakeController:
    """A controller that can be restarted; its store remains in the directory."""

    directory: Path
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def plugin(self) -> Plugin:
        return Plugin("fake", self.open_extension)

    def client(self) -> Client:
        return Client(self.url, PASSWORD)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve the API within the context."""
        config = EngineConfig(
            api=ApiConfig(port=self.port),
            store=StoreConfig(path=self.directory / "store.sqlite"),
            cluster=self.directory / "none.yaml",
        )
        plant_key(self.directory / "store.key.pem")
        async with run_controller(config, [self.plugin]):
            yield

    def open_extension(
        self, surroundings: ExtensionContext
    ) -> AbstractAsyncContextManager[Extension]:
        """The operations and routes."""
        raise NotImplementedError

"""A controller of two servers that are never contacted; subclasses define its operations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dagengine.client import Client
from dagengine.extension import Extension, ExtensionContext, Plugin
from dagengine.server.config import ApiConfig, EngineConfig, StoreConfig
from dagengine.server.controller import run_controller
from tasks.demo.hosts import free_port

PASSWORD = "right-password"
FIRST, SECOND = "127.0.0.1:2886", "127.0.0.1:2887"


@dataclass(frozen=True)
class FakeServer:
    name: str
    zone: str
    ip: str = "127.0.0.1"
    sql_port: int = 2881
    rpc_port: int = 2882
    home: str = "/home/admin/seekdb"

    @property
    def agent_port(self) -> int:
        return int(self.name.rpartition(":")[2])


class FakeCluster:
    """Two servers that are never contacted."""

    name = "fake"
    cluster_id = 1
    servers: Sequence[FakeServer] = (FakeServer(FIRST, "z1"), FakeServer(SECOND, "z2"))
    version = ""
    ob_state = 0
    observed_at = None
    is_ob_state_known = False
    file_digest = ""

    notices: tuple[str, ...] = ()

    def find_notices(self) -> tuple[str, ...]:
        return self.notices

    def root_password(self) -> str:
        return PASSWORD


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
        async with run_controller(config, [self.plugin]):
            yield

    def open_extension(
        self, surroundings: ExtensionContext
    ) -> AbstractAsyncContextManager[Extension]:
        """The operations and routes."""
        raise NotImplementedError

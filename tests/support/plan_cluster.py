"""A controller whose servers are directories on one host; a start of one would leave a trace."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dagengine.client import Client
from dagengine.server.config import load_config
from dagengine.server.controller import run_controller
from tasks import EXTENSION
from tasks.demo.hosts import DemoHost, free_port
from tests.support.planted_key import plant_key

PASSWORD = "r00t-p@ss"


class PlanCluster:
    """A controller for servers on one host, whose homes are in the test's directory."""

    def __init__(self, directory: Path, host: DemoHost) -> None:
        self.directory = directory
        self.host = host
        self.url = ""
        self.servers: list[dict[str, Any]] = []

    def add(self, agent_port: int, *, installed: bool = True, ssh_port: int = 0) -> str:
        """A server whose program records that it is run."""
        home = self.directory / f"home {agent_port}"
        (home / "bin").mkdir(parents=True)
        if installed:
            program = home / "bin" / "seekdb"
            program.write_text(f"#!/bin/sh\ntouch '{self.directory}/was-run'\n")
            program.chmod(0o755)
        server: dict[str, Any] = {
            "ip": "127.0.0.1",
            "agent_port": agent_port,
            "sql_port": free_port(),
            "home": str(home),
            "start_options": {"memory_limit": "2G"},
        }
        if ssh_port:
            server["ssh"] = {"port": ssh_port}
        self.servers.append(server)
        return f"127.0.0.1:{agent_port}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        ssh = {
            "user": self.host.user,
            "port": self.host.port,
            "key_file": str(self.host.key_file),
            "known_hosts": str(self.host.known_hosts),
            "connect_timeout_s": 2,
        }
        cluster = {
            "name": "x",
            "id": 1,
            "flavour": "seekdb",
            "root_password_file": "password",
            "ssh": ssh,
            "zones": {"z1": self.servers},
        }
        engine = {
            "api": {"port": free_port()},
            "store": {"path": "store.sqlite"},
            "cluster": "cluster.yaml",
        }
        (self.directory / "password").write_text(PASSWORD)
        (self.directory / "cluster.yaml").write_text(json.dumps(cluster))
        (self.directory / "engine.yaml").write_text(json.dumps(engine))
        config = load_config(self.directory / "engine.yaml", {})
        plant_key(self.directory / "store.key.pem")
        async with run_controller(config, [EXTENSION]) as controller:
            self.url = controller.url
            async with Client(controller.url, PASSWORD) as client:
                yield client

    async def assert_nothing_happened(self, client: Client) -> None:
        assert await client.list_dags() == []
        assert await client.list_audit() == []
        assert await client.list_locks() == []
        assert not (self.directory / "was-run").exists()
        for server in self.servers:
            assert {path.name for path in Path(server["home"]).iterdir()} == {"bin"}

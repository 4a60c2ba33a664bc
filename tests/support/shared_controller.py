"""The files of a controller of one cluster whose store is a database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dagengine.mysql import open_connection
from dagengine.server.config import load_config
from dagengine.server.controller import Controller, run_controller
from dagengine.store.mysql.settings import MysqlSettings
from tasks import EXTENSION
from tasks.demo.hosts import LOOPBACK, free_port
from tests.support.planted_key import plant_key

USER, PASSWORD = "dagengine", "st0re-p@ss"
CLUSTER = "alpha"


async def make_user(database: MysqlSettings) -> None:
    """Create the account of the controllers, with all rights on its database."""
    address = (database.host, database.port)
    async with open_connection(address, user=database.user, password=database.password) as sql:
        await sql.query(f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'")
        await sql.query(f"GRANT ALL ON {database.database}.* TO '{USER}'@'%'")


class SharedController:
    """A controller of one cluster.

    Args:
        directory: of all controllers of the service.
        name: name of this controller.
        database: its store; `make_user` has created the account.
        ssh_port: port of the only host.
        advertise: address in the generic ids, the same in all controllers of the service.

    Attributes:
        database: its store.
        cluster_file: path of the cluster file.
        url: URL of the cluster's API at this controller.
        service_url: URL of the socket of the service.
        engine: content of the engine file.
        engine_file: path of the engine file.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        database: MysqlSettings,
        *,
        ssh_port: int = 1,
        advertise: str = "127.0.0.1:2886",
        **sections: Any,
    ) -> None:
        (directory / "store.password").write_text(PASSWORD)
        (directory / "store.password").chmod(0o600)
        (directory / "known_hosts").touch()
        self.database = database
        self.cluster_file = directory / f"{name}.{CLUSTER}.yaml"
        self.cluster_file.write_text(
            f"name: {CLUSTER}\nid: 1\nflavour: seekdb\nroot_password: none\n"
            f"ssh: {{port: {ssh_port}, known_hosts: known_hosts}}\n"
            f"zones: {{z: [{{ip: {LOOPBACK}, home: /srv/{CLUSTER}, sql_port: 1}}]}}\n"
        )
        port = free_port()
        url = f"mysql://{USER}@{database.host}:{database.port}/{database.database}"
        self.url = f"http://{LOOPBACK}:{port}"
        self.service_url = f"unix:{directory / name}.sock"
        self.engine_file = directory / f"{name}.yaml"
        self.engine: dict[str, Any] = {
            "api": {"host": LOOPBACK, "key_file": "service.key.pem"},
            "store": {"url": url, "password_file": "store.password"},
            "service": {"socket": f"{name}.sock"},
            "clusters": {
                CLUSTER: {
                    "file": self.cluster_file.name,
                    "port": port,
                    "socket": f"{name}.{CLUSTER}.sock",
                    "advertise": advertise,
                }
            },
            **sections,
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Controller]:
        """Run the controller in this process."""
        self.engine_file.write_text(json.dumps(self.engine))
        plant_key(self.engine_file.with_name("service.key.pem"))
        async with run_controller(load_config(self.engine_file, {}), [EXTENSION]) as controller:
            yield controller

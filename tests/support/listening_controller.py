"""A controller with any section `api`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dagengine.server.config import load_config
from dagengine.server.controller import Controller, run_controller
from tasks import EXTENSION
from tasks.demo.hosts import free_port
from tests.support.planted_key import plant_key

PASSWORD = "r00t-p@ss"
CLUSTER = """
name: x
id: 1
flavour: seekdb
root_password_file: password
ssh: {port: 1}
zones: {z1: [{ip: 127.0.0.1, home: /srv/seekdb}]}
"""


@asynccontextmanager
async def open_controller(directory: Path, **api: Any) -> AsyncIterator[Controller]:
    """A controller with these keys of the engine file's section `api`."""
    (directory / "password").write_text(PASSWORD)
    (directory / "cluster.yaml").write_text(CLUSTER)
    port = free_port()
    section = {"host": "127.0.0.1", "port": port, "advertise": f"127.0.0.1:{port}"} | api
    engine = {"api": section, "store": {"path": "store.sqlite"}, "cluster": "cluster.yaml"}
    (directory / "engine.yaml").write_text(json.dumps(engine))
    plant_key(directory / "store.key.pem")
    async with run_controller(load_config(directory / "engine.yaml", {}), [EXTENSION]) as opened:
        yield opened

"""The runbook's way to another host: backup, two files, another address; nothing is lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import BaseModel

from dagengine import (
    DagDetail,
    Operation,
    Outcome,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.client import Client
from dagengine.errors import StoreUnavailable
from dagengine.extension import Call, Extension, ExtensionContext, Plugin, Route
from dagengine.server.config import load_config
from dagengine.server.controller import backup_controller, run_controller
from dagengine.testing import Latch, eventually
from tasks.cluster.cluster_file import ClusterFile
from tasks.demo.hosts import free_port
from tasks.flavours.select import FLAVOURS

CLUSTER = (
    "name: x\nid: 1\nflavour: seekdb\nroot_password: none\nzones: {z: [{ip: 10.0.0.1, home: /h}]}\n"
)


class Empty(BaseModel):
    """No body."""


def point(gate: Latch) -> Plugin:
    async def hold(context: StepContext) -> Outcome:
        await context.log("said before the move" if not context.resumed else "said after it")
        await gate.wait()
        return Succeeded()

    async def go(call: Call[Empty]) -> DagDetail:
        return await call.engine.submit(Submission("op"), by=call.caller)

    @asynccontextmanager
    async def opened(surroundings: ExtensionContext) -> AsyncIterator[Extension]:
        operation = Operation("op", (Stage("hold", StageKind.NORMAL, hold),))
        cluster = ClusterFile(surroundings.cluster_file, FLAVOURS)
        yield Extension([operation], [Route("POST", "/go", Empty, go)], cluster, lambda: None)

    return Plugin("test", opened)


def make_host(directory: Path) -> str:
    """The files of a controller; returns its URL."""
    directory.mkdir()
    port = free_port()
    (directory / "cluster.yaml").write_text(CLUSTER)
    (directory / "engine.yaml").write_text(
        f"api: {{port: {port}}}\nstore: {{path: s.sqlite}}\ncluster: cluster.yaml\n"
    )
    return f"http://127.0.0.1:{port}"


async def test_a_controller_is_carried_to_another_host_in_the_middle_of_its_work(
    tmp_path: Path,
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    url, gate = make_host(here), Latch()
    config = load_config(here / "engine.yaml", {})
    async with run_controller(config, [point(gate)]), Client(url, "") as client:
        dag = await client.post("/go", {})
        await gate.reached.wait()
        done = await asyncio.to_thread(
            subprocess.run,
            [
                sys.executable,
                "-m",
                "dagengine",
                "backup",
                str(tmp_path / "copy.sqlite"),
                "-c",
                str(here / "engine.yaml"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        secret = await client.get("/secret")

    url, gate = make_host(there), Latch()
    (tmp_path / "copy.sqlite").rename(there / "s.sqlite")
    (tmp_path / "copy.key.pem").rename(there / "s.key.pem")
    gate.open()
    config = load_config(there / "engine.yaml", {})
    async with run_controller(config, [point(gate)]), Client(url, "") as client:
        assert await client.get("/secret") == secret

        async def has_ended() -> bool:
            return bool((await client.get_dag(dag["id"]))["state"] == "SUCCEED")

        await eventually(has_ended, what="the end of the carried DAG")
        found = await client.get_dag(dag["id"])
        assert found["nodes"][0]["sub_tasks"][0]["task_logs"] == [
            "said before the move",
            "said after it",
        ]
        (audit,) = await client.list_audit(dag["id"])
        assert audit["action"] == "START"


async def test_a_backup_overwrites_no_key_and_leaves_nothing_when_it_has_no_key(
    tmp_path: Path,
) -> None:
    here, kept = tmp_path / "here", tmp_path / "kept"
    make_host(here)
    kept.mkdir()
    config = load_config(here / "engine.yaml", {})
    async with run_controller(config, [point(Latch())]):
        pass
    (kept / "s.key.pem").write_text("of another controller")
    with pytest.raises(StoreUnavailable, match=r"s\.key\.pem already exists"):
        backup_controller(config, kept / "s.bak")
    assert (kept / "s.key.pem").read_text() == "of another controller"
    assert [file.name for file in kept.iterdir()] == ["s.key.pem"]

    with pytest.raises(StoreUnavailable, match=r"s\.key\.pem already exists"):
        backup_controller(config, here / "s.bak")  # beside the store: the key would be its very own

    (here / "s.key.pem").unlink()
    (here / "s.key.pem").mkdir()  # cannot be read, whoever asks
    with pytest.raises(StoreUnavailable, match="cannot be copied"):
        backup_controller(config, kept / "t.bak")
    assert [file.name for file in kept.iterdir()] == ["s.key.pem"]

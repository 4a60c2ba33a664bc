"""The move to another host according to the runbook: backup, two files, another address."""

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
from dagengine.cli import main
from dagengine.cli.views.tables import render_audit
from dagengine.client import Client
from dagengine.errors import StoreUnavailable
from dagengine.extension import (
    Call,
    ExitCode,
    Extension,
    ExtensionContext,
    Plugin,
    Route,
    read_fencing_token,
)
from dagengine.server.config import load_config
from dagengine.server.controller import run_controller
from dagengine.server.local_store import backup_controller
from dagengine.testing import Latch, eventually
from tasks.cluster.cluster_file import ClusterFile
from tasks.demo.hosts import free_port
from tasks.flavours.select import FLAVOURS

CLUSTER = (
    "name: x\nid: 1\nflavour: seekdb\nroot_password: none\nzones: {z: [{ip: 10.0.0.1, home: /h}]}\n"
)


class EmptyBody(BaseModel):
    """No body."""


def make_plugin(latch: Latch) -> Plugin:
    async def hold(context: StepContext) -> Outcome:
        await context.log("before the move" if not context.resumed else "after the move")
        await latch.wait()
        return Succeeded()

    async def submit_operation(call: Call[EmptyBody]) -> DagDetail:
        return await call.engine.submit(Submission("op"), by=str(call.caller))

    @asynccontextmanager
    async def open_extension(surroundings: ExtensionContext) -> AsyncIterator[Extension]:
        operation = Operation("op", (Stage("hold", StageKind.NORMAL, hold),))
        cluster = ClusterFile(surroundings.cluster_file, FLAVOURS)
        yield Extension(
            [operation], [Route("POST", "/go", EmptyBody, submit_operation)], cluster, lambda: None
        )

    return Plugin("test", open_extension)


def make_host(directory: Path) -> str:
    """The files of a controller; returns its URL."""
    directory.mkdir()
    port = free_port()
    (directory / "cluster.yaml").write_text(CLUSTER)
    (directory / "engine.yaml").write_text(
        f"api: {{port: {port}}}\nstore: {{path: s.sqlite}}\ncluster: cluster.yaml\n"
    )
    return f"http://127.0.0.1:{port}"


async def test_backup_restored_on_other_host_resumes_dag(
    tmp_path: Path,
) -> None:
    source_host, target_host = tmp_path / "here", tmp_path / "there"
    url, latch = make_host(source_host), Latch()
    config = load_config(source_host / "engine.yaml", {})
    async with run_controller(config, [make_plugin(latch)]), Client(url, "") as client:
        dag = await client.post("/go", {})
        await latch.reached.wait()
        done = await asyncio.to_thread(
            subprocess.run,
            [
                sys.executable,
                "-m",
                "dagengine",
                "backup",
                str(tmp_path / "copy.sqlite"),
                "-c",
                str(source_host / "engine.yaml"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        secret = await client.get("/secret")

    url, latch = make_host(target_host), Latch()
    (tmp_path / "copy.sqlite").rename(target_host / "s.sqlite")
    (tmp_path / "copy.key.pem").rename(target_host / "s.key.pem")
    latch.open()
    config = load_config(target_host / "engine.yaml", {})
    async with run_controller(config, [make_plugin(latch)]), Client(url, "") as client:
        assert await client.get("/secret") == secret

        async def has_ended() -> bool:
            return bool((await client.get_dag(dag["id"]))["state"] == "SUCCEED")

        await eventually(has_ended, what="the end of the carried DAG")
        ended_dag = await client.get_dag(dag["id"])
        assert ended_dag["nodes"][0]["sub_tasks"][0]["task_logs"] == [
            "before the move",
            "after the move",
        ]
        (audit,) = await client.list_audit(dag["id"])
        assert audit["action"] == "START"


async def test_store_new_epoch_needs_stopped_controller(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = make_host(tmp_path / "here")
    engine_file = tmp_path / "here" / "engine.yaml"
    words = ["store", "new-epoch", "-c", str(engine_file)]
    assert await asyncio.to_thread(main, words) == ExitCode.USAGE
    assert "s.sqlite does not exist" in capsys.readouterr().err
    config = load_config(engine_file, {})
    async with run_controller(config, [make_plugin(Latch())]):
        assert await asyncio.to_thread(main, words) == ExitCode.USAGE
        assert "is in use by pid" in capsys.readouterr().err
        before = read_fencing_token(config.find_cluster(None))
    assert await asyncio.to_thread(main, words) == ExitCode.DONE
    after = read_fencing_token(config.find_cluster(None))
    assert (after.store_id, before.epoch) == (before.store_id, 1)
    assert after.epoch > 1_700_000_000
    assert f"the epoch is now {after.epoch} (was 1)" in capsys.readouterr().out
    at_least = 4_000_000_000  # of a host that a wrong clock has reached
    words += ["--at-least", str(at_least)]
    assert await asyncio.to_thread(main, words) == ExitCode.DONE
    assert read_fencing_token(config.find_cluster(None)).epoch == at_least
    assert await asyncio.to_thread(main, [*words[:-1], str(10**18)]) == ExitCode.USAGE
    capsys.readouterr()
    async with run_controller(config, [make_plugin(Latch())]), Client(url, "") as client:
        row, _ = await client.list_audit()
    assert (row["action"], row["dag_id"], row["node_id"]) == ("NEW_EPOCH", None, None)
    (line,) = render_audit([row], {})
    assert "  NEW_EPOCH  by " in line
    assert "None" not in line


async def test_backup_existing_or_missing_key_writes_nothing(
    tmp_path: Path,
) -> None:
    source_host, backup_dir = tmp_path / "here", tmp_path / "kept"
    make_host(source_host)
    backup_dir.mkdir()
    config = load_config(source_host / "engine.yaml", {})
    async with run_controller(config, [make_plugin(Latch())]):
        pass
    (backup_dir / "s.key.pem").write_text("of another controller")
    with pytest.raises(StoreUnavailable, match=r"s\.key\.pem already exists"):
        backup_controller(config.find_cluster(None), backup_dir / "s.bak")
    assert (backup_dir / "s.key.pem").read_text() == "of another controller"
    assert [file.name for file in backup_dir.iterdir()] == ["s.key.pem"]

    with pytest.raises(StoreUnavailable, match=r"s\.key\.pem already exists"):
        backup_controller(
            config.find_cluster(None), source_host / "s.bak"
        )  # beside the store: the key would be its very own

    (source_host / "s.key.pem").unlink()
    (source_host / "s.key.pem").mkdir()  # cannot be read, even by root
    with pytest.raises(StoreUnavailable, match="cannot be copied"):
        backup_controller(config.find_cluster(None), backup_dir / "t.bak")
    assert [file.name for file in backup_dir.iterdir()] == ["s.key.pem"]

"""A server that an earlier task left without a proof of its end, on the way to its next start."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

from dagengine import (
    Engine,
    Operation,
    Operator,
    Outcome,
    SqliteStore,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.testing import Latch, LocalRunner, eventually
from tasks.cluster.cluster_file import Server, load_cluster
from tasks.flavours.select import FLAVOURS
from tasks.operations.unconfirmed import resolve_unconfirmed


def server_at(directory: Path) -> Server:
    home = directory / "home"
    home.mkdir()
    file = directory / "cluster.yaml"
    file.write_text(
        f"name: c\nid: 1\nflavour: seekdb\nzones: {{z: [{{ip: 127.0.0.1, home: {home}}}]}}\n"
    )
    return load_cluster(file, FLAVOURS).servers[0]


async def test_a_start_waits_until_nothing_of_the_earlier_task_runs_on(tmp_path: Path) -> None:
    server, gate = server_at(tmp_path), Latch()

    async def hang(context: StepContext) -> Outcome:
        await gate.wait()
        return Succeeded()

    async def is_proven(context: StepContext) -> bool:
        return False

    async def look(context: StepContext) -> Outcome:
        return await resolve_unconfirmed(context, server, LocalRunner()) or Succeeded()

    lane = StageKind.PARALLEL
    operations = [
        Operation("hang", (Stage("start it", lane, hang, confirm_stopped=is_proven),)),
        Operation("look", (Stage("look", lane, look),)),
    ]
    store = SqliteStore(tmp_path / "store.sqlite")
    async with asyncio.timeout(60), Engine(store=store, operations=operations) as engine:
        left = (await engine.submit(Submission("hang", (server.name,)))).dag.dag_id
        await gate.reached.wait()
        await engine.operate_dag(left, Operator.CANCEL)
        await engine.wait(left)
        home = os.open(server.home, os.O_RDONLY)
        fcntl.flock(home, fcntl.LOCK_EX)  # as a start script that was left behind does
        looking = (await engine.submit(Submission("look", (server.name,)))).dag.dag_id

        async def waits() -> bool:
            found = await engine.find_dag(looking)
            assert found is not None
            assert found.nodes is not None
            (task,) = found.nodes[0].sub_tasks
            return task.wait is not None and task.wait.kind == "proof"

        await eventually(waits, what="the wait for the proof")
        os.close(home)
        done = await engine.wait(looking)
        assert done.nodes is not None
        (line,) = done.nodes[0].sub_tasks[0].logs
        assert engine.generic_id(left) in line.content
        again = await engine.wait(
            (await engine.submit(Submission("look", (server.name,)))).dag.dag_id
        )
        assert again.nodes is not None
        assert again.nodes[0].sub_tasks[0].logs == ()

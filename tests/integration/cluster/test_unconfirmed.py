"""The next start of a server whose end was not confirmed by an earlier task."""

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
from tasks.cluster.cluster_file import load_cluster
from tasks.cluster.servers import Server
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


async def test_resolve_unconfirmed_waits_for_end_of_earlier_task(tmp_path: Path) -> None:
    server, latch = server_at(tmp_path), Latch()

    async def hang(context: StepContext) -> Outcome:
        await latch.wait()
        return Succeeded()

    async def never_confirmed(context: StepContext) -> bool:
        return False

    async def resolve(context: StepContext) -> Outcome:
        return await resolve_unconfirmed(context, server, LocalRunner()) or Succeeded()

    lane = StageKind.PARALLEL
    operations = [
        Operation("hang", (Stage("start it", lane, hang, confirm_stopped=never_confirmed),)),
        Operation("look", (Stage("look", lane, resolve),)),
    ]
    store = SqliteStore(tmp_path / "store.sqlite")
    async with asyncio.timeout(60), Engine(store=store, operations=operations) as engine:
        cancelled_id = (await engine.submit(Submission("hang", (server.name,)))).dag.dag_id
        await latch.reached.wait()
        await engine.operate_dag(cancelled_id, Operator.CANCEL)
        await engine.wait(cancelled_id)
        home = os.open(server.home, os.O_RDONLY)
        fcntl.flock(home, fcntl.LOCK_EX)  # as a start script that was left behind does
        resolving_id = (await engine.submit(Submission("look", (server.name,)))).dag.dag_id

        async def waits() -> bool:
            detail = await engine.find_dag(resolving_id)
            assert detail is not None
            assert detail.nodes is not None
            (task,) = detail.nodes[0].sub_tasks
            return task.wait is not None and task.wait.kind == "proof"

        await eventually(waits, what="the wait for the proof")
        os.close(home)
        done = await engine.wait(resolving_id)
        assert done.nodes is not None
        (line,) = done.nodes[0].sub_tasks[0].logs
        assert engine.generic_id(cancelled_id) in line.content
        repeated = await engine.wait(
            (await engine.submit(Submission("look", (server.name,)))).dag.dag_id
        )
        assert repeated.nodes is not None
        assert repeated.nodes[0].sub_tasks[0].logs == ()

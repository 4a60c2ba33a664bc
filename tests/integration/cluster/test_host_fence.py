"""Fencing tokens of real engines and stores on a real home."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from dagengine import (
    AuditRecord,
    DagDetail,
    Engine,
    Failed,
    FencingToken,
    Operation,
    Outcome,
    SqliteStore,
    Stage,
    StageKind,
    State,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.store.sqlite.backup import backup_store
from dagengine.store.sqlite.identity import renew_epoch
from dagengine.testing import Latch, LocalRunner
from tasks.cluster.servers import Server
from tasks.hosts.fence import FENCE_FILE, FenceRecord, parse_fence
from tasks.operations.host_fence import adopt_attempt, find_rejection, probe_home
from tests.support.factories import make_server

AUDIT = AuditRecord(0, datetime(2026, 1, 1, tzinfo=UTC), 0, None, "NEW_EPOCH", "x", "")


def read_fence(server: Server) -> FencingToken:
    text = Path(server.home, FENCE_FILE).read_text()
    record = parse_fence({"fence": [text.removeprefix("1 ").removesuffix("\n")]}).record
    assert isinstance(record, FenceRecord)
    return record.token


def operation_on(server: Server, latch: Latch | None = None) -> Operation:
    """Return an operation that takes the lock and probes the home, as the real ones do."""

    async def lock(context: StepContext) -> Outcome:
        await context.acquire_lock()
        return Succeeded()

    async def act(context: StepContext) -> Outcome:
        if (refusal := await adopt_attempt(context, server, LocalRunner())) is not None:
            return refusal
        if latch is not None and not context.resumed:
            await latch.wait()
        report = await probe_home(context, server, LocalRunner())
        problem = find_rejection(report, context.fencing_token, server)
        if problem is None:
            return Succeeded()
        return Failed(problem)

    stages = (Stage("lock", StageKind.NORMAL, lock), Stage("act", StageKind.PARALLEL, act))
    return Operation("op", stages, lock_key="cluster", takes_lock="lock")


@asynccontextmanager
async def running(path: Path, operation: Operation, name: str = "ctl-a") -> AsyncIterator[Engine]:
    store = SqliteStore(path)
    async with (
        asyncio.timeout(60),
        Engine(store=store, operations=[operation], controller_name=name) as engine,
    ):
        yield engine


async def run_once(engine: Engine, server: Server) -> DagDetail:
    dag_id = (await engine.submit(Submission("op", (server.name,)))).dag.dag_id
    return await engine.wait(dag_id)


async def test_engine_gives_each_dag_a_larger_token(tmp_path: Path) -> None:
    server, path = make_server(home=str(tmp_path)), tmp_path / "store.sqlite"
    async with running(path, operation_on(server)) as engine:
        for expected in (1, 2):
            token = engine.next_fencing_token("cluster")
            assert (await run_once(engine, server)).dag.state is State.SUCCEED
            assert read_fence(server) == token
            assert (token.epoch, token.lock_token, token.controller) == (1, expected, "ctl-a")


async def test_resumed_attempt_records_token_before_it_acts(tmp_path: Path) -> None:
    server, path, latch = make_server(home=str(tmp_path)), tmp_path / "store.sqlite", Latch()
    async with running(path, operation_on(server, latch)) as engine:
        dag_id = (await engine.submit(Submission("op", (server.name,)))).dag.dag_id
        await latch.reached.wait()
        assert not Path(server.home, FENCE_FILE).exists()
    async with running(path, operation_on(server)) as engine:
        assert (await engine.wait(dag_id)).dag.state is State.SUCCEED
    assert read_fence(server).lock_token == 1


async def test_restored_store_is_stale_until_new_epoch(tmp_path: Path) -> None:
    """Afterwards the controller of the original, which was frozen, is the stale one."""
    server = make_server(home=str(tmp_path))
    original, copy = tmp_path / "store.sqlite", tmp_path / "copy.sqlite"
    operation = operation_on(server)
    async with running(original, operation) as frozen:
        assert (await run_once(frozen, server)).dag.state is State.SUCCEED
        backup_store(original, copy)
        for _ in range(2):
            assert (await run_once(frozen, server)).dag.state is State.SUCCEED
        async with running(copy, operation, "ctl-b") as engine:
            dag = await run_once(engine, server)
            assert dag.dag.state is State.FAILED
            assert dag.nodes is not None
            (line,) = dag.nodes[1].sub_tasks[0].logs
            assert "newer token (epoch 1, lock token 3) by controller ctl-a" in line.content
            assert "dagengine store new-epoch" in line.content
        renew_epoch(copy, AUDIT)
        async with running(copy, operation, "ctl-b") as engine:
            assert (await run_once(engine, server)).dag.state is State.SUCCEED
        assert (await run_once(frozen, server)).dag.state is State.FAILED
    token = read_fence(server)
    assert (token.epoch, token.lock_token, token.controller) == (1_767_225_600, 3, "ctl-b")


async def test_second_store_on_one_home_is_foreign(tmp_path: Path) -> None:
    server = make_server(home=str(tmp_path))
    operation = operation_on(server)
    async with running(tmp_path / "a.sqlite", operation) as engine:
        assert (await run_once(engine, server)).dag.state is State.SUCCEED
    first = read_fence(server)
    async with running(tmp_path / "b.sqlite", operation) as engine:
        dag = await run_once(engine, server)
        assert dag.nodes is not None
        (line,) = dag.nodes[1].sub_tasks[0].logs
        assert f"store {first.store_id[:8]}…, controller ctl-a, at 2" in line.content
    assert read_fence(server) == first

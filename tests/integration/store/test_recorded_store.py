"""A store of version 6 with unfinished DAGs: recovery, and responses like those recorded then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dagengine import DagDetail, IdempotencyKey, Operator, State, Submission
from dagengine.errors import IdempotencyKeyReused
from dagengine.testing import eventually
from tests.fixtures.recorded_dags import (
    LINES,
    OPENED_AT,
    A,
    B,
    C,
    Steps,
    fetch,
    fetch_events,
    open_recorded,
)
from tests.fixtures.stores import version_of, write_store
from tests.support.api_controller import PASSWORD, ApiController

# Log lines that recovery writes have other texts since then: DAG, text as recorded, text now.
REWORDED = (
    (26, "look at the server, then RETRY", "check the server, then RETRY"),
    (
        27,
        "no operation 'Removed operation' is registered here",
        "operation 'Removed operation' is not registered in this engine",
    ),
)


def read_recorded() -> dict[str, Any]:
    file = Path(__file__).parents[2] / "fixtures" / "api_d8f0381.json"
    recorded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    for dag_id, old, new in REWORDED:
        (path,) = [path for path in recorded["responses"] if f"{dag_id}?show_details=true" in path]
        text = json.dumps(recorded["responses"][path])
        assert old in text
        recorded["responses"][path] = json.loads(text.replace(old, new))
    return recorded


RECORDED = read_recorded()


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest_asyncio.fixture
async def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: Steps
) -> AsyncIterator[ApiController]:
    """The recorded store, upgraded and opened, once the same steps hang as in the recording."""
    monkeypatch.setenv("WIRE_PASSWORD", PASSWORD)
    path = write_store(tmp_path / "recorded.sqlite")
    async with open_recorded(path, tmp_path, steps) as opened:

        async def is_settled() -> bool:
            fragile, removed = [await detail_of(opened, dag_id) for dag_id in (26, 27)]
            have_ended = fragile.dag.state.is_final and removed.dag.state.is_final
            return have_ended and sorted(steps.hanging) == RECORDED["hanging"]

        await eventually(is_settled, what="the recorded steps that hang")
        yield opened
    assert version_of(path) == 7


async def detail_of(world: ApiController, dag_id: int) -> DagDetail:
    detail = await world.engine.find_dag(dag_id, details=True)
    assert detail is not None
    return detail


def end_of(detail: DagDetail) -> tuple[State, Operator, int]:
    return detail.dag.state, detail.dag.operator, detail.dag.stage


async def outcomes_of(
    world: ApiController, dag_id: int, stage: int, target: str | None
) -> list[str]:
    detail = await detail_of(world, dag_id)
    assert detail.nodes is not None
    (task,) = [t for t in detail.nodes[stage - 1].sub_tasks if t.sub_task.target == target]
    attempts = await world.engine.find_attempts(task.sub_task.sub_task_id)
    return [str(attempt.outcome) for attempt in attempts]


# --- the API -------------------------------------------------------------------------------------


async def test_api_of_upgraded_store_responds_as_recorded(world: ApiController) -> None:
    responses: dict[str, Any] = RECORDED["responses"]
    different = [path for path in responses if await fetch(world, path) != responses[path]]
    assert different == []
    # The order of the keys is part of the responses, too.
    for path in ("/locks", "/task/dag/unfinish?show_details=true"):
        assert json.dumps(await fetch(world, path)) == json.dumps(responses[path])


async def test_event_streams_of_upgraded_store_are_as_recorded(world: ApiController) -> None:
    for dag_id, lines in RECORDED["events"].items():
        assert await fetch_events(world, dag_id) == lines


async def test_wait_of_upgraded_store_keeps_its_keys(world: ApiController) -> None:
    response = await fetch(world, f"/task/dag/{world.engine.generic_id(23)}")
    wait = response["additional_data"]["wait"][B]
    assert list(wait) == ["deadline", "kind", "last", "next", "on", "since"]
    assert (wait["kind"], wait["on"], wait["last"]) == ("sql", f"{B} 2881", "refused → abgelehnt")


async def test_log_lines_of_upgraded_store_are_unchanged(world: ApiController) -> None:
    detail = await detail_of(world, 19)
    assert detail.nodes is not None
    logs = detail.nodes[0].sub_tasks[0].logs
    assert tuple(line.content for line in logs) == LINES


# --- recovery ------------------------------------------------------------------------------------


async def test_recovery_of_upgraded_store_ends_every_dag(
    world: ApiController, steps: Steps
) -> None:
    steps.released.set()
    async with asyncio.timeout(20):
        ends = {n: end_of(await world.engine.wait(n)) for n in range(20, 29)}
    assert ends == {
        20: (State.SUCCEED, Operator.PASS, 3),
        21: (State.FAILED, Operator.RUN, 1),
        22: (State.SUCCEED, Operator.RUN, 4),
        23: (State.FAILED, Operator.RUN, 2),
        24: (State.SUCCEED, Operator.RUN, 2),
        25: (State.SUCCEED, Operator.ROLLBACK, 1),
        26: (State.FAILED, Operator.RUN, 1),
        27: (State.FAILED, Operator.RUN, 1),
        28: (State.SUCCEED, Operator.RUN, 2),
    }
    assert await world.engine.list_unfinished(details=False) == ()
    assert world.engine.holders() == ()


async def test_recovery_of_upgraded_store_closes_attempts(
    world: ApiController, steps: Steps
) -> None:
    steps.released.set()
    async with asyncio.timeout(20):
        for dag_id in range(20, 29):
            await world.engine.wait(dag_id)
    assert await outcomes_of(world, 20, 3, A) == ["Interrupted", "Cancelled"]
    assert await outcomes_of(world, 23, 3, B) == ["Interrupted", "Succeeded"]
    assert await outcomes_of(world, 24, 1, None) == ["Interrupted", "Succeeded"]
    assert await outcomes_of(world, 26, 1, A) == ["ResultUnknown"]
    assert await outcomes_of(world, 27, 1, B) == ["ResultUnknown"]
    assert await outcomes_of(world, 28, 1, None) == ["Succeeded"]


async def test_lock_of_upgraded_store_goes_to_its_successor(
    world: ApiController, steps: Steps
) -> None:
    holder = world.engine.holder("cluster")
    assert holder is not None
    assert (holder.dag_id, holder.token) == (20, 20)
    before = await detail_of(world, 20)
    assert (before.dag.lock_token, before.dag.last_lock_token, before.dag.lock_successor_id) == (
        20,
        20,
        22,
    )
    steps.released.set()
    async with asyncio.timeout(20):
        successor = await world.engine.wait(22)
        passed = await world.engine.wait(20)
    assert (
        successor.dag.lock_token,
        successor.dag.last_lock_token,
        successor.dag.lock_successor_id,
    ) == (
        0,
        21,
        None,
    )
    assert (passed.dag.lock_token, passed.dag.last_lock_token, passed.dag.lock_successor_id) == (
        0,
        20,
        None,
    )
    actions = [row.action for row in await world.engine.list_audit(20)]
    assert actions.count("FORCE_PASS") == 1


@pytest.mark.parametrize("operator", [Operator.RETRY, Operator.ROLLBACK])
async def test_failed_dag_of_upgraded_store_is_operated(
    world: ApiController, steps: Steps, operator: Operator
) -> None:
    steps.released.set()
    async with asyncio.timeout(20):
        await world.engine.wait(23)
        await world.engine.operate_dag(23, operator, by="test")
        ended = await world.engine.wait(23)
    expected_state = State.SUCCEED if operator is Operator.ROLLBACK else State.FAILED
    assert (ended.dag.state, ended.dag.last_lock_token) == (expected_state, 2)


# --- unconfirmed targets, keys, requests ---------------------------------------------------------


async def test_unconfirmed_target_of_upgraded_store_is_resolved(
    tmp_path: Path, world: ApiController, steps: Steps
) -> None:
    records = {mark.target: mark for mark in await world.engine_store.load_unconfirmed()}
    assert sorted(records) == [A, B, C]
    assert (records[C].dag_id, records[C].stage) == (11, "Start")
    assert (records[A].dag_id, records[A].stage) == (26, "Break")
    steps.resolves = True
    steps.released.set()
    async with asyncio.timeout(20):
        for dag_id in (22, 23):
            await world.engine.wait(dag_id)
        accepted = await world.engine.submit(Submission("Start OB", (A, B, C)))
        await world.engine.wait(accepted.dag.dag_id)
    assert (accepted.dag.dag_id, accepted.dag.created_at) == (29, OPENED_AT)
    assert await world.engine_store.load_unconfirmed() == ()


async def test_idempotency_key_of_upgraded_store_names_its_dag(world: ApiController) -> None:
    text = "probe key"
    submission = Submission("Probe")
    existing = await world.engine.submit(submission, key=IdempotencyKey(text, text[::-1] * 2))
    assert existing.dag.dag_id == 19
    with pytest.raises(IdempotencyKeyReused):
        await world.engine.submit(submission, key=IdempotencyKey(text, "another"))


async def test_reserved_requests_of_upgraded_store_are_kept(world: ApiController) -> None:
    reserved = dict(await world.engine_store.load_reserved())
    assert set(reserved) == {b"\x01" * 32, bytes(range(32)), b"\xff" * 32}
    assert (reserved[b"\xff" * 32] - reserved[b"\x01" * 32]).total_seconds() == 3600


async def test_recovery_of_upgraded_store_continues_after_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart during the recovery continues it."""
    monkeypatch.setenv("WIRE_PASSWORD", PASSWORD)
    path = write_store(tmp_path / "recorded.sqlite")
    for count in (1, 2):
        steps = Steps()
        async with open_recorded(path, tmp_path, steps) as world:

            async def is_settled(steps: Steps = steps) -> bool:
                return sorted(steps.hanging) == RECORDED["hanging"]

            await eventually(is_settled, what="the recorded steps that hang")
            assert (await outcomes_of(world, 24, 1, None))[:count] == ["Interrupted"] * count
            holder = world.engine.holder("cluster")
            assert holder is not None
            assert holder.dag_id == 20

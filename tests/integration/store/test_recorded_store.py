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
from dagengine.store.sqlite.migrate import newest_version
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
    (26, "look at the server, then RETRY", "check what the step has done, then RETRY"),
    (
        27,
        "no operation 'Removed operation' is registered here",
        "operation 'Removed operation' is not registered in this engine",
    ),
)

# Lists that have other contents since then: DAGs appear in the lists of the agent only, and
# entries of maintain/agents name their main DAG.
CHANGED = {
    "/task/dag/ob/unfinish?show_details=false",
    "/task/dag/maintain/agents?show_details=false",
    "/task/dag/agent/main_dags",
    "/task/dags/ob?show_details=false",
}


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
async def controller(
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
    assert version_of(path) == newest_version()


async def detail_of(controller: ApiController, dag_id: int) -> DagDetail:
    detail = await controller.engine.find_dag(dag_id, details=True)
    assert detail is not None
    return detail


def end_of(detail: DagDetail) -> tuple[State, Operator, int]:
    return detail.dag.state, detail.dag.operator, detail.dag.stage


async def outcomes_of(
    controller: ApiController, dag_id: int, stage: int, target: str | None
) -> list[str]:
    detail = await detail_of(controller, dag_id)
    assert detail.nodes is not None
    (task,) = [t for t in detail.nodes[stage - 1].sub_tasks if t.sub_task.target == target]
    attempts = await controller.engine.find_attempts(task.sub_task.sub_task_id)
    return [str(attempt.outcome) for attempt in attempts]


# --- the API -------------------------------------------------------------------------------------


async def test_api_of_upgraded_store_responds_as_recorded(controller: ApiController) -> None:
    responses: dict[str, Any] = RECORDED["responses"]
    different = {path for path in responses if await fetch(controller, path) != responses[path]}
    assert different == CHANGED
    # The order of the keys is part of the responses, too.
    for path in ("/locks", "/task/dag/unfinish?show_details=true"):
        assert json.dumps(await fetch(controller, path)) == json.dumps(responses[path])


async def test_event_streams_of_upgraded_store_are_as_recorded(controller: ApiController) -> None:
    for dag_id, lines in RECORDED["events"].items():
        assert list(map(content_of, await fetch_events(controller, dag_id))) == [
            content_of(line) for line in lines
        ]


def content_of(line: str) -> str:
    """Return a line of an event stream without the escapes of JSON."""
    field, separator, data = line.partition(": ")
    if field != "data":
        return line
    return f"{field}{separator}{json.dumps(json.loads(data), ensure_ascii=False)}"


async def test_wait_of_upgraded_store_keeps_its_keys(controller: ApiController) -> None:
    response = await fetch(controller, f"/task/dag/{controller.engine.generic_id(23)}")
    wait = response["additional_data"]["wait"][B]
    assert list(wait) == ["deadline", "kind", "last", "next", "on", "since"]
    assert (wait["kind"], wait["on"], wait["last"]) == ("sql", f"{B} 2881", "refused → abgelehnt")


async def test_log_lines_of_upgraded_store_are_unchanged(controller: ApiController) -> None:
    detail = await detail_of(controller, 19)
    assert detail.nodes is not None
    logs = detail.nodes[0].sub_tasks[0].logs
    assert tuple(line.content for line in logs) == LINES


# --- recovery ------------------------------------------------------------------------------------


async def test_recovery_of_upgraded_store_ends_every_dag(
    controller: ApiController, steps: Steps
) -> None:
    steps.released.set()
    async with asyncio.timeout(20):
        ends = {n: end_of(await controller.engine.wait(n)) for n in range(20, 29)}
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
    assert await controller.engine.list_unfinished(details=False) == ()
    assert controller.engine.holders() == ()


async def test_recovery_of_upgraded_store_closes_attempts(
    controller: ApiController, steps: Steps
) -> None:
    steps.released.set()
    async with asyncio.timeout(20):
        for dag_id in range(20, 29):
            await controller.engine.wait(dag_id)
    assert await outcomes_of(controller, 20, 3, A) == ["Interrupted", "Cancelled"]
    assert await outcomes_of(controller, 23, 3, B) == ["Interrupted", "Succeeded"]
    assert await outcomes_of(controller, 24, 1, None) == ["Interrupted", "Succeeded"]
    assert await outcomes_of(controller, 26, 1, A) == ["ResultUnknown"]
    assert await outcomes_of(controller, 27, 1, B) == ["ResultUnknown"]
    assert await outcomes_of(controller, 28, 1, None) == ["Succeeded"]


def lock_fields(detail: DagDetail) -> tuple[int, int, int | None]:
    dag = detail.dag
    return dag.lock_token, dag.last_lock_token, dag.lock_successor_id


async def test_lock_of_upgraded_store_goes_to_its_successor(
    controller: ApiController, steps: Steps
) -> None:
    holder = controller.engine.holder("cluster")
    assert holder is not None
    assert (holder.dag_id, holder.token) == (20, 20)
    before = await detail_of(controller, 20)
    assert lock_fields(before) == (20, 20, 22)
    steps.released.set()
    async with asyncio.timeout(20):
        successor = await controller.engine.wait(22)
        passed = await controller.engine.wait(20)
    assert lock_fields(successor) == (0, 21, None)
    assert lock_fields(passed) == (0, 20, None)
    actions = [row.action for row in await controller.engine.list_audit(20)]
    assert actions.count("FORCE_PASS") == 1


@pytest.mark.parametrize("operator", [Operator.RETRY, Operator.ROLLBACK])
async def test_failed_dag_of_upgraded_store_is_operated(
    controller: ApiController, steps: Steps, operator: Operator
) -> None:
    steps.released.set()
    async with asyncio.timeout(20):
        await controller.engine.wait(23)
        await controller.engine.operate_dag(23, operator, by="test")
        ended = await controller.engine.wait(23)
    expected_state = State.SUCCEED if operator is Operator.ROLLBACK else State.FAILED
    assert (ended.dag.state, ended.dag.last_lock_token) == (expected_state, 2)


# --- unconfirmed targets, keys, requests ---------------------------------------------------------


async def test_unconfirmed_target_of_upgraded_store_is_resolved(
    tmp_path: Path, controller: ApiController, steps: Steps
) -> None:
    records = {mark.target: mark for mark in await controller.engine_store.load_unconfirmed()}
    assert sorted(records) == [A, B, C]
    assert (records[C].dag_id, records[C].stage) == (11, "Start")
    assert (records[A].dag_id, records[A].stage) == (26, "Break")
    steps.resolves = True
    steps.released.set()
    async with asyncio.timeout(20):
        for dag_id in (22, 23):
            await controller.engine.wait(dag_id)
        accepted = await controller.engine.submit(Submission("Start OB", (A, B, C)))
        await controller.engine.wait(accepted.dag.dag_id)
    assert (accepted.dag.dag_id, accepted.dag.created_at) == (29, OPENED_AT)
    assert await controller.engine_store.load_unconfirmed() == ()


async def test_idempotency_key_of_upgraded_store_names_its_dag(controller: ApiController) -> None:
    text = "probe key"
    submission = Submission("Probe")
    existing = await controller.engine.submit(submission, key=IdempotencyKey(text, text[::-1] * 2))
    assert existing.dag.dag_id == 19
    with pytest.raises(IdempotencyKeyReused):
        await controller.engine.submit(submission, key=IdempotencyKey(text, "another"))


async def test_reserved_requests_of_upgraded_store_are_kept(controller: ApiController) -> None:
    reserved = dict(await controller.engine_store.load_reserved())
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
        async with open_recorded(path, tmp_path, steps) as controller:

            async def is_settled(steps: Steps = steps) -> bool:
                return sorted(steps.hanging) == RECORDED["hanging"]

            await eventually(is_settled, what="the recorded steps that hang")
            assert (await outcomes_of(controller, 24, 1, None))[:count] == ["Interrupted"] * count
            holder = controller.engine.holder("cluster")
            assert holder is not None
            assert holder.dag_id == 20

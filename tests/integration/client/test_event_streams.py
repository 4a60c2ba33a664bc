"""Events of a DAG over HTTP, for one follower or many."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from dagengine.api import event_streams
from dagengine.api.handlers import events as events_handler
from dagengine.client import Client, StreamEvent
from dagengine.client.signing import load_key, sign
from dagengine.errors import ApiRefused, ControllerUnreachable
from dagengine.testing import Latch
from tests.support.event_controller import EventController, collect
from tests.support.fake_cluster import PASSWORD

# --- what comes ------------------------------------------------------------------------------


async def test_event_stream_delivers_every_event_once_in_order(
    running_controller: EventController, client: Client
) -> None:
    dag_id, events = await running_controller.run_to_end(client)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert {event.kind for event in events} == {"dag", "node", "sub_task", "line"}
    first, last = events[0], events[-1]
    assert (first.kind, first.data["state"], first.data["id"]) == ("dag", "READY", dag_id)
    assert (last.kind, last.data["state"]) == ("dag", "SUCCEED")
    path = [
        event.data["state"]
        for event in events
        if event.kind == "sub_task" and event.data["execute_agent"]["port"] == 2887
    ]
    assert path == ["RUNNING", "SUCCEED"]
    lines = [event.data for event in events if event.kind == "line"]
    assert [line["log_content"] for line in lines] == ["inspected"] * 2
    assert {line["name"] for line in lines} == {"Look"}


async def test_event_stream_events_have_documented_fields(
    running_controller: EventController, client: Client
) -> None:
    dag_id, events = await running_controller.run_to_end(client)
    dag = await client.get_dag(dag_id)
    fields = {event.kind: list(event.data) for event in events}
    common = ["seq", "time", "id", "name", "stage"]
    assert fields == {
        "dag": [*common, "max_stage", "state", "operator"],
        "node": [*common, "state", "operator"],
        "sub_task": [
            *(*common, "execute_agent", "state", "operator"),
            *("execute_times", "attempt_no"),
        ],
        "line": [*common, "execute_agent", "execute_times", "attempt_no", "log_content"],
    }
    last: dict[str, Any] = {event.data["id"]: event.data for event in events}
    for node in dag["nodes"]:
        # The numbers of DAGs, nodes and sub-tasks overlap, so their texts may.
        ended = [e.data for e in events if e.kind == "node" and e.data["id"] == node["id"]][-1]
        assert (ended["state"], ended["time"]) == (node["state"], node["end_time"])
    assert last


async def test_event_stream_ends_with_end_event(
    running_controller: EventController, client: Client
) -> None:
    dag_id, events = await running_controller.run_to_end(client)
    async with running_controller.open_stream(dag_id) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        text = (await response.read()).decode()
    frames = text.strip().split("\n\n")
    assert frames[0].startswith('id: 1\nevent: dag\ndata: {"seq":1,"time":"')
    assert frames[-1] == f'event: end\ndata: {{"seq":{len(events)}}}'
    assert len(frames) == len(events) + 1


async def test_event_stream_delivers_events_while_dag_runs(
    running_controller: EventController, client: Client
) -> None:
    running_controller.latch = Latch()
    dag_id = (await client.start("GLOBAL"))["id"]
    received: list[StreamEvent] = []
    async with asyncio.timeout(30), aclosing(client.follow(dag_id)) as events:
        async for event in events:
            received.append(event)
            if (
                sum(event.kind == "line" for event in received) == 2
                and running_controller.latch is not None
            ):
                assert (await client.get_dag(dag_id))["state"] == "RUNNING"
                running_controller.latch.open()
                running_controller.latch = None
    assert received == await collect(client, dag_id)


async def test_event_stream_many_subscribers_get_same_events(
    running_controller: EventController, client: Client
) -> None:
    latch = running_controller.latch = Latch()
    dag_id = (await client.start("GLOBAL"))["id"]
    early = [asyncio.create_task(collect(client, dag_id), name="early") for _ in range(5)]
    async with asyncio.timeout(30):
        await latch.reached.wait()
    late = [asyncio.create_task(collect(client, dag_id), name="late") for _ in range(5)]
    latch.open()
    first, *others = await asyncio.gather(*early, *late)
    assert all(other == first for other in others)


# --- coming back -----------------------------------------------------------------------------


async def test_event_stream_last_event_id_resumes_after_it(
    running_controller: EventController, client: Client
) -> None:
    dag_id, events = await running_controller.run_to_end(client)
    for after in range(1, len(events) + 1):
        assert await collect(client, dag_id, after) == events[after:]


async def test_event_stream_without_new_events_returns_204(
    running_controller: EventController, client: Client
) -> None:
    dag_id, events = await running_controller.run_to_end(client)
    async with running_controller.open_stream(
        dag_id, **{"Last-Event-ID": str(len(events))}
    ) as response:
        assert (response.status, await response.read()) == (204, b"")


async def test_event_stream_retry_continues_numbering(
    running_controller: EventController, client: Client
) -> None:
    running_controller.is_broken = True
    dag_id, before = await running_controller.run_to_end(client)
    assert before[-1].data["state"] == "FAILED"
    running_controller.is_broken = False
    await client.operate_dag(dag_id, "RETRY")
    after = await collect(client, dag_id, before[-1].seq)
    assert [event.seq for event in after] == [before[-1].seq + 1 + n for n in range(len(after))]
    assert after[-1].data["state"] == "SUCCEED"
    assert await collect(client, dag_id) == before + after


async def test_event_stream_numbers_are_kept_after_restart(
    event_controller: EventController,
) -> None:
    async with event_controller.client() as client:
        async with event_controller.running():
            dag_id, events = await event_controller.run_to_end(client)
        async with event_controller.running():
            assert await collect(client, dag_id) == events


async def test_client_follow_reconnects_after_restart(event_controller: EventController) -> None:
    latch = event_controller.latch = Latch()
    async with event_controller.client() as client:
        async with event_controller.running(), asyncio.timeout(30):
            dag_id = (await client.start("GLOBAL"))["id"]
            following = asyncio.create_task(collect(client, dag_id), name="following")
            await latch.reached.wait()
        latch.open()
        async with event_controller.running():
            events = await following
            assert events == await collect(client, dag_id)
    # The attempt on each server was interrupted and repeated.
    attempts = [e.data["attempt_no"] for e in events if e.kind == "sub_task"]
    assert max(attempts) == 2


async def test_client_follow_absent_controller_raises_unreachable(
    event_controller: EventController,
) -> None:
    async with event_controller.client() as client:
        with pytest.raises(ControllerUnreachable):
            async for _ in client.follow("2213070643302886" + "1", patience_s=0.1):
                pass


# --- refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "99", "9" * 19, "²"])
async def test_event_stream_invalid_last_event_id_is_refused(
    running_controller: EventController, client: Client, last: str
) -> None:
    dag_id, _ = await running_controller.run_to_end(client)
    with pytest.raises(ApiRefused) as refused:
        async with running_controller.open_stream(dag_id, **{"Last-Event-ID": last}):
            pass
    assert (refused.value.status, refused.value.code) == (400, "Common.IllegalArgument")


async def test_event_stream_unknown_dag_is_not_found(
    running_controller: EventController, client: Client
) -> None:
    dag_id, _ = await running_controller.run_to_end(client)
    with pytest.raises(ApiRefused, match="Task not found"):
        await collect(client, f"{dag_id}9")


async def test_event_stream_without_login_is_refused(
    running_controller: EventController, client: Client
) -> None:
    dag_id, _ = await running_controller.run_to_end(client)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{running_controller.url}/api/v1/task/dag/{dag_id}/events") as response,
    ):
        assert response.status == 400
        assert (await response.json())["error"]["errCode"] == "Request.Header.NotFound"


# --- slow followers --------------------------------------------------------------------------


async def test_event_stream_slow_subscriber_misses_no_event(
    running_controller: EventController, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "_KEPT", 4)
    monkeypatch.setattr(event_streams, "_PAGE", 7)
    running_controller.lines = tuple(f"line {number}" for number in range(100))
    dag_id = (await client.start("GLOBAL"))["id"]
    early, late = await asyncio.gather(collect(client, dag_id), collect(client, dag_id, 1))
    assert [event.seq for event in early] == list(range(1, len(early) + 1))
    assert late == early[1:]
    assert sum(event.kind == "line" for event in early) == 200


async def test_event_stream_idle_sends_keepalive(
    running_controller: EventController, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "KEEPALIVE_S", 0.01)
    latch = running_controller.latch = Latch()
    dag_id = (await client.start("GLOBAL"))["id"]
    async with asyncio.timeout(30), running_controller.open_stream(dag_id) as response:
        while await response.content.readline() != b": nothing new\n":
            pass
        latch.open()
        assert b"event: end" in await response.read()


async def test_event_stream_blocked_subscriber_is_disconnected(
    running_controller: EventController, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    disconnected, write = asyncio.Event(), events_handler._write

    async def note(response: web.StreamResponse, frames: bytes) -> None:
        try:
            await write(response, frames)
        except TimeoutError:
            disconnected.set()
            raise

    monkeypatch.setattr(events_handler, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(events_handler, "_write", note)
    running_controller.lines = tuple(f"{number} " + "x" * 4000 for number in range(1000))
    latch = running_controller.latch = Latch()
    dag_id = (await client.start("GLOBAL"))["id"]
    target = f"/api/v1/task/dag/{dag_id}/events"
    key = load_key((await client.secret())["public_key"])
    header = sign(key, PASSWORD, target, None).header
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.connect(("127.0.0.1", running_controller.port))
    reader, writer = await asyncio.open_connection(sock=small, limit=1024)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: [::1]\r\nX-OCS-Header: {header}\r\n\r\n".encode())
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        stack.callback(writer.close)
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await latch.reached.wait()
        latch.open()
        events = await collect(client, dag_id)  # while the other subscriber does not read
        assert sum(event.kind == "line" for event in events) == 2000
        await disconnected.wait()
        taken = b""
        with suppress(ConnectionError):
            while chunk := await reader.read(65536):
                taken += chunk
    assert b"event: end" not in taken
    assert await collect(client, dag_id) == events

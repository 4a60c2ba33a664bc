"""The stream of events for pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from dagengine.testing import Latch
from dagengine.web import app as web_app
from dagengine.web.changes import ChangeSignal
from dagengine.web.events import PageEvents
from tests.support.page_controller import PageController, open_page_controller


class Frame(NamedTuple):
    """One event of a stream."""

    name: str
    id: str
    data: str


class Stream:
    """A stream that is read frame by frame."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Frame:
        """Return the next event, without keep-alives."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(10):
            while line := (await self.response.content.readline()).decode():
                name, _, value = line.rstrip("\n").partition(": ")
                if name in ("event", "id", "data"):
                    fields[name] = value
                elif not name and fields:
                    return Frame(fields["event"], fields.get("id", ""), fields["data"])
        raise EOFError


@asynccontextmanager
async def open_stream(controller: PageController, query: str = "") -> AsyncIterator[Stream]:
    async with controller.session.get(f"{controller.url}/ui/events{query}") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Stream(response)


async def test_stream_has_all_events_of_a_shown_dag(controller: PageController) -> None:
    controller.latch = Latch()
    dag_id = await controller.submit()
    await controller.latch.reached.wait()
    ids = []
    async with open_stream(controller, f"?dag={dag_id}:0") as stream:
        controller.latch.open()
        await controller.wait(dag_id)
        last = await controller.engine.last_event(controller.row_id(dag_id))
        while len(ids) < last:
            frame = await stream.next()
            ids += [frame.id] if frame.id else []
    assert ids == [f"{dag_id}:{number}" for number in range(1, last + 1)]


async def test_stream_continues_after_the_last_event(controller: PageController) -> None:
    dag_id = await controller.run()
    last = await controller.engine.last_event(controller.row_id(dag_id))
    async with open_stream(controller, f"?dag={dag_id}:{last - 1}") as stream:
        assert (await stream.next()).id == f"{dag_id}:{last}"


async def test_stream_sends_lines_of_shown_dags_only(controller: PageController) -> None:
    shown = await controller.run()
    last = await controller.engine.last_event(controller.row_id(shown))
    async with open_stream(controller, f"?dag={shown}:{last}") as stream:
        await controller.run()
        frame = await stream.next()
        assert frame == Frame("changed", "", "{}")


async def test_stream_reports_changes_of_other_things(tmp_path: Path) -> None:
    signal = ChangeSignal()
    signal.notify()  # before the stream: not reported
    async with (
        open_page_controller(tmp_path, signals=[signal]) as controller,
        open_stream(controller) as stream,
    ):
        signal.notify()
        assert (await stream.next()).name == "changed"


async def test_stream_without_login_is_refused(controller: PageController) -> None:
    controller.session.cookie_jar.clear()
    response = await controller.get("/events")
    assert response.status == 401


async def test_stream_of_unknown_events_asks_for_reload(controller: PageController) -> None:
    dag_id = await controller.run()
    assert (await controller.get(f"/events?dag={dag_id}:999999")).status == 410
    unknown = controller.engine.generic_id(99)
    assert (await controller.get(f"/events?dag={unknown}:0")).status == 410


@pytest.mark.parametrize("query", ["dag=1", "dag=1:x", "dag=1:-1", "&".join(["dag=1:0"] * 51)])
async def test_stream_with_bad_query_is_refused(controller: PageController, query: str) -> None:
    assert (await controller.get(f"/events?{query}")).status in (400, 404)


async def test_stream_ends_when_the_session_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(*arguments: object) -> PageEvents:
        return replace(PageEvents(*arguments), check_s=0.05)  # type: ignore[arg-type]

    monkeypatch.setattr(web_app, "PageEvents", create)
    async with open_page_controller(tmp_path) as controller, open_stream(controller) as stream:
        controller.password = "changed"
        assert (await stream.next()).name == "logged-out"
        with pytest.raises(EOFError):
            await stream.next()


async def test_streams_end_when_the_application_stops(tmp_path: Path) -> None:
    async with open_page_controller(tmp_path) as controller:
        response = await controller.session.get(f"{controller.url}/ui/events")
    assert await response.content.read() == b""

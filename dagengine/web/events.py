"""The stream of events for the pages of one browser.

It has the events of the DAGs on display, from their last known numbers on, and `changed` when
anything else that pages show may have changed. The id of an event is the DAG's generic id and the
event's own number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from aiohttp import web

from dagengine.api.caller import Right
from dagengine.api.context import ApiContext
from dagengine.api.event_streams import KEEPALIVE_S, DagEventStream
from dagengine.api.render.sse import KEEPALIVE
from dagengine.engine.engine import Engine
from dagengine.engine.events import LineLogged
from dagengine.errors import EngineStopped, IllegalArgument, TaskNotFound
from dagengine.security.page_errors import LoginRequired
from dagengine.web import messages
from dagengine.web.changes import ChangeSignal
from dagengine.web.login import LoginPages
from dagengine.web.rendering import PAGE_HEADERS
from dagengine.web.views.task import find_row_id

_CHECK_S = 30.0
_WATCH_S = 2.0
_PAUSE_S = 0.2  # after `changed`: all changes during the pause are one event
_PATIENCE_S = 60.0  # time limit of a write to a browser that does not read
_MAX_DAGS = 50
_CHANGED = b"event: changed\ndata: {}\n\n"
_LOGGED_OUT = b"event: logged-out\ndata: {}\n\n"
_HEADERS = {**PAGE_HEADERS, "Content-Type": "text/event-stream"}


@dataclass(frozen=True, slots=True)
class Place:
    """The last event of a DAG that a browser has.

    Attributes:
        dag_id: generic id.
        number: the number of the event; 0 for none.
    """

    dag_id: str
    number: int


class _Ended(Exception):
    """Raised within a stream to end it."""


@dataclass(frozen=True, slots=True)
class PageEvents:
    """Serves the streams of one application.

    Attributes:
        ctx: the dependencies of the application.
        login: authenticates requests.
        signals: report changes of other things than DAGs.
        check_s: time between two checks of the session, in seconds.
        stopping: its first change ends all streams.
    """

    ctx: ApiContext
    login: LoginPages
    signals: tuple[ChangeSignal, ...]
    check_s: float = _CHECK_S
    stopping: ChangeSignal = field(default_factory=ChangeSignal)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Send events until the browser leaves, the session ends, or the engine stops.

        Raises:
            IllegalArgument: the query is not a list of DAGs and numbers.
        """
        try:
            visit = await self.login.enter(request)
        except LoginRequired:
            return web.Response(status=401, headers=PAGE_HEADERS)
        visit.caller.ensure_right(Right.READ)
        places = parse_places(request.query.getall("dag", []))
        async with AsyncExitStack() as stack:
            streams = []
            for place in places:
                row_id = find_row_id(self.ctx.engine, place.dag_id)
                try:
                    stream = await stack.enter_async_context(self.ctx.feeds.follow(row_id))
                except TaskNotFound:
                    return web.Response(status=410, headers=PAGE_HEADERS)  # it was deleted
                if place.number > stream.last:
                    return web.Response(status=410, headers=PAGE_HEADERS)
                streams.append((place, stream))
            response = web.StreamResponse(headers=_HEADERS)
            await response.prepare(request)
            await self._send(request, _Writer(response), streams)
        return response

    async def _send(
        self,
        request: web.Request,
        writer: _Writer,
        streams: Iterable[tuple[Place, DagEventStream]],
    ) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for place, stream in streams:
                    group.create_task(
                        _send_events(writer, place, stream), name=f"events of {place.dag_id}"
                    )
                group.create_task(_send_changes(writer, self.ctx.engine), name="changes of DAGs")
                for signal in self.signals:
                    group.create_task(_send_signals(writer, signal), name="other changes")
                group.create_task(self._check_session(request, writer), name="session check")
                group.create_task(_keep_alive(writer), name="keep-alive")
                group.create_task(_watch_connection(request), name="connection check")
                group.create_task(self._end_at_stop(), name="end of the application")
        except* (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()  # gone, or not reading: it can reconnect
        except* (_Ended, EngineStopped):
            pass

    async def _end_at_stop(self) -> None:
        await self.stopping.wait(0)
        raise _Ended

    async def _check_session(self, request: web.Request, writer: _Writer) -> None:
        while True:
            await asyncio.sleep(self.check_s)
            if not await self.login.is_valid(request):
                await writer.write(_LOGGED_OUT)
                raise _Ended


class _Writer:
    """Writes whole frames for several tasks."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response
        self._turn = asyncio.Lock()
        self.count = 0

    async def write(self, frames: bytes) -> None:
        """Write frames.

        Raises:
            ConnectionError: the browser has disconnected.
            TimeoutError: it did not read in time.
        """
        async with self._turn, asyncio.timeout(_PATIENCE_S):
            self.count += 1
            await self._response.write(frames)


async def _send_events(writer: _Writer, place: Place, stream: DagEventStream) -> None:
    prefix = f"id: {place.dag_id}:".encode()
    after = place.number
    while True:
        if frames := await stream.frames_after(after):
            # A frame begins with `id: ` and the number of the event.
            await writer.write(b"".join(prefix + frame.removeprefix(b"id: ") for frame in frames))
            after += len(frames)
        elif stream.is_closed:
            raise _Ended
        else:
            await stream.wait()


async def _send_changes(writer: _Writer, engine: Engine) -> None:
    """Report changes of any DAG's state; many changes within a short time are one event."""
    with engine.subscribe() as subscription:
        while True:
            if isinstance(await subscription.next(), LineLogged):
                continue  # only pages of this DAG show its lines
            subscription.skip()
            await writer.write(_CHANGED)
            await asyncio.sleep(_PAUSE_S)


async def _send_signals(writer: _Writer, signal: ChangeSignal) -> None:
    count = signal.count
    while True:
        count = await signal.wait(count)
        await writer.write(_CHANGED)
        await asyncio.sleep(_PAUSE_S)


async def _watch_connection(request: web.Request) -> None:
    """End the stream soon after the browser has closed it, and not at the next keep-alive."""
    # aiohttp does not report the end of a connection to a handler that only writes.
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(_WATCH_S)
    raise _Ended


async def _keep_alive(writer: _Writer) -> None:
    while True:
        count = writer.count
        await asyncio.sleep(KEEPALIVE_S)
        if writer.count == count:
            await writer.write(KEEPALIVE)


def parse_places(texts: Iterable[str]) -> tuple[Place, ...]:
    """Return the DAGs on display with the numbers of their last events, given as `id:number`.

    Raises:
        IllegalArgument: a text has another form, or there are too many.
    """
    places = []
    for text in texts:
        dag_id, _, number = text.partition(":")
        if not (number.isascii() and number.isdecimal() and len(number) < 19):
            raise IllegalArgument(messages.PLACE_INVALID(text=text[:200]))
        places.append(Place(dag_id, int(number)))
    if len(places) > _MAX_DAGS:
        raise IllegalArgument(messages.PLACE_INVALID(text=len(places)))
    return tuple(places)

"""Event streams of DAGs: events are read and rendered once and sent to all subscribers of a DAG.

The store is the source of the events (docs/decisions/0005). A stream reads new events after each
commit that the engine reports, and keeps the newest frames. A subscriber's only state is the number
of the last event that it received. A subscriber that is behind the kept frames reads from the store
itself, so a slow subscriber uses no memory and loses no event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from dagengine.api import messages
from dagengine.api.render.records import RecordRenderer
from dagengine.api.render.sse import SseRenderer
from dagengine.engine.engine import Engine
from dagengine.engine.events import Subscription
from dagengine.errors import DagengineError, StoreError, TaskNotFound
from dagengine.model.events import EventRecord
from dagengine.runtime.service import Service

_log = structlog.get_logger("dagengine.api")

KEEPALIVE_S = 15.0
_KEPT = 1000  # frames of a stream, about 300 bytes each
_PAGE = 250  # maximum number of events to read or send at once


class DagEventStream:
    """The events of one DAG; obtained from `EventStreams.follow`.

    Attributes:
        last: number of the last known event.
        is_over: True if the DAG had ended when `last` was read.
        is_closed: True if this stream yields no more events, even if the DAG has more.
        wire: renders the frames.
    """

    wire: SseRenderer

    def __init__(self, engine: Engine, wire: RecordRenderer, dag_id: int) -> None:
        self.last = 0
        self.is_over = False
        self.is_closed = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._engine = engine
        self._wire = wire
        self._dag_id = dag_id
        self._frames: list[bytes] = []  # frames of the newest events, up to `last`
        self._new_events = asyncio.Event()

    async def run(self) -> None:
        """Read new events after each commit; cancelled when the last subscriber leaves."""
        try:
            with self._engine.subscribe(self._dag_id) as subscription:
                await self._open()
                while True:
                    await _wait_for_event(subscription)
                    await self._read_on()
                    self._wake()
        except (StoreError, TaskNotFound) as exc:
            self._refuse(exc)
        finally:
            self.is_closed = True
            self.opened.cancel()
            self._wake()

    async def wait(self) -> None:
        """Wait for new events, `KEEPALIVE_S` seconds at most."""
        await self._new_events.wait()

    async def frames_after(self, seq: int) -> Sequence[bytes]:
        """Return the next frames after event `seq`; empty if there are none yet."""
        first = self.last - len(self._frames)  # the event before the first frame
        if seq >= first:
            return self._frames[seq - first : seq - first + _PAGE]
        return [self.wire.frame(event) for event in await self._page(seq)]

    # --- internal functions -------------------------------------------------------------------

    async def _open(self) -> None:
        rows = await self._engine.find_rows(self._dag_id)
        if rows is None:
            raise TaskNotFound(messages.DAG_NOT_FOUND(dag_id=self._wire.id(self._dag_id)))
        self.wire = SseRenderer(self._wire, rows.dag, rows.nodes, rows.sub_tasks)
        # Read the state before the events: if the DAG has ended, the events are then complete.
        self.is_over = rows.dag.state.is_final
        self.last = await self._engine.last_event(self._dag_id)
        self.opened.set_result(None)

    async def _read_on(self) -> None:
        dag = await self._engine.find_dag(self._dag_id, details=False)
        while events := await self._page(self.last):
            self._frames += [self.wire.frame(event) for event in events]
            self.last = events[-1].seq
            if len(self._frames) > 2 * _KEPT:
                del self._frames[:-_KEPT]
        self.is_over = dag is None or dag.dag.state.is_final

    async def _page(self, after: int) -> Sequence[EventRecord]:
        return await self._engine.list_events(self._dag_id, after=after, limit=_PAGE)

    def _refuse(self, exc: DagengineError) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc)
            self.opened.exception()  # mark as retrieved: the waiting subscriber may be gone
        else:
            _log.warning("event_stream_failed", dag_id=self._dag_id, error=str(exc))

    def _wake(self) -> None:
        new_events, self._new_events = self._new_events, asyncio.Event()
        new_events.set()


class EventStreams(Service):
    """The streams of all DAGs that have a subscriber."""

    name = "feeds"

    def __init__(self, engine: Engine, wire: RecordRenderer) -> None:
        super().__init__()
        self._engine = engine
        self._wire = wire
        self._open: dict[int, _StreamEntry] = {}

    @property
    def is_followed(self) -> bool:
        """Whether a stream has a subscriber."""
        return bool(self._open)

    @asynccontextmanager
    async def follow(self, dag_id: int) -> AsyncIterator[DagEventStream]:
        """Subscribe to a DAG and yield its stream, ready to be read.

        Raises:
            TaskNotFound: the DAG does not exist.
            StoreUnavailable: the store cannot be read.
        """
        entry = self._open.get(dag_id)
        if entry is None or entry.feed.is_closed:
            feed = DagEventStream(self._engine, self._wire, dag_id)
            task = self.spawn(feed.run(), name=f"feed of dag {dag_id}")
            entry = self._open[dag_id] = _StreamEntry(feed, task)
        entry.subscriber_count += 1
        try:
            await asyncio.shield(entry.feed.opened)
            yield entry.feed
        finally:
            entry.subscriber_count -= 1
            if not entry.subscriber_count:
                entry.task.cancel()
                if self._open.get(dag_id) is entry:
                    del self._open[dag_id]


class _StreamEntry:
    """A stream, the asyncio task that reads it, and the number of its subscribers."""

    def __init__(self, feed: DagEventStream, task: asyncio.Task[None]) -> None:
        self.feed = feed
        self.task = task
        self.subscriber_count = 0


async def _wait_for_event(subscription: Subscription) -> None:
    """Wait for an event, `KEEPALIVE_S` seconds at most."""
    try:
        async with asyncio.timeout(KEEPALIVE_S):
            await subscription.next()
    except TimeoutError:
        return
    subscription.skip()  # one read of the store returns all new events

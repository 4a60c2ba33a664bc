"""Events for subscribers in this process, published after the change is durable.

Events are named tuples because every step creates several (docs/decisions/0010).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeAlias

from dagengine.engine import messages
from dagengine.errors import EngineStopped
from dagengine.model.changes import (
    Batch,
    Change,
    DagChanged,
    LogAppended,
    NodeChanged,
    SubTaskChanged,
)
from dagengine.model.records import LogRecord
from dagengine.model.states import Operator, State


class DagUpdated(NamedTuple):
    """A DAG's row changed: its state, its operator, or only its stage."""

    dag_id: int
    state: State
    operator: Operator
    stage: int
    is_step: bool = False  #: True when state and operator did not change


class NodeUpdated(NamedTuple):
    """A node's row changed."""

    dag_id: int
    node_id: int
    stage: int
    name: str
    state: State
    operator: Operator


class SubTaskUpdated(NamedTuple):
    """A sub-task's row changed."""

    dag_id: int
    sub_task_id: int
    stage: int
    target: str | None
    state: State
    attempt_no: int


class LineLogged(NamedTuple):
    """A line was written to a sub-task's log."""

    dag_id: int
    line: LogRecord


EngineEvent: TypeAlias = DagUpdated | NodeUpdated | SubTaskUpdated | LineLogged


def events_of(batch: Batch) -> Iterator[EngineEvent]:
    """Yield the events of a committed batch in the order of its changes."""
    for change in batch.changes:
        if (tell := _EVENT_BUILDERS.get(type(change))) is not None:
            yield tell(batch.dag_id, change)


def log_fields(event: EngineEvent) -> tuple[str, dict[str, object]] | None:
    """Return name and fields of an event's log line; None when the event is not logged."""
    match event:
        case NodeUpdated():
            return "node_moved", event._asdict()
        case SubTaskUpdated():
            return None if event.target is None else ("sub_task_moved", event._asdict())
        case DagUpdated():
            # A step is omitted: the lines of the nodes contain it.
            return None if event.is_step else ("dag_moved", event._asdict())
        case LineLogged():
            return None  # the line may contain text that is only for authenticated API callers


def _dag_moved(_dag_id: int, change: DagChanged) -> DagUpdated:
    before, dag = change.before, change.after
    is_step = before.state is dag.state and before.operator is dag.operator
    return DagUpdated(dag.dag_id, dag.state, dag.operator, dag.stage, is_step)


def _node_moved(_dag_id: int, change: NodeChanged) -> NodeUpdated:
    node = change.after
    return NodeUpdated(node.dag_id, node.node_id, node.stage, node.name, node.state, node.operator)


def _sub_task_moved(_dag_id: int, change: SubTaskChanged) -> SubTaskUpdated:
    task = change.after
    return SubTaskUpdated(
        task.dag_id, task.sub_task_id, task.stage, task.target, task.state, task.attempt_no
    )


def _line_logged(dag_id: int, change: LogAppended) -> LineLogged:
    return LineLogged(dag_id, change.line)


_EVENT_BUILDERS: dict[type[Change], Callable[[int, Any], EngineEvent]] = {
    DagChanged: _dag_moved,
    NodeChanged: _node_moved,
    SubTaskChanged: _sub_task_moved,
    LogAppended: _line_logged,
}


_BACKLOG = 10_000  # maximum unread events of a subscriber; beyond it the oldest is dropped


class Subscription:
    """A subscriber's queue of events, from the moment of the subscription.

    Attributes:
        missed: number of events dropped because the subscriber fell more than 10,000 behind.
            The oldest are dropped, so the newest always arrive; a subscription to a single DAG
            never misses its end. When the number has grown, read the store; set it to 0 to
            detect the next loss.
    """

    def __init__(self) -> None:
        self.missed = 0
        self._waiting: deque[EngineEvent] = deque()
        self._has_some = asyncio.Event()
        self._is_closed = False

    def offer(self, event: EngineEvent) -> None:
        """Add an event; never waits."""
        if len(self._waiting) >= _BACKLOG:
            self._waiting.popleft()
            self.missed += 1
        self._waiting.append(event)
        self._has_some.set()

    async def next(self) -> EngineEvent:
        """Wait for the next event and return it.

        Raises:
            EngineStopped: the engine was stopped and all events have been read.
        """
        while not self._waiting:
            if self._is_closed:
                raise EngineStopped(messages.ENGINE_STOPPED())
            self._has_some.clear()
            await self._has_some.wait()
        return self._waiting.popleft()

    async def next_end(self) -> None:
        """Wait for an event after which a DAG may have ended, or for a loss of events."""
        while not self.missed:
            if isinstance(event := await self.next(), DagUpdated) and event.state.is_final:
                return
        self.missed = 0

    def close(self) -> None:
        """Mark the end of the events."""
        self._is_closed = True
        self._has_some.set()

    def skip(self) -> None:
        """Discard all unread events, for a subscriber that only needs to know that some exist."""
        self._waiting.clear()

    async def __aiter__(self) -> AsyncIterator[EngineEvent]:
        while True:
            yield await self.next()


class EventReader(Protocol):
    """A permanent reader of all events, such as a counter."""

    def offer(self, event: EngineEvent) -> None:
        """Process an event; must be quick and must not raise."""
        ...


class Events:
    """Delivers every published event, in order, to the subscribers of its DAG and of all DAGs."""

    def __init__(self) -> None:
        self._followers: dict[int | None, set[Subscription]] = {}
        self._readers: list[EventReader] = []

    @contextmanager
    def subscribe(self, dag_id: int | None = None) -> Iterator[Subscription]:
        """Subscribe to one DAG, or to all DAGs."""
        subscription = Subscription()
        self._followers.setdefault(dag_id, set()).add(subscription)
        try:
            yield subscription
        finally:
            followers = self._followers[dag_id]
            followers.discard(subscription)
            if not followers:
                del self._followers[dag_id]

    def attach(self, reader: EventReader) -> None:
        """Deliver every event to a reader immediately, for as long as the process runs."""
        self._readers.append(reader)

    def close(self) -> None:
        """Mark the end of the events for all subscribers, including those that wait."""
        for followers in self._followers.values():
            for subscription in followers:
                subscription.close()

    def publish(self, event: EngineEvent) -> None:
        for dag_id in (event.dag_id, None):
            for subscription in self._followers.get(dag_id, ()):
                subscription.offer(event)
        for reader in self._readers:
            reader.offer(event)

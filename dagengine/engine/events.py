"""What happened, told after it is durable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from dagengine.model.records import LogRecord
from dagengine.model.states import Operator, State
from dagengine.model.transition import (
    Batch,
    DagChanged,
    LogAppended,
    NodeChanged,
    SubTaskChanged,
)


class _Loggable:
    """Renders an event for the log."""

    __slots__: tuple[str, ...] = ()
    log_name: ClassVar[str]

    def log_fields(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class DagMoved(_Loggable):
    """A DAG's row changed: its state, its operator, or only its stage."""

    log_name: ClassVar[str] = "dag_moved"

    dag_id: int
    state: State
    operator: Operator
    stage: int
    is_step: bool = False  #: state and operator are as before


@dataclass(frozen=True, slots=True)
class NodeMoved(_Loggable):
    """A node's row changed."""

    log_name: ClassVar[str] = "node_moved"

    dag_id: int
    node_id: int
    stage: int
    name: str
    state: State
    operator: Operator


@dataclass(frozen=True, slots=True)
class SubTaskMoved(_Loggable):
    """A sub-task's row changed."""

    log_name: ClassVar[str] = "sub_task_moved"

    dag_id: int
    sub_task_id: int
    stage: int
    target: str | None
    state: State
    attempt_no: int


@dataclass(frozen=True, slots=True)
class LineLogged:
    """A log line was written."""

    dag_id: int
    line: LogRecord


EngineEvent: TypeAlias = DagMoved | NodeMoved | SubTaskMoved | LineLogged


def events_of(batch: Batch) -> Iterator[EngineEvent]:
    """What a committed batch means for readers, in the order of its changes."""
    for change in batch.changes:
        match change:
            case DagChanged(before, dag):
                is_step = (before.state, before.operator) == (dag.state, dag.operator)
                yield DagMoved(dag.dag_id, dag.state, dag.operator, dag.stage, is_step)
            case NodeChanged(_, node):
                yield NodeMoved(
                    node.dag_id, node.node_id, node.stage, node.name, node.state, node.operator
                )
            case SubTaskChanged(_, sub_task):
                yield SubTaskMoved(
                    sub_task.dag_id,
                    sub_task.sub_task_id,
                    sub_task.stage,
                    sub_task.target,
                    sub_task.state,
                    sub_task.attempt_no,
                )
            case LogAppended(line):
                yield LineLogged(batch.dag_id, line)


_BACKLOG = 10_000  # events that a slow reader may fall behind before it is told so


class Subscription:
    """A reader of events from the moment it subscribed.

    Attributes:
        missed: events dropped because the reader fell too far behind; read the store then.
    """

    def __init__(self) -> None:
        self.missed = 0
        self._queue: asyncio.Queue[EngineEvent] = asyncio.Queue(_BACKLOG)

    def offer(self, event: EngineEvent) -> None:
        """Hand an event over; never waits."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.missed += 1

    async def next(self) -> EngineEvent:
        """The next event; waits for it."""
        return await self._queue.get()

    def skip(self) -> None:
        """Drop what is waiting, for a reader that only wants to know that there is something."""
        while not self._queue.empty():
            self._queue.get_nowait()

    async def __aiter__(self) -> AsyncIterator[EngineEvent]:
        while True:
            yield await self.next()


class Events:
    """Hands every published event to whoever follows its DAG, or all of them, in order."""

    def __init__(self) -> None:
        self._followers: dict[int | None, set[Subscription]] = {}

    @contextmanager
    def subscribe(self, dag_id: int | None = None) -> Iterator[Subscription]:
        """Follow one DAG, or all."""
        subscription = Subscription()
        self._followers.setdefault(dag_id, set()).add(subscription)
        try:
            yield subscription
        finally:
            followers = self._followers[dag_id]
            followers.discard(subscription)
            if not followers:
                del self._followers[dag_id]

    def publish(self, event: EngineEvent) -> None:
        for who in (event.dag_id, None):
            for subscription in self._followers.get(who, ()):
                subscription.offer(event)

"""Access to internals of the engine and the store, for this project's own tests.

Not public: names and behaviour follow the implementation.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from dagengine.engine.active_dag import DagMessage
from dagengine.engine.engine import Engine
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing import eventually

T = TypeVar("T")

_QUIET_TURNS = 20  # turns of the loop in which a step without I/O reaches its waiting point
_HOLD_LIMIT_S = 60.0


async def settled(engine: Engine) -> None:
    """Wait until every step waits for something else than the engine.

    That is: no message is queued and no commit is in progress, for several turns of the event
    loop. Reads of the store by steps are not counted.
    """

    async def is_settled() -> bool:
        for _ in range(_QUIET_TURNS):
            if not (engine._scheduler.is_idle and engine._submissions.is_idle):
                return False
            await asyncio.sleep(0)
        return True

    await eventually(is_settled, every_s=0.001, what="an idle scheduler")


def count_queued(engine: Engine, dag_id: int) -> int:
    """Return the number of messages of an active DAG that await the next pass."""
    return len(engine._scheduler.active[dag_id].inbox)


async def until_queued(engine: Engine, dag_id: int) -> None:
    """Wait until a message of an active DAG is queued, while a commit delays the next pass."""

    async def has_message() -> bool:
        return count_queued(engine, dag_id) > 0

    await eventually(has_message, every_s=0.001, what=f"a message of DAG {dag_id}")


def post_message(engine: Engine, dag_id: int, message: DagMessage) -> None:
    """Queue a message for a DAG, as an attempt or a request does."""
    engine._scheduler.post(dag_id, message)


async def call_writer(store: SqliteStore, function: Callable[[sqlite3.Connection], T]) -> T:
    """Run a function on the writing connection of an open store, in the writer's thread."""
    return await store._open_writer.call(function)


@asynccontextmanager
async def held_writer(store: SqliteStore) -> AsyncIterator[None]:
    """Block the writer within the context: requests wait in its queue."""
    is_held, release = threading.Event(), threading.Event()

    def hold(_connection: sqlite3.Connection) -> None:
        is_held.set()
        assert release.wait(_HOLD_LIMIT_S)

    holding = asyncio.create_task(call_writer(store, hold), name="held writer")
    assert await asyncio.to_thread(is_held.wait, _HOLD_LIMIT_S)
    try:
        yield
    finally:
        release.set()
    await holding

"""An engine on a store in a file, and its scripted steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dagengine import Clock, Engine, Operation, SqliteStore
from tests.support.engine_script import OpenEngine, Script


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def open_engine(tmp_path: Path) -> OpenEngine:
    @asynccontextmanager
    async def open_on_store(
        *operations: Operation, store: SqliteStore | None = None, clock: Clock | None = None
    ) -> AsyncIterator[Engine]:
        store = store or SqliteStore(tmp_path / "store.sqlite")
        engine = Engine(store=store, operations=operations, clock=clock, confirm_timeout_s=1)
        async with asyncio.timeout(30), engine:
            yield engine

    return open_on_store

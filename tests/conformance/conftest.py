"""Opened stores: every kind for the contract, and an SQLite store for tests of its file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing import CrashingStore

STORES: dict[str, Callable[[Path], SqliteStore]] = {
    "sqlite": SqliteStore,
    "crashing": lambda path: CrashingStore(str(path)),
}


@pytest_asyncio.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Yield a store of each kind in turn."""
    opened = STORES[request.param](tmp_path / "new" / "store.sqlite")
    await opened.open()
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def sqlite_store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Yield an SQLite store, for behaviour that all stores in one SQLite file share."""
    opened = SqliteStore(tmp_path / "new" / "store.sqlite")
    await opened.open()
    yield opened
    await opened.close()

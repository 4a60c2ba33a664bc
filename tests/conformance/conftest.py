"""Opened stores: every kind for the contract, and an SQLite store for tests of its file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from dagengine.store.contract import Store
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing import CrashingStore

FILES: dict[str, Callable[[Path], SqliteStore]] = {
    "sqlite": SqliteStore,
    "crashing": lambda path: CrashingStore(str(path)),
}
DATABASES = {"mysql-seekdb": "seekdb_database", "mysql-mariadb": "mariadb_database"}
"""Fixtures of the database of each kind of shared store; the first is part of the quick tests."""

STORES = [*FILES, "mysql-seekdb", pytest.param("mysql-mariadb", marks=pytest.mark.slow)]


@pytest_asyncio.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Yield a store of each kind in turn."""
    if request.param in FILES:
        opened: Store = FILES[request.param](tmp_path / "new" / "store.sqlite")
    else:
        database = request.getfixturevalue(DATABASES[request.param])
        opened = await database.make_store()
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

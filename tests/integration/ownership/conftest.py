"""A service of its own for each test: a database on the shared seekdb."""

from __future__ import annotations

import pytest_asyncio

from dagengine.store.mysql.settings import MysqlSettings
from tests.support.shared_database import make_database
from tests.support.store_databases import StoreDatabase


@pytest_asyncio.fixture
async def database(seekdb_database: StoreDatabase) -> MysqlSettings:
    return await make_database(seekdb_database.settings)

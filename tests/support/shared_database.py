"""Databases of a real seekdb for tests that need the tables of a whole service."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from dagengine.mysql import open_connection
from dagengine.store.mysql.migrate import migrate_store
from dagengine.store.mysql.settings import MysqlSettings

_numbers = count(1)


async def make_database(server: MysqlSettings) -> MysqlSettings:
    """Create another database with empty tables on a server."""
    settings = replace(server, database=f"service_{next(_numbers)}")
    async with open_connection((server.host, server.port), user=server.user, password="") as sql:
        await sql.query(f"CREATE DATABASE {settings.database}")
    await migrate_store(settings)
    return settings

"""The connection of a shared store for everything that ownership does not guard."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

from dagengine.errors import StoreUnavailable
from dagengine.mysql import Connection, MysqlError, MysqlServerError, Result, Row
from dagengine.store import messages
from dagengine.store.mysql.connection import connect_error, open_store_connection
from dagengine.store.mysql.settings import MysqlSettings

StoredValues: TypeAlias = Mapping[str, Any]


class MysqlReader:
    """Executes one packet at a time; reconnects when necessary."""

    def __init__(self, settings: MysqlSettings) -> None:
        self._settings = settings
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._is_closed = False

    async def read(
        self, queries: Sequence[str], *, binary: Collection[str] = ()
    ) -> Sequence[Sequence[StoredValues]]:
        """Execute queries in order, in one packet; return the rows of each.

        Args:
            queries: statements that change nothing.
            binary: names of columns that hold bytes; all others hold numbers or UTF-8.

        Raises:
            StoreUnavailable: the database cannot be read, or the reader is closed.
        """
        text = "; ".join(queries)
        async with self._lock:
            had_connection = self._connection is not None
            try:
                results = await self._execute(text)
            except MysqlServerError as exc:
                raise connect_error(self._settings, exc) from exc
            except MysqlError as exc:
                if not had_connection:
                    raise connect_error(self._settings, exc) from exc
                # The database may have closed the connection since the last query: try a new one.
                results = await self._execute_again(text)
        return [[_parse(result, row, binary) for row in result.rows] for result in results]

    async def change(self, text: str) -> Sequence[Result]:
        """Execute statements that change rows, once.

        Raises:
            MysqlServerError: the database rejects a statement; its transaction is rolled back.
            StoreUnavailable: the database cannot be written, as far as can be known.
        """
        async with self._lock:
            try:
                return await self._execute(text)
            except MysqlServerError:
                self._drop()  # ends a transaction
                raise
            except MysqlError as exc:
                raise connect_error(self._settings, exc) from exc

    def close(self) -> None:
        """Close the connection; a statement in progress fails. Safe to call twice."""
        self._is_closed = True
        self._drop()

    async def _execute(self, text: str) -> Sequence[Result]:
        self._check_open()
        if self._connection is None or not self._connection.is_open:
            self._drop()
            self._connection = await open_store_connection(self._settings)
            self._check_open()
        try:
            return await self._connection.query_all(text)
        finally:
            if self._connection is not None and not self._connection.is_open:
                self._drop()

    async def _execute_again(self, text: str) -> Sequence[Result]:
        try:
            return await self._execute(text)
        except MysqlError as exc:
            raise connect_error(self._settings, exc) from exc

    def _check_open(self) -> None:
        """Raise StoreUnavailable if the reader was closed, also while it connected."""
        if self._is_closed:
            self._drop()
            raise StoreUnavailable(messages.DATABASE_CLOSED(store=self._settings))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _parse(result: Result, values: Row, binary: Collection[str]) -> StoredValues:
    return {
        name: value.decode() if isinstance(value, bytes) and name not in binary else value
        for name, value in zip(result.columns, values, strict=True)
    }

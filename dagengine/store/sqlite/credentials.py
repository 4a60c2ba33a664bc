"""The statements that change tokens and sessions."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import datetime

from dagengine.errors import NotSerializable
from dagengine.model.credentials import SessionRecord, TokenRecord
from dagengine.store import messages
from dagengine.store.credentials import (
    Values,
    parse_session,
    parse_token,
    render_session,
    render_token,
)
from dagengine.store.rows import render_instant
from dagengine.store.sqlite.queries import QUERIES


class SqliteCredentials(ABC):
    """The part of a store in one SQLite file that is CredentialStore."""

    @abstractmethod
    async def _change(self, name: str, *values: int | str | bytes | None) -> int:
        """Execute one statement in a transaction of its own; return the number of rows."""

    @abstractmethod
    async def _read(self, name: str, *values: int | str | bytes | None) -> Iterable[sqlite3.Row]:
        """Return the rows of a query."""

    async def add_token(self, token: TokenRecord) -> bool:
        return await self._change("insert_token", *render_token(token)) > 0

    async def find_token(self, digest: bytes) -> TokenRecord | None:
        tokens = [parse_token(row) for row in await self._read("find_token", digest)]
        return tokens[0] if tokens else None

    async def list_tokens(self) -> tuple[TokenRecord, ...]:
        return tuple(parse_token(row) for row in await self._read("list_tokens"))

    async def revoke_token(self, name: str) -> bool:
        return await self._change("delete_token", name) > 0

    async def touch_token(self, digest: bytes, at: datetime) -> None:
        await self._change("touch_token", render_instant(at), digest)

    async def add_session(self, session: SessionRecord) -> bool:
        return await self._change("insert_session", *render_session(session)) > 0

    async def find_session(self, digest: bytes) -> SessionRecord | None:
        sessions = [parse_session(row) for row in await self._read("find_session", digest)]
        return sessions[0] if sessions else None

    async def touch_session(self, digest: bytes, at: datetime) -> None:
        await self._change("touch_session", render_instant(at), digest)

    async def delete_session(self, digest: bytes) -> None:
        await self._change("delete_session", digest)

    async def delete_old_sessions(self, *, created_before: datetime, seen_before: datetime) -> int:
        instants = render_instant(created_before), render_instant(seen_before)
        return await self._change("delete_old_sessions", *instants)


def change_row(connection: sqlite3.Connection, name: str, values: Values) -> int:
    """Execute a statement that is a transaction of its own; return the number of changed rows.

    Raises:
        NotSerializable: a value cannot be stored.
        sqlite3.Error: the file cannot be written, regardless of the values.
    """
    try:
        return connection.execute(QUERIES[name], values).rowcount
    except (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, ValueError) as exc:
        raise NotSerializable(
            messages.CREDENTIAL_NOT_STORABLE(error=type(exc).__name__, reason=exc)
        ) from exc

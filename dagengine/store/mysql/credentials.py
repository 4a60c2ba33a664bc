"""Tokens and sessions in a shared store. Every controller reads and writes them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from dagengine.errors import NotSerializable, StoreUnavailable
from dagengine.model.credentials import SessionRecord, TokenRecord
from dagengine.model.records import AuditRecord
from dagengine.mysql import MysqlServerError
from dagengine.store import messages
from dagengine.store.credentials import (
    SESSION_COLUMNS,
    TOKEN_COLUMNS,
    Values,
    parse_session,
    parse_token,
    render_session,
    render_token,
)
from dagengine.store.mysql.connection import connect_error
from dagengine.store.mysql.reader import MysqlReader, StoredValues
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.statements import (
    QUERIES,
    render_literal,
    render_query,
    render_rows,
    render_statement,
    render_values,
)
from dagengine.store.rows import render_audit, render_instant

_BINARY: Final = frozenset({"digest", "fingerprint", "token"})
_TAKEN, _TOO_LONG = 1062, 1406
_AUDIT_COLUMNS = ("audit_id", "at", "dag_id", "node_id", "action", "actor", "reason")


class MysqlCredentials:
    """The CredentialStore of a cluster, or of the service; it does not need the ownership."""

    def __init__(self, settings: MysqlSettings, cluster: str) -> None:
        """Set the database; `cluster` is empty for the credentials of the service."""
        self._settings = settings
        self._cluster = cluster
        self._reader: MysqlReader | None = None

    async def open(self) -> None:
        """Allow calls; the database is contacted by the first one."""
        self._reader = MysqlReader(self._settings)

    async def close(self) -> None:
        """Close the connection. Safe to call twice."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    async def add_token(self, token: TokenRecord) -> bool:
        try:
            return await self._insert("insert_token", TOKEN_COLUMNS, render_token(token)) > 0
        except NotSerializable:
            if any(stored.name == token.name for stored in await self.list_tokens()):
                return False  # another controller was first
            raise

    async def find_token(self, digest: bytes) -> TokenRecord | None:
        tokens = [parse_token(row) for row in await self._find("find_token", digest=digest)]
        return tokens[0] if tokens else None

    async def list_tokens(self) -> tuple[TokenRecord, ...]:
        return tuple(parse_token(row) for row in await self._find("list_tokens"))

    async def revoke_token(self, name: str) -> bool:
        return await self._change("delete_token", name=name) > 0

    async def touch_token(self, digest: bytes, at: datetime) -> None:
        await self._change("touch_token", digest=digest, at=render_instant(at))

    async def add_session(self, session: SessionRecord) -> bool:
        values = render_session(session)
        return await self._insert("insert_session", SESSION_COLUMNS, values) > 0

    async def find_session(self, digest: bytes) -> SessionRecord | None:
        sessions = [parse_session(row) for row in await self._find("find_session", digest=digest)]
        return sessions[0] if sessions else None

    async def touch_session(self, digest: bytes, at: datetime) -> None:
        await self._change("touch_session", digest=digest, at=render_instant(at))

    async def delete_session(self, digest: bytes) -> None:
        await self._change("delete_session", digest=digest)

    async def delete_old_sessions(self, *, created_before: datetime, seen_before: datetime) -> int:
        return await self._change(
            "delete_old_sessions",
            created_before=render_instant(created_before),
            seen_before=render_instant(seen_before),
        )

    async def append_audit(self, row: AuditRecord) -> None:
        """Append a row to the audit of the service, which no controller owns; durable on return.

        Raises:
            StoreUnavailable: the database cannot be written.
            NotSerializable: a text cannot be stored.
        """
        audit_id = await self._take_audit_id()
        await self._insert("insert_audit", _AUDIT_COLUMNS, (audit_id, *render_audit(row)))

    async def _take_audit_id(self) -> int:
        while True:
            (taken,) = await self._open_reader.change(render_query("take_audit_id", self._cluster))
            if taken.affected_rows:
                return taken.last_insert_id
            with suppress(NotSerializable):  # another controller was first
                await self._change("insert_audit_ids")

    # --- internals -------------------------------------------------------------------------

    @property
    def _open_reader(self) -> MysqlReader:
        if self._reader is None:
            raise StoreUnavailable(messages.CLUSTER_CLOSED(cluster=self._cluster))
        return self._reader

    async def _find(self, name: str, /, **values: Any) -> Sequence[StoredValues]:
        reader = self._open_reader
        query = render_query(name, self._cluster, **values)
        (rows,) = await reader.read([query], binary=_BINARY)
        return rows

    async def _insert(self, name: str, columns: Sequence[str], values: Values) -> int:
        try:
            rows = render_rows(columns, [render_values(columns, values)])
        except (TypeError, ValueError, OverflowError) as exc:
            raise NotSerializable(
                messages.CREDENTIAL_NOT_STORABLE(error=type(exc).__name__, reason=exc)
            ) from exc
        literals = {"cluster": render_literal(self._cluster), "rows": rows}
        return await self._execute(render_statement(QUERIES[name], literals))

    async def _change(self, name: str, /, **values: Any) -> int:
        return await self._execute(render_query(name, self._cluster, **values))

    async def _execute(self, text: str) -> int:
        """Execute a statement, or several in a transaction; return the rows of the last one."""
        try:
            results = await self._open_reader.change(text)
        except MysqlServerError as exc:
            if exc.number not in (_TAKEN, _TOO_LONG):
                raise connect_error(self._settings, exc) from exc
            taken = exc.number == _TAKEN
            reason = (messages.VALUE_TAKEN if taken else messages.VALUE_TOO_LONG)(number=exc.number)
            raise NotSerializable(
                messages.CREDENTIAL_NOT_STORABLE(error="value", reason=reason)
            ) from exc
        last = results[-1] if len(results) == 1 else results[-2]  # before COMMIT
        return last.affected_rows

"""Pure conversions between tokens or sessions and their rows, for every kind of store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from dagengine.model.credentials import Access, SessionEntry, SessionRecord, TokenRecord
from dagengine.store.rows import StoredRow, parse_instant, render_instant, render_optional_json

Values: TypeAlias = Sequence[int | str | bytes | None]

TOKEN_COLUMNS = (
    *("name", "digest", "access", "clusters", "created_by"),
    *("created_at", "expires_at", "last_used_at"),
)
SESSION_COLUMNS = (
    *("digest", "entry", "name", "access", "fingerprint", "token", "created_at", "last_seen_at"),
)


def render_token(token: TokenRecord) -> Values:
    """Return the columns of a new row of table token."""
    clusters = None if token.clusters is None else list(token.clusters)
    return (
        token.name,
        token.digest,
        token.access,
        render_optional_json(clusters),
        token.created_by,
        render_instant(token.created_at),
        _render_optional_instant(token.expires_at),
        _render_optional_instant(token.last_used_at),
    )


def parse_token(row: StoredRow) -> TokenRecord:
    """Convert a row of table token."""
    clusters = row["clusters"]
    return TokenRecord(
        name=row["name"],
        digest=row["digest"],
        access=Access(row["access"]),
        clusters=None if clusters is None else tuple(json.loads(clusters)),
        created_by=row["created_by"],
        created_at=parse_instant(row["created_at"]),
        expires_at=_parse_optional_instant(row["expires_at"]),
        last_used_at=_parse_optional_instant(row["last_used_at"]),
    )


def render_session(session: SessionRecord) -> Values:
    """Return the columns of a new row of table session."""
    return (
        session.digest,
        session.entry,
        session.name,
        session.access,
        session.fingerprint,
        session.token,
        render_instant(session.created_at),
        render_instant(session.last_seen_at),
    )


def parse_session(row: StoredRow) -> SessionRecord:
    """Convert a row of table session."""
    return SessionRecord(
        digest=row["digest"],
        entry=SessionEntry(row["entry"]),
        name=row["name"],
        access=Access(row["access"]),
        fingerprint=row["fingerprint"],
        token=row["token"],
        created_at=parse_instant(row["created_at"]),
        last_seen_at=parse_instant(row["last_seen_at"]),
    )


def _render_optional_instant(at: datetime | None) -> int | None:
    return None if at is None else render_instant(at)


def _parse_optional_instant(value: int | None) -> datetime | None:
    return None if value is None else parse_instant(value)

"""Rules for sessions: ids, cookies, form tokens and lifetimes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dagengine.model.credentials import Access, SessionEntry, SessionRecord
from dagengine.security.session_rules import (
    cookie_names,
    csrf_token,
    digest_id,
    fingerprint_password,
    has_ended,
    is_csrf_token,
    is_own_form,
    last_use,
    render_id,
)

NOW = datetime(2026, 1, 1, 12, 30, 45, 678, tzinfo=UTC)
ID = render_id(bytes(range(32)))
SESSION = SessionRecord(
    b"", SessionEntry.ROOT_PASSWORD, "root@sys", Access.ACT, b"", None, NOW, last_use(NOW)
)


@pytest.mark.parametrize(
    ("host", "is_secure", "name"),
    [
        ("127.0.0.1:2886", False, "dagengine-2886"),
        ("127.0.0.1:2887", False, "dagengine-2887"),
        ("[::1]:2886", True, "__Host-dagengine-2886"),
        ("db1", False, "dagengine-80"),
        ("db1", True, "__Host-dagengine-443"),
        ("", False, "dagengine-80"),
    ],
)
def test_cookie_name_has_port_and_prefix_of_origin(host: str, is_secure: bool, name: str) -> None:
    names = cookie_names(host, is_secure=is_secure)
    assert names.session == name
    assert names.before_login == name.replace("dagengine-", "dagengine-login-")


@pytest.mark.parametrize("text", ["", "x", ID[:-1], f"{ID}A", f"{ID[:-1]}9", "é" * 43, " " * 43])
def test_text_of_other_form_is_not_an_id(text: str) -> None:
    assert digest_id(text) is None
    assert digest_id(ID) is not None


def test_csrf_token_depends_on_session() -> None:
    other = render_id(bytes(32))
    assert csrf_token(ID) != csrf_token(other)
    assert is_csrf_token(csrf_token(ID), ID)
    for text in ("", csrf_token(other), csrf_token(ID)[:-1], csrf_token(ID).upper(), "é"):
        assert not is_csrf_token(text, ID)


def test_fingerprint_depends_on_key_owner_and_password() -> None:
    prints = {
        fingerprint_password(key, owner, password)
        for key in (b"a", b"b")
        for owner in ("root", "agent")
        for password in ("x", "y", "\ud800")
    }
    assert len(prints) == 12


@pytest.mark.parametrize(
    ("created", "seen", "expected"),
    [
        (timedelta(0), timedelta(0), False),
        (timedelta(hours=23, minutes=59), timedelta(hours=11, minutes=59), False),
        (timedelta(hours=12), timedelta(hours=12), True),
        (timedelta(hours=24), timedelta(0), True),
    ],
)
def test_session_ends_by_age_and_by_idleness(
    created: timedelta, seen: timedelta, expected: bool
) -> None:
    session = replace(SESSION, created_at=NOW - created, last_seen_at=NOW - seen)
    assert has_ended(session, NOW) is expected


def test_last_use_has_no_seconds() -> None:
    assert last_use(NOW) == datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("host", "origin", "fetch_site", "expected"),
    [
        ("127.0.0.1:2886", "http://127.0.0.1:2886", None, True),
        ("127.0.0.1:2886", "https://127.0.0.1:2886", None, True),
        ("db1", "http://db1", None, True),
        ("db1:443", "https://db1", None, True),
        ("DB1.", "https://db1", None, True),
        ("db1", "http://db1:8080", None, False),
        ("db1", "https://db2", "same-origin", False),
        ("db1", "null", "same-origin", False),
        ("db1", "", "same-origin", False),
        ("", "http://db1", None, False),
        ("db1", None, "same-origin", True),
        ("db1", None, "same-site", False),
        ("db1", None, "none", False),
        ("db1", None, None, False),
    ],
)
def test_form_is_own_by_origin_or_fetch_site(
    host: str, origin: str | None, fetch_site: str | None, expected: bool
) -> None:
    assert is_own_form(host, origin, fetch_site) is expected

"""The contract dagengine.store.contract.CredentialStore: tokens and sessions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

import pytest

from dagengine.errors import NotSerializable, StoreUnavailable
from dagengine.model.credentials import Access, SessionEntry, SessionRecord, TokenRecord
from dagengine.store.contract import CredentialStore, Store
from tests.conformance.builders import NOW

MINUTE = timedelta(minutes=1)


def token_of(name: str = "ci") -> TokenRecord:
    return TokenRecord(
        name=name,
        digest=sha256(name.encode()).digest(),
        access=Access.ACT,
        clusters=None,
        created_by="root@sys from 127.0.0.1",
        created_at=NOW,
        expires_at=None,
        last_used_at=None,
    )


def session_of(name: str = "one", *, token: bytes | None = None) -> SessionRecord:
    return SessionRecord(
        digest=sha256(name.encode()).digest(),
        entry=SessionEntry.ROOT_PASSWORD if token is None else SessionEntry.TOKEN,
        name="root@sys",
        access=Access.READ,
        fingerprint=bytes(range(32)) if token is None else None,
        token=token,
        created_at=NOW,
        last_seen_at=NOW,
    )


# --- tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    [
        token_of(),
        replace(token_of("größe 名 'x' \\"), access=Access.READ, created_by="uid 0 (pid 1)"),
        replace(token_of(), clusters=("demo", "prod"), expires_at=NOW + MINUTE, last_used_at=NOW),
        replace(token_of(), clusters=(), digest=bytes(32)),
    ],
)
async def test_store_added_token_is_read_back(store: CredentialStore, token: TokenRecord) -> None:
    assert await store.add_token(token)
    assert await store.find_token(token.digest) == token
    assert await store.list_tokens() == (token,)


async def test_store_unknown_token_is_none_and_not_revoked(store: CredentialStore) -> None:
    assert await store.list_tokens() == ()
    assert await store.find_token(bytes(32)) is None
    assert not await store.revoke_token("ci")
    await store.touch_token(bytes(32), NOW)
    assert await store.list_tokens() == ()


async def test_store_lists_tokens_by_name(store: CredentialStore) -> None:
    for name in ("b", "a", "c"):
        assert await store.add_token(token_of(name))
    assert [token.name for token in await store.list_tokens()] == ["a", "b", "c"]


async def test_store_token_with_used_name_changes_nothing(store: CredentialStore) -> None:
    first = token_of()
    assert await store.add_token(first)
    assert not await store.add_token(replace(first, digest=bytes(32), access=Access.READ))
    assert await store.list_tokens() == (first,)
    assert await store.add_token(token_of("CI "))  # names differ by case and trailing spaces


async def test_store_concurrent_tokens_of_one_name_store_one(store: CredentialStore) -> None:
    tokens = [replace(token_of(), digest=bytes([number] * 32)) for number in range(5)]
    results = await asyncio.gather(*map(store.add_token, tokens))
    assert sum(results) == 1
    assert len(await store.list_tokens()) == 1


async def test_store_token_with_used_digest_is_refused(store: CredentialStore) -> None:
    assert await store.add_token(token_of())
    with pytest.raises(NotSerializable):
        await store.add_token(replace(token_of("other"), digest=token_of().digest))
    assert await store.list_tokens() == (token_of(),)


async def test_store_revoked_token_is_gone_and_name_free(store: CredentialStore) -> None:
    token, other = token_of(), token_of("other")
    await store.add_token(token)
    await store.add_token(other)
    assert await store.revoke_token("ci")
    assert await store.find_token(token.digest) is None
    assert not await store.revoke_token("ci")
    assert await store.list_tokens() == (other,)
    assert await store.add_token(replace(token, digest=bytes(32)))


@pytest.mark.parametrize(
    ("at", "expected"), [(NOW, NOW), (NOW + MINUTE, NOW + MINUTE), (NOW - MINUTE, NOW)]
)
async def test_store_touched_token_keeps_last_use(
    store: CredentialStore, at: datetime, expected: datetime
) -> None:
    token, other = token_of(), token_of("other")
    await store.add_token(token)
    await store.add_token(other)
    await store.touch_token(token.digest, NOW)
    await store.touch_token(token.digest, at)
    assert await store.find_token(token.digest) == replace(token, last_used_at=expected)
    assert await store.find_token(other.digest) == other


# --- sessions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", SessionEntry)
async def test_store_added_session_is_read_back(
    store: CredentialStore, entry: SessionEntry
) -> None:
    session = replace(session_of(), entry=entry, name=str(entry))
    assert await store.add_session(session)
    assert await store.find_session(session.digest) == session
    assert await store.find_session(bytes(32)) is None


async def test_store_session_with_used_digest_is_refused(store: CredentialStore) -> None:
    assert await store.add_session(session_of())
    with pytest.raises(NotSerializable):
        await store.add_session(replace(session_of(), access=Access.ACT))
    assert await store.find_session(session_of().digest) == session_of()


async def test_store_revoked_token_ends_its_sessions_only(store: CredentialStore) -> None:
    token, other = token_of(), token_of("other")
    await store.add_token(token)
    await store.add_token(other)
    by_token, by_other = session_of("1", token=token.digest), session_of("2", token=other.digest)
    for session in (by_token, by_other, session_of("3")):
        assert await store.add_session(session)
    await store.revoke_token("ci")
    assert await store.find_session(by_token.digest) is None
    assert await store.find_session(by_other.digest) == by_other
    assert await store.find_session(session_of("3").digest) is not None
    assert not await store.add_session(session_of("4", token=token.digest))
    assert await store.find_session(session_of("4").digest) is None


@pytest.mark.parametrize(
    ("at", "expected"), [(NOW, NOW), (NOW + MINUTE, NOW + MINUTE), (NOW - MINUTE, NOW)]
)
async def test_store_touched_session_keeps_last_use(
    store: CredentialStore, at: datetime, expected: datetime
) -> None:
    await store.add_session(session_of())
    await store.add_session(session_of("other"))
    await store.touch_session(session_of().digest, at)
    await store.touch_session(bytes(32), at)
    assert await store.find_session(session_of().digest) == replace(
        session_of(), last_seen_at=expected
    )
    assert await store.find_session(session_of("other").digest) == session_of("other")


async def test_store_deleted_session_is_gone(store: CredentialStore) -> None:
    await store.add_session(session_of())
    await store.add_session(session_of("other"))
    await store.delete_session(session_of().digest)
    await store.delete_session(session_of().digest)
    assert await store.find_session(session_of().digest) is None
    assert await store.find_session(session_of("other").digest) is not None


async def test_store_deletes_old_and_unused_sessions(store: CredentialStore) -> None:
    old = replace(session_of("old"), created_at=NOW - 2 * MINUTE)
    unused = replace(session_of("unused"), last_seen_at=NOW - 2 * MINUTE)
    for session in (old, unused, session_of()):
        await store.add_session(session)
    assert await store.delete_old_sessions(created_before=NOW, seen_before=NOW) == 2
    assert await store.delete_old_sessions(created_before=NOW, seen_before=NOW) == 0
    assert await store.find_session(session_of().digest) == session_of()


# --- both ----------------------------------------------------------------------------------------


async def test_store_credentials_survive_reopening(store: Store) -> None:
    await store.add_token(token_of())
    await store.add_session(session_of())
    await store.close()
    await store.open()
    assert await store.list_tokens() == (token_of(),)
    assert await store.find_session(session_of().digest) == session_of()


@pytest.mark.parametrize("name", ["\ud800", "a\ud800b"])
async def test_store_refuses_unstorable_credential(store: CredentialStore, name: str) -> None:
    with pytest.raises(NotSerializable):
        await store.add_token(replace(token_of(), name=name))
    with pytest.raises(NotSerializable):
        await store.add_session(replace(session_of(), name=name))
    assert await store.list_tokens() == ()


async def test_closed_store_refuses_credentials(store: Store) -> None:
    await store.close()
    for call in (store.list_tokens(), store.add_token(token_of()), store.find_session(bytes(32))):
        with pytest.raises(StoreUnavailable):
            await call
    await store.open()

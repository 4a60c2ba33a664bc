"""The identity of an SQLite store: made once, kept by copies, renewed by `store new-epoch`."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagengine import AuditRecord, SqliteStore
from dagengine.errors import StoreInUse, StoreTooNew, StoreUnavailable
from dagengine.model.changes import LockTaken
from dagengine.model.records import LockRecord
from dagengine.store import StoreIdentity
from dagengine.store.sqlite.backup import backup_store
from dagengine.store.sqlite.identity import append_audit, read_last_token, renew_epoch
from tests.conformance.builders import NOW, batch_of, commit_one, create
from tests.fixtures.stores import RECORDED, identity_of, version_of, write_store

AUDIT = AuditRecord(0, datetime(2026, 1, 1, tzinfo=UTC), 0, None, "NEW_EPOCH", "root on a", "")
IDENTITY_SINCE = 8  # version of the schema
UNIX_TIME_S = 1_767_225_600


async def identity_after_open(path: Path) -> StoreIdentity:
    store = SqliteStore(path)
    await store.open()
    try:
        return await store.load_identity()
    finally:
        await store.close()


async def test_new_stores_have_different_ids_and_epoch_1(tmp_path: Path) -> None:
    first = await identity_after_open(tmp_path / "a.sqlite")
    second = await identity_after_open(tmp_path / "b.sqlite")
    assert re.fullmatch("[0-9a-f]{32}", first.store_id)
    assert first.store_id != second.store_id
    assert (first.epoch, second.epoch) == (1, 1)


@pytest.mark.parametrize("version", [version for version in RECORDED if version < IDENTITY_SINCE])
async def test_upgraded_store_gets_id_of_its_own_and_keeps_it(tmp_path: Path, version: int) -> None:
    paths = [write_store(tmp_path / name, version) for name in ("a.sqlite", "b.sqlite")]
    first, second = [await identity_after_open(path) for path in paths]
    assert re.fullmatch("[0-9a-f]{32}", first.store_id)
    assert (first.epoch, first.store_id != second.store_id) == (1, True)
    assert await identity_after_open(paths[0]) == first


async def test_upgraded_store_with_identity_keeps_it(tmp_path: Path) -> None:
    path = write_store(tmp_path / "store.sqlite", IDENTITY_SINCE)
    before = identity_of(path)
    after = await identity_after_open(path)
    assert (after.store_id, after.epoch) == before


async def test_backup_and_copy_keep_identity(tmp_path: Path) -> None:
    path, backup, copy = (tmp_path / f"{name}.sqlite" for name in ("store", "backup", "copy"))
    identity = await identity_after_open(path)
    backup_store(path, backup)
    shutil.copyfile(path, copy)
    assert await identity_after_open(backup) == await identity_after_open(copy) == identity


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (1, UNIX_TIME_S),
        (UNIX_TIME_S - 1, UNIX_TIME_S),
        (UNIX_TIME_S, UNIX_TIME_S + 1),  # twice within a second
        (UNIX_TIME_S + 500, UNIX_TIME_S + 501),  # the clock was set back
    ],
)
async def test_renew_epoch_is_larger_than_all_before(
    tmp_path: Path, before: int, after: int
) -> None:
    path = tmp_path / "store.sqlite"
    identity = await identity_after_open(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (str(before),))
    store_id = identity.store_id
    renewed = renew_epoch(path, AUDIT)
    assert renewed == (StoreIdentity(store_id, before), StoreIdentity(store_id, after))
    assert identity_of(path) == (store_id, after)
    store = SqliteStore(path)
    await store.open()
    assert await store.list_audit(None, limit=9) == (replace(AUDIT, audit_id=1),)
    await store.close()


async def test_renew_epoch_at_least_exceeds_future_epoch(tmp_path: Path) -> None:
    """A host knows an epoch that a wrong clock has made."""
    path = tmp_path / "store.sqlite"
    await identity_after_open(path)
    future = UNIX_TIME_S + 10**9
    assert renew_epoch(path, AUDIT, at_least=future + 1)[1].epoch == future + 1
    assert renew_epoch(path, AUDIT, at_least=5)[1].epoch == future + 2


async def test_renew_epoch_needs_store_without_controller(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    with pytest.raises(StoreInUse):
        renew_epoch(store.path, AUDIT)
    assert (await store.load_identity()).epoch == 1
    await store.close()
    assert renew_epoch(store.path, AUDIT)[1].epoch == UNIX_TIME_S


@pytest.mark.parametrize("version", RECORDED)
def test_renew_epoch_upgrades_older_store(tmp_path: Path, version: int) -> None:
    path = write_store(tmp_path / "store.sqlite", version)
    assert renew_epoch(path, AUDIT)[0].epoch == 1
    assert identity_of(path)[1] == UNIX_TIME_S


def test_renew_epoch_of_missing_store_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="does not exist"):
        renew_epoch(tmp_path / "none.sqlite", AUDIT)
    assert list(tmp_path.iterdir()) == []


async def test_local_commands_work_while_controller_runs(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    identity = await store.load_identity()
    assert read_last_token(store.path) == (identity, 0)
    lock = LockRecord("cluster", 1, 7, "", NOW)
    assert await commit_one(store, batch_of(create(), LockTaken(lock))) is None
    assert read_last_token(store.path) == (identity, 7)
    append_audit(store.path, AUDIT)
    assert await store.list_audit(None, limit=9) == (replace(AUDIT, audit_id=1),)
    await store.close()


@pytest.mark.parametrize("content", ["older", "newer", "other", "none"])
def test_local_commands_leave_unusable_store_unchanged(tmp_path: Path, content: str) -> None:
    path = tmp_path / "store.sqlite"
    if content != "none":
        write_store(path, 7)
        with closing(sqlite3.connect(path)) as connection:
            if content == "newer":
                connection.execute("PRAGMA user_version = 99")
            if content == "other":
                connection.execute("PRAGMA application_id = 1")
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(StoreUnavailable) as caught:
        append_audit(path, AUDIT)
    assert caught.value.remedy
    with pytest.raises(StoreUnavailable):
        read_last_token(path)
    assert (path.read_bytes() if path.exists() else None) == before
    if content == "newer":
        with pytest.raises(StoreTooNew):
            renew_epoch(path, AUDIT)
        assert version_of(path) == 99

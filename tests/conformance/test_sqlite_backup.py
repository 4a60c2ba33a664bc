"""The SQLite store: copies of the file during concurrent writes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from dagengine.errors import StoreUnavailable
from dagengine.store.sqlite.backup import backup_store
from dagengine.store.sqlite.store import SqliteStore
from tests.conformance.builders import batch_of, commit_one, create, line_of
from tests.conformance.test_store_credentials import session_of, token_of
from tests.fixtures.stores import RECORDED, rows_of, write_store


async def test_backup_store_during_writes_gives_valid_store(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    created = create()
    await commit_one(sqlite_store, batch_of(created))
    target = tmp_path / "copy.sqlite"

    async def write() -> None:
        for number in range(200):
            await commit_one(sqlite_store, batch_of(line_of(created, str(number))))

    _, size_bytes = await asyncio.gather(
        write(), asyncio.to_thread(backup_store, sqlite_store.path, target)
    )
    assert size_bytes == target.stat().st_size > 0
    assert target.stat().st_mode & 0o777 == 0o600
    copy = SqliteStore(target)
    await copy.open()
    assert await copy.load_dag(1) == await sqlite_store.load_dag(1)
    lines = [line.content for line in await copy.find_logs(1)]
    assert lines == [str(number) for number in range(len(lines))]
    await copy.close()


async def test_backup_store_keeps_tokens_and_drops_sessions(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    await sqlite_store.add_token(token_of())
    session = session_of(token=token_of().digest)
    for number in range(100):
        await sqlite_store.add_session(replace(session, digest=bytes([number] * 32)))
    await sqlite_store.add_session(session)
    target = tmp_path / "copy.sqlite"
    backup_store(sqlite_store.path, target)
    assert session.digest not in target.read_bytes()
    copy = SqliteStore(target)
    await copy.open()
    assert await copy.list_tokens() == (token_of(),)
    assert await copy.find_session(session.digest) is None
    await copy.close()
    assert await sqlite_store.find_session(session.digest) == session


@pytest.mark.parametrize("version", RECORDED)
def test_backup_store_of_earlier_version_is_complete(tmp_path: Path, version: int) -> None:
    path = write_store(tmp_path / "store.sqlite", version)
    backup_store(path, tmp_path / "copy.sqlite")
    assert rows_of(tmp_path / "copy.sqlite") == rows_of(path)


async def test_backup_store_refuses_existing_target_and_non_store(tmp_path: Path) -> None:
    target = tmp_path / "copy"
    with pytest.raises(StoreUnavailable, match="does not exist"):
        backup_store(tmp_path / "nothing", target)
    (tmp_path / "notes").write_text("x" * 5000)
    with pytest.raises(StoreUnavailable, match="cannot be copied"):
        backup_store(tmp_path / "notes", target)
    assert list(tmp_path.iterdir()) == [tmp_path / "notes"]
    target.write_text("precious")
    with pytest.raises(StoreUnavailable, match="exists"):
        backup_store(tmp_path / "notes", target)
    assert target.read_text() == "precious"


async def test_backup_store_of_damaged_store_leaves_no_file(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    for _ in range(20):
        await commit_one(sqlite_store, batch_of(create()))
    await sqlite_store.close()
    content = bytearray(sqlite_store.path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    sqlite_store.path.write_bytes(content)
    place = tmp_path / "backups"
    place.mkdir()
    with pytest.raises(StoreUnavailable, match="cannot be copied") as caught:
        backup_store(sqlite_store.path, place / "copy")
    assert "free space" not in caught.value.remedy
    assert "put a backup in its place" in caught.value.remedy
    assert list(place.iterdir()) == []

"""The SQLite store: remedies in its errors."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from operator import methodcaller
from pathlib import Path

import pytest

from dagengine.errors import StoreUnavailable
from dagengine.store.sqlite.backup import backup_store
from dagengine.store.sqlite.remedies import remedy_for
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing.internals import call_writer
from tests.conformance.builders import NOW, batch_of, create


@contextmanager
def held_by_another(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def damage(path: Path) -> None:
    """Overwrite every page but the first one, which identifies the file's program."""
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(bytes(data))


async def test_remedy_for_locked_file_names_other_process(
    sqlite_store: SqliteStore,
) -> None:
    await call_writer(sqlite_store, methodcaller("execute", "PRAGMA busy_timeout = 1"))
    with held_by_another(sqlite_store.path), pytest.raises(StoreUnavailable) as caught:
        await sqlite_store.probe(NOW)
    assert "cannot be written: database is locked" in caught.value.message
    assert "end the process that holds" in caught.value.remedy
    assert f"`fuser -v {sqlite_store.path}`" in caught.value.remedy
    assert "space" not in caught.value.remedy
    await sqlite_store.probe(NOW)


async def test_remedy_for_damaged_store_in_backup_names_damage(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    await sqlite_store.commit([batch_of(create())])
    await sqlite_store.close()
    damage(sqlite_store.path)
    with pytest.raises(StoreUnavailable, match="disk image is malformed") as caught:
        backup_store(sqlite_store.path, tmp_path / "copy")
    assert f"{sqlite_store.path} is damaged" in caught.value.remedy
    assert "put a backup in its place" in caught.value.remedy
    assert "space" not in caught.value.remedy


async def test_remedy_for_foreign_database_in_backup_names_option(tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreUnavailable, match="is not a store of dagengine") as caught:
        backup_store(path, tmp_path / "copy")
    assert "-c" in caught.value.remedy
    assert list(tmp_path.iterdir()) == [path]


async def test_remedy_for_unreadable_store_names_backup(
    sqlite_store: SqliteStore,
) -> None:
    await sqlite_store.commit([batch_of(create())])
    await sqlite_store.close()
    await sqlite_store.open()
    damage(sqlite_store.path)
    with pytest.raises(StoreUnavailable, match=r"cannot be read: .*malformed") as caught:
        await sqlite_store.find_dag(1, details=True)
    assert "put a backup in its place" in caught.value.remedy


FULL_DISK = """
import asyncio, resource, sys
from dagengine.errors import StoreUnavailable
from dagengine.store.sqlite.store import SqliteStore

async def main():
    limit = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        await SqliteStore(sys.argv[1]).open()
    except StoreUnavailable as exc:
        print(exc)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    store = SqliteStore(sys.argv[1])
    await store.open()
    await store.close()
    print("opened")

asyncio.run(main())
"""


@pytest.mark.parametrize("limit_bytes", [0, 100, 5000])
def test_remedy_for_full_disk_at_open_names_disk_space(tmp_path: Path, limit_bytes: int) -> None:
    """A limit on the size of files simulates a full disk: EFBIG, and SQLite's I/O error."""
    path = tmp_path / "store.sqlite"
    completed = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path), str(limit_bytes)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (completed.returncode, completed.stderr) == (0, "")
    error_line, opened = completed.stdout.splitlines()
    assert str(path) in error_line
    assert limit_bytes or f"cannot write {path}.lock" in error_line
    assert "space on the disk" in error_line or "check the disk: its free space" in error_line
    assert opened == "opened"


@pytest.mark.parametrize(
    ("number", "word"),
    [
        *((number, "free space on the disk") for number in (errno.ENOSPC, errno.EDQUOT)),
        *((number, "let this user write") for number in (errno.EACCES, errno.EPERM, errno.EROFS)),
        (errno.EIO, "dmesg"),
        (errno.ENAMETOOLONG, "free space of the disk and the permissions of the file"),
    ],
)
def test_remedy_for_os_error_depends_on_errno(number: int, word: str) -> None:
    assert word in remedy_for(OSError(number, os.strerror(number)), Path("x"))


def test_remedy_for_path_with_blank_is_quoted() -> None:
    exc = sqlite3.OperationalError("database is locked")
    exc.sqlite_errorcode = sqlite3.SQLITE_BUSY
    assert "`fuser -v 'a b'`" in remedy_for(exc, Path("a b"))

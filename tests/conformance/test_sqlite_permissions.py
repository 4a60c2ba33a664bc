"""The SQLite store: permissions of its files, and files that cannot be written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagengine.errors import StoreUnavailable
from dagengine.store.sqlite import connection as connect
from dagengine.store.sqlite.store import SqliteStore
from tests.conformance.builders import batch_of, create


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    """Set a umask that lets all users read new files."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes_of(directory: Path) -> dict[str, str]:
    return {path.name: f"{path.stat().st_mode & 0o777:o}" for path in sorted(directory.iterdir())}


ALL_FILES = dict.fromkeys(("store.sqlite", *(f"store.sqlite{e}" for e in ("-shm", "-wal"))), "600")


async def make(path: Path) -> None:
    """Create a store with one DAG."""
    store = SqliteStore(path)
    await store.open()
    await store.commit([batch_of(create())])
    await store.close()


# --- read permissions ----------------------------------------------------------------------------


async def test_sqlite_store_new_files_are_private_from_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded_modes: list[dict[str, str]] = []
    migrate = connect.apply_migrations

    def record_modes(connection: sqlite3.Connection, done: int) -> None:
        recorded_modes.append(modes_of(tmp_path))
        migrate(connection, done)

    monkeypatch.setattr(connect, "apply_migrations", record_modes)
    store = SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    await store.commit([batch_of(create())])
    recorded_modes.append(modes_of(tmp_path))
    await store.close()
    recorded_modes.append(modes_of(tmp_path))
    assert [set(modes.values()) for modes in recorded_modes] == [{"600"}] * 3
    assert recorded_modes[1] == ALL_FILES | {"store.sqlite.lock": "600"}


async def test_sqlite_store_open_makes_copied_file_private(
    tmp_path: Path,
) -> None:
    await make(tmp_path / "store.sqlite")
    (tmp_path / "store.sqlite").chmod(0o644)
    store = SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    assert modes_of(tmp_path) == ALL_FILES | {"store.sqlite.lock": "600"}
    await store.close()


async def test_sqlite_store_open_makes_files_of_killed_owner_private(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    await store.commit([batch_of(create())])
    (tmp_path / "killed").mkdir()
    for name in ALL_FILES:
        shutil.copyfile(tmp_path / name, tmp_path / "killed" / name)
    await store.close()
    assert set(modes_of(tmp_path / "killed").values()) == {"644"}
    reopened = SqliteStore(tmp_path / "killed" / "store.sqlite")
    await reopened.open()
    assert await reopened.load_dag(1) is not None
    assert set(modes_of(tmp_path / "killed").values()) == {"600"}
    await reopened.close()


async def test_sqlite_store_foreign_file_keeps_mode(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreUnavailable, match="another program"):
        await SqliteStore(path).open()
    assert modes_of(tmp_path)["store.sqlite"] == "644"


async def test_sqlite_store_link_to_store_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "store.sqlite").touch()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "store.sqlite")
    store = SqliteStore(tmp_path / "link")
    await store.open()
    assert modes_of(tmp_path / "there") == ALL_FILES | {"store.sqlite.lock": "600"}
    await store.close()


# --- empty files ---------------------------------------------------------------------------------


async def test_sqlite_store_empty_file_becomes_store(tmp_path: Path) -> None:
    """A first opening that is killed before its first write leaves an empty file."""
    path = tmp_path / "store.sqlite"
    path.touch()
    await make(path)
    store = SqliteStore(path)
    await store.open()
    assert await store.load_dag(1) is not None
    await store.close()


@pytest.mark.parametrize("state", ["emptied", "taken away"])
async def test_sqlite_store_wal_without_store_is_not_deleted(tmp_path: Path, state: str) -> None:
    path, log = tmp_path / "store.sqlite", tmp_path / "store.sqlite-wal"
    log.write_bytes(b"commits")
    if state == "emptied":
        path.touch()
    with pytest.raises(StoreUnavailable, match=r"is missing or empty, but its log .*-wal is not"):
        await SqliteStore(path).open()
    assert log.read_bytes() == b"commits"
    assert path.exists() == (state == "emptied")
    log.unlink()
    await make(path)


# --- files that cannot be written ----------------------------------------------------------------

OPEN_AS_NOBODY = """
import asyncio, os, sys
from dagengine.errors import StoreUnavailable
from dagengine.store.sqlite.store import SqliteStore

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
path, *modes = sys.argv[1:]

async def open_and_close():
    store = SqliteStore(path)
    await store.open()
    dags = await store.list_dags(limit=9)
    await store.close()
    return f"opened, it has {len(dags)}"

for mode in modes:
    name, number = mode.split("=")
    os.chmod(os.path.join(os.path.dirname(path), name), int(number, 8))
    try:
        print(asyncio.run(open_and_close()))
    except StoreUnavailable as exc:
        print(exc)
"""


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Yield a directory that other users can reach; pytest's own is private."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


async def open_as_nobody(path: Path, *modes: str) -> list[str]:
    """Open the store as another user after setting each mode (`x=400`); return the responses."""
    if os.geteuid() == 0:
        for file in (path.parent, *path.parent.iterdir()):
            os.chown(file, 65534, 65534)
    done = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", OPEN_AS_NOBODY, str(path), *modes],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


async def test_sqlite_store_read_only_file_is_refused_by_name(
    open_path: Path,
) -> None:
    path = open_path / "store.sqlite"
    await make(path)
    refused, opened = await open_as_nobody(path, "store.sqlite=400", "store.sqlite=600")
    assert f"this user may not read and write {path};" in refused
    assert "chmod 600" in refused
    assert opened == "opened, it has 1"


async def test_sqlite_store_read_only_sidecar_file_is_named(open_path: Path) -> None:
    path = open_path / "store.sqlite"
    await make(path)
    (open_path / "store.sqlite-shm").touch()
    refused, opened = await open_as_nobody(path, "store.sqlite-shm=400", "store.sqlite-shm=600")
    assert f"this user may not read and write {path}-shm;" in refused
    assert opened == "opened, it has 1"


async def test_sqlite_store_read_only_directory_is_refused(open_path: Path) -> None:
    path = open_path / "new" / "store.sqlite"
    path.parent.mkdir()
    (open_path / "new" / "store.sqlite.lock").touch()
    refused, opened = await open_as_nobody(path, ".=500", ".=700")
    assert f"cannot create the store {path}: Permission denied; let this user write" in refused
    assert opened == "opened, it has 0"

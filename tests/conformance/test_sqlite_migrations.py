"""The SQLite store: the schema of new stores, and stores of earlier versions."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from operator import methodcaller
from pathlib import Path

import pytest

from dagengine.errors import StoreTooOld, StoreUnavailable
from dagengine.store.sqlite.backup import backup_store
from dagengine.store.sqlite.migrate import (
    APPLICATION_ID,
    OLDEST_VERSION,
    list_migrations,
    newest_version,
)
from dagengine.store.sqlite.queries import read_file
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing.internals import call_writer
from tests.conformance.builders import batch_of, create
from tests.fixtures.stores import RECORDED, rows_of, version_of, write_store

NEWEST = newest_version()
NEVER_RELEASED = range(1, OLDEST_VERSION)


async def open_and_close(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.close()


def schema_of(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Return the whole schema, without comments and spacing."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return sorted((kind, name, normalize(sql)) for kind, name, sql in rows)


def normalize(sql: str) -> str:
    words = " ".join(line.split("--")[0] for line in sql.splitlines()).split()
    # SQLite quotes the name of a table that a migration renamed.
    return " ".join(words).replace("( ", "(").replace(" )", ")").replace(" ,", ",").replace('"', "")


def expected_schema() -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(read_file("schema.sql"))
        return schema_of(connection)


def check_newest(path: Path) -> None:
    """Check that the file is a sound store of the newest version."""
    with closing(sqlite3.connect(path)) as connection:
        assert schema_of(connection) == expected_schema()
        assert connection.execute("PRAGMA user_version").fetchone() == (NEWEST,)
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# --- the schema ----------------------------------------------------------------------------------


async def test_new_store_has_schema_of_schema_file(tmp_path: Path) -> None:
    await open_and_close(tmp_path / "store.sqlite")
    check_newest(tmp_path / "store.sqlite")


def test_recorded_stores_cover_every_upgradable_version() -> None:
    assert sorted(RECORDED) == list(range(OLDEST_VERSION, NEWEST))


@pytest.mark.parametrize("version", RECORDED)
def test_recorded_store_has_its_version_and_is_small(tmp_path: Path, version: int) -> None:
    path = write_store(tmp_path / "store.sqlite", version)
    assert version_of(path) == version
    assert RECORDED[version].stat().st_size < 200_000


@pytest.mark.parametrize("version", RECORDED)
async def test_upgraded_store_has_schema_of_schema_file(tmp_path: Path, version: int) -> None:
    path = write_store(tmp_path / "store.sqlite", version)
    await open_and_close(path)
    check_newest(path)


@pytest.mark.parametrize("version", RECORDED)
async def test_upgraded_store_keeps_every_row(tmp_path: Path, version: int) -> None:
    path = write_store(tmp_path / "store.sqlite", version)
    before = rows_of(path)
    assert all(before.values()), "a table of the recorded store is empty"
    await open_and_close(path)
    assert rows_of(path) == before


async def test_upgraded_store_is_opened_again_without_change(tmp_path: Path) -> None:
    path = write_store(tmp_path / "store.sqlite")
    await open_and_close(path)
    before = rows_of(path)
    await open_and_close(path)
    assert rows_of(path) == before


async def test_upgraded_store_enforces_references_and_audit(tmp_path: Path) -> None:
    store = SqliteStore(write_store(tmp_path / "store.sqlite"))
    await store.open()
    for statement, reason in (
        ("DELETE FROM dag", "FOREIGN KEY"),
        ("DELETE FROM audit", "append-only"),
        ("UPDATE audit SET by = 'x'", "append-only"),
    ):
        with pytest.raises(StoreUnavailable, match=reason):
            await call_writer(store, methodcaller("execute", statement))
    await store.close()


async def test_upgrade_after_kill_keeps_write_ahead_log(tmp_path: Path) -> None:
    """The last commits of the recorded store are only in the write-ahead log."""
    old = write_store(tmp_path / "old.sqlite")
    with closing(sqlite3.connect(old, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("UPDATE dag SET heir = 24 WHERE dag_id = 23")
        for end in ("", "-wal", "-shm"):
            shutil.copyfile(f"{old}{end}", tmp_path / f"store.sqlite{end}")
    store = SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    rows = await store.load_dag(23)
    await store.close()
    assert rows is not None
    assert rows.dag.lock_successor_id == 24
    check_newest(store.path)


# --- unsupported versions ------------------------------------------------------------------------


def write_old(path: Path, version: int) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
    return path


@pytest.mark.parametrize("version", [0, *NEVER_RELEASED])
async def test_open_unreleased_version_refuses_it_by_name(tmp_path: Path, version: int) -> None:
    path = write_old(tmp_path / "store.sqlite", version)
    before = path.read_bytes()
    with pytest.raises(StoreTooOld, match=rf"schema {version}, .* schema 6 and later") as caught:
        await SqliteStore(path).open()
    assert str(path) in caught.value.message
    assert "move it away" in caught.value.remedy
    assert path.read_bytes() == before


# --- interrupted and impossible upgrades ---------------------------------------------------------

KILL = """
import os, signal, sqlite3, sys
from pathlib import Path
from dagengine.store.sqlite import connection as connect
from dagengine.store.sqlite.migrate import newest_version

path, moment = Path(sys.argv[1]), sys.argv[2]
calls = 0

class Killed(sqlite3.Connection):
    def execute(self, *arguments):
        global calls
        calls += 1
        if moment == "before" and calls == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        result = super().execute(*arguments)
        if moment == "after" and calls == limit:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

original = path.read_bytes()
real = sqlite3.connect
versions = []
for limit in range(1, 100):
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    path.write_bytes(original)
    if (child := os.fork()) == 0:
        sqlite3.connect = lambda *a, **k: real(*a, **k, factory=Killed)
        connect.connect_writer(path).close()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    reader = real(f"file:{path}?mode=ro", uri=True)
    (version,) = reader.execute("PRAGMA user_version").fetchone()
    reader.close()
    versions.append(version)
    connection = connect.connect_writer(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (newest_version(),)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    columns = "COUNT(*), MAX(lock_successor_id)"
    assert connection.execute(f"SELECT {columns} FROM dag").fetchone() == (28, 22)
    connection.close()
    if status == 0:
        break
print(*versions)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("version", RECORDED)
def test_upgrade_killed_at_any_statement_leaves_one_version(
    tmp_path: Path, moment: str, version: int
) -> None:
    path = write_store(tmp_path / "store.sqlite", version)
    completed = subprocess.run(
        [sys.executable, "-c", KILL, str(path), moment],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (completed.returncode, completed.stderr) == (0, "")
    versions = [int(word) for word in completed.stdout.split()]
    assert versions == sorted(versions)
    statements = read_file(f"migrations/{dict(list_migrations())[version + 1]}").split(";")
    assert versions.count(version) > len(statements) - 1
    assert set(versions) == {*range(version, NEWEST + 1)}


FULL_DISK = """
import resource, sys
from pathlib import Path
from dagengine.errors import StoreUnavailable
from dagengine.store.sqlite import connection as connect

path, moment, limit_bytes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def fill():
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))

def fill_and_migrate(connection, done):
    fill()
    migrate(connection, done)

if moment == "opening":
    fill()
else:
    migrate, connect.apply_migrations = connect.apply_migrations, fill_and_migrate
try:
    connect.connect_writer(path).close()
    print("opened")
except StoreUnavailable as exc:
    print(exc)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
"""


@pytest.mark.parametrize("moment", ["opening", "migration"])
@pytest.mark.parametrize("limit_bytes", [0, 4_000, 12_000])
async def test_upgrade_on_full_disk_changes_nothing(
    tmp_path: Path, moment: str, limit_bytes: int
) -> None:
    """A limit on the size of files has the same effect as a full disk."""
    path = write_store(tmp_path / "store.sqlite")
    before = rows_of(path)
    completed = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", FULL_DISK, str(path), moment, str(limit_bytes)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (completed.returncode, completed.stderr) == (0, "")
    assert f"the store {path} cannot be used: " in completed.stdout
    assert "space on the disk" in completed.stdout or "free space" in completed.stdout
    assert version_of(path) == 6
    assert rows_of(path) == before
    await open_and_close(path)
    check_newest(path)
    assert rows_of(path) == before


READ_ONLY = """
import os, sys
from pathlib import Path
from dagengine.errors import StoreError
from dagengine.store.sqlite.connection import connect_writer

os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    connect_writer(Path(sys.argv[1]))
except StoreError as exc:
    print(exc)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize("read_only_part", ["file", "directory"])
def test_upgrade_of_read_only_store_is_refused(read_only_part: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = write_store(Path(name) / "store.sqlite")
        Path(name).chmod(0o777 if read_only_part == "file" else 0o755)
        path.chmod(0o644 if read_only_part == "file" else 0o666)
        before = path.read_bytes()
        completed = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(path)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (completed.returncode, completed.stderr) == (0, "")
        assert f"the store {path} cannot be used: " in completed.stdout
        assert "owner and mode" in completed.stdout or "let this user write" in completed.stdout
        assert path.read_bytes() == before


# --- backups of earlier versions -----------------------------------------------------------------


@pytest.mark.parametrize("version", RECORDED)
async def test_backup_of_older_version_copies_it_unchanged(tmp_path: Path, version: int) -> None:
    source, copy = write_store(tmp_path / "store.sqlite", version), tmp_path / "copy.sqlite"
    before = rows_of(source)
    backup_store(source, copy)
    assert (version_of(source), version_of(copy)) == (version, version)
    assert rows_of(copy) == before
    store = SqliteStore(copy)
    await store.open()
    await store.commit([batch_of(create(29), dag_id=29)])
    await store.close()
    check_newest(copy)
    assert version_of(source) == version

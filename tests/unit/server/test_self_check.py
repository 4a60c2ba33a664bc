"""`doctor` checks of a controller's own files, all of them read-only."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagengine import SqliteStore
from dagengine.extension import SelfCheckResult, SelfCheckStatus, inspect_controller, inspect_file
from dagengine.server.self_check import find_lock_owner
from tests.fixtures.stores import write_store


@pytest.fixture
def engine_file(tmp_path: Path) -> Iterator[Path]:
    with socket.socket() as reserved:  # bound, but not listening: reserves the port
        reserved.bind(("127.0.0.1", 0))
        file = tmp_path / "engine.yaml"
        file.write_text(
            f"api: {{port: {reserved.getsockname()[1]}}}\nstore: {{path: store.sqlite}}\n"
            "cluster: cluster.yaml\n"
        )
        yield file


def inspect(engine_file: Path) -> dict[str, SelfCheckResult]:
    before = listing(engine_file.parent)
    _, results = inspect_controller(engine_file, {})
    assert listing(engine_file.parent) == before
    return {result.check: result for result in results}


def listing(directory: Path) -> list[tuple[str, int, int]]:
    return sorted(
        (str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in directory.rglob("*")
    )


def make_store(path: Path) -> None:
    async def make() -> None:
        store = SqliteStore(path)
        await store.open()
        await store.close()

    asyncio.run(make())


def test_inspect_controller_before_first_start_is_ok(engine_file: Path) -> None:
    results = inspect(engine_file)
    assert {result.health for result in results.values()} == {SelfCheckStatus.OK}
    assert "first start creates it" in results["store"].message
    assert "free" in results["API"].message


def test_inspect_controller_invalid_engine_file_is_only_result(engine_file: Path) -> None:
    engine_file.write_text("clustr: x\n")
    results = inspect(engine_file)
    assert list(results) == ["engine file"]
    assert results["engine file"].health is SelfCheckStatus.BAD
    assert "did you mean cluster" in results["engine file"].remedy


def test_inspect_controller_unused_store_shows_schema(engine_file: Path) -> None:
    make_store(engine_file.parent / "store.sqlite")
    result = inspect(engine_file)["store"]
    assert result.health is SelfCheckStatus.OK
    assert "not in use; schema" in result.message


def test_inspect_controller_foreign_database_is_bad(engine_file: Path) -> None:
    with sqlite3.connect(engine_file.parent / "store.sqlite") as database:
        database.execute("CREATE TABLE t (x)")
    database.close()
    result = inspect(engine_file)["store"]
    assert (result.health, result.message) == (SelfCheckStatus.BAD, "is not a store of dagengine")


def test_inspect_controller_newer_schema_is_bad(engine_file: Path) -> None:
    path = engine_file.parent / "store.sqlite"
    make_store(path)
    with sqlite3.connect(path) as store:
        store.execute("PRAGMA user_version = 9999")
    store.close()
    result = inspect(engine_file)["store"]
    assert result.health is SelfCheckStatus.BAD
    assert "schema 9999" in result.message


@pytest.mark.parametrize(
    ("version", "health", "text"),
    [
        (6, SelfCheckStatus.OK, "schema 6 of 9: the next start upgrades it"),
        (7, SelfCheckStatus.OK, "schema 7 of 9: the next start upgrades it"),
        (8, SelfCheckStatus.OK, "schema 8 of 9: the next start upgrades it"),
        (5, SelfCheckStatus.BAD, "has schema 5, which was never released and cannot be upgraded"),
    ],
)
def test_inspect_controller_older_schema_is_named(
    engine_file: Path, version: int, health: SelfCheckStatus, text: str
) -> None:
    path = write_store(engine_file.parent / "store.sqlite")
    with sqlite3.connect(path) as store:
        store.execute(f"PRAGMA user_version = {version}")
    store.close()
    result = inspect(engine_file)["store"]
    assert result.health is health
    assert text in result.message
    assert result.remedy.startswith("move it away") == (health is SelfCheckStatus.BAD)


def test_inspect_controller_store_in_use_names_controller(engine_file: Path) -> None:
    lock = engine_file.parent / "store.sqlite.lock"
    with lock.open("w") as file:
        assert find_lock_owner(lock) is None
        fcntl.flock(file, fcntl.LOCK_EX)
        results = inspect(engine_file)
        assert results["store"].message == f"in use by the controller with pid {os.getpid()}"
        assert results["API"].health is SelfCheckStatus.WARN  # its port is closed
    assert find_lock_owner(lock) is None
    assert find_lock_owner(lock.with_name("none")) is None


def test_inspect_controller_linked_store_in_use_names_controller(engine_file: Path) -> None:
    target = engine_file.parent / "elsewhere.sqlite"
    make_store(target)
    (engine_file.parent / "store.sqlite").symlink_to(target)
    with target.with_name("elsewhere.sqlite.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        message = inspect(engine_file)["store"].message
    assert message == f"in use by the controller with pid {os.getpid()}"


def test_inspect_controller_port_of_other_program_is_bad(engine_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = f"api: {{port: {listener.getsockname()[1]}}}\ncluster: cluster.yaml\n"
        engine_file.write_text(text)
        assert inspect(engine_file)["API"].health is SelfCheckStatus.BAD


def test_inspect_controller_key_readable_by_others_is_warning(engine_file: Path) -> None:
    key = engine_file.parent / "store.key.pem"
    key.write_text("x")
    key.chmod(0o644)
    result = inspect(engine_file)["key of the store"]
    assert (result.health, result.remedy) == (SelfCheckStatus.WARN, f"chmod 600 {key}")


@pytest.mark.parametrize(
    ("mode", "is_secret", "health"),
    [
        (0o600, True, SelfCheckStatus.OK),
        (0o640, True, SelfCheckStatus.WARN),
        (0o644, False, SelfCheckStatus.OK),
        (0o666, False, SelfCheckStatus.WARN),
    ],
)
def test_inspect_file_access_by_others_is_warning(
    tmp_path: Path, mode: int, is_secret: bool, health: SelfCheckStatus
) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(mode)
    assert inspect_file(file, "what", is_secret=is_secret).health is health


def test_inspect_file_missing_is_bad(tmp_path: Path) -> None:
    result = inspect_file(tmp_path / "none", "what", is_secret=True)
    assert result.health is SelfCheckStatus.BAD
    assert "No such file" in result.message


def test_inspect_controller_empty_store_is_ok(engine_file: Path) -> None:
    (engine_file.parent / "store.sqlite").touch()
    result = inspect(engine_file)["store"]
    assert (result.health, result.message) == (
        SelfCheckStatus.OK,
        "empty: the first start fills it",
    )


@pytest.mark.parametrize("store_exists", [True, False])
def test_inspect_controller_wal_without_store_is_bad(engine_file: Path, store_exists: bool) -> None:
    path = engine_file.parent / "store.sqlite"
    if store_exists:
        path.touch()
    path.with_name("store.sqlite-wal").write_bytes(b"the last commits")
    result = inspect(engine_file)["store"]
    assert result.health is SelfCheckStatus.BAD
    assert "its log" in result.message
    assert "move the log away" in result.remedy

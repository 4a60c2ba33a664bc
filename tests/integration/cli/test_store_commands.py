"""`dagengine store migrate` and `store copy` on a real seekdb."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from dagengine.store.sqlite.store import SqliteStore
from tests.conformance.builders import batch_of, commit_one, create
from tests.support.quick_cases import first_quick
from tests.support.store_databases import StoreDatabase


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dagengine", "store", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


async def make_file(path: Path, dag_id: int) -> None:
    store = SqliteStore(path)
    await store.open()
    assert await commit_one(store, batch_of(create(dag_id), dag_id=dag_id)) is None
    await store.close()


async def read_dags(path: Path) -> list[int]:
    store = SqliteStore(path)
    await store.open()
    dags = await store.list_dags(limit=9)
    await store.close()
    return [dag.dag_id for dag in dags]


@pytest.mark.slow
def test_store_copy_takes_directory_there_and_back(
    seekdb_database: StoreDatabase, tmp_path: Path
) -> None:
    asyncio.run(seekdb_database.query("CREATE DATABASE IF NOT EXISTS commands"))
    url = str(seekdb_database.settings).rsplit("/", 1)[0] + "/commands"
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    for name, dag_id in {"prod": 3, "demo": 5, "service": 1}.items():
        asyncio.run(make_file(first / f"{name}.sqlite", dag_id))
    refused = run("copy", first, url)
    assert refused.returncode != 0
    assert f"dagengine store migrate {url}" in refused.stderr
    migrated = run("migrate", url)
    assert (migrated.returncode, migrated.stderr) == (0, "")
    copied = run("copy", first, url)
    assert (copied.returncode, copied.stderr) == (0, "")
    assert [line.split(":")[0] for line in copied.stdout.splitlines()] == [
        "demo",
        "prod",
        "service",
    ]
    back = run("copy", url, second)
    assert (back.returncode, back.stderr) == (0, "")
    assert sorted(file.name for file in second.iterdir() if file.suffix == ".sqlite") == [
        *("demo.sqlite", "prod.sqlite", "service.sqlite")
    ]
    assert asyncio.run(read_dags(second / "prod.sqlite")) == [3]
    assert asyncio.run(read_dags(second / "demo.sqlite")) == [5]


@pytest.mark.parametrize(
    ("words", "reason"),
    first_quick(
        [
            (["copy", "a", "b"], "FROM and TO"),
            (["copy", "mysql://u@127.0.0.1/a", "mysql://u@127.0.0.1/b"], "FROM and TO"),
            (["copy", "a"], "FROM and TO"),
            (["copy", "Bad Name.sqlite", "mysql://u@127.0.0.1/b"], "1 to 32 characters"),
            (["copy", "service.sqlite", "mysql://u@127.0.0.1/b"], "1 to 32 characters"),
            (["migrate"], "one address"),
            (["migrate", "x.sqlite"], "one address"),
            (["migrate", "mysql://u:secret@127.0.0.1/b"], "contains a password"),
            (["migrate", "mysql://u@127.0.0.1/"], "is invalid"),
            (["migrate", "mysql://u@127.0.0.1/b;drop"], "is invalid"),
            (["migrate", "mysql://u@127.0.0.1:x/b"], "is invalid"),
            (["migrate", "mysql://u@192.0.2.1/b", "--tls-ca-file", "gone.pem"], "gone.pem"),
            (["new-epoch"], "no engine file was named"),
        ],
        3,
    ),
)
def test_store_command_with_wrong_places_is_refused(words: list[str], reason: str) -> None:
    completed = run(*words)
    assert completed.returncode == 2
    assert reason in completed.stderr
    assert "secret" not in completed.stderr

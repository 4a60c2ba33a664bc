"""Links in the place of a controller's files: refused or replaced, but not followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dagengine import SqliteStore
from dagengine.errors import ConfigError, DagengineError, StoreUnavailable
from dagengine.security.server_key import load_or_create_key
from dagengine.server.config import EngineConfig
from dagengine.server.listener import listen_at
from dagengine.server.local_store import backup_controller

Plant = Callable[[Path], None]


def to_nothing(path: Path) -> None:
    path.symlink_to(path.parent.parent / "outside" / "nothing")


def to_link_to_nothing(path: Path) -> None:
    path.with_name("between").symlink_to(path.parent.parent / "outside" / "nothing")
    path.symlink_to("between")


def to_victim(path: Path) -> None:
    path.symlink_to(path.parent.parent / "outside" / "victim")


def to_itself(path: Path) -> None:
    path.symlink_to(path.name)


DANGLING = [to_nothing, to_link_to_nothing, to_itself]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory of a store; `outside`, beside it, has a file of another user."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "victim").write_bytes(b"precious")
    (tmp_path / "outside" / "victim").chmod(0o644)
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def assert_outside_untouched(place: Path) -> None:
    (victim,) = (place.parent / "outside").iterdir()
    assert (victim.read_bytes(), victim.stat().st_mode & 0o777) == (b"precious", 0o644)


@pytest.mark.parametrize("plant", DANGLING)
async def test_sqlite_store_open_dangling_link_is_refused(place: Path, plant: Plant) -> None:
    plant(place / "store.sqlite")
    with pytest.raises(DagengineError) as caught:
        await SqliteStore(place / "store.sqlite").open()
    assert "link" in str(caught.value)
    assert_outside_untouched(place)


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal", ".lock"])
@pytest.mark.parametrize("plant", [to_victim, *DANGLING])
async def test_sqlite_store_open_link_beside_store_is_refused(
    place: Path, suffix: str, plant: Plant
) -> None:
    store = SqliteStore(place / "store.sqlite")
    await store.open()
    await store.close()
    (place / f"store.sqlite{suffix}").unlink(missing_ok=True)
    plant(place / f"store.sqlite{suffix}")
    with pytest.raises(StoreUnavailable, match="is a symbolic link"):
        await SqliteStore(place / "store.sqlite").open()
    assert_outside_untouched(place)
    (place / f"store.sqlite{suffix}").unlink()
    await store.open()
    await store.close()


@pytest.mark.parametrize("plant", DANGLING)
def test_server_key_dangling_link_is_refused(place: Path, plant: Plant) -> None:
    plant(place / "key.pem")
    with pytest.raises(ConfigError, match="symbolic link to a file that does not exist"):
        load_or_create_key(place / "key.pem")
    assert_outside_untouched(place)


def test_server_key_planted_draft_is_not_written(place: Path) -> None:
    to_victim(place / "key.pem.new")
    load_or_create_key(place / "key.pem").close()
    assert stat.S_IMODE((place / "key.pem").stat().st_mode) == 0o600
    assert_outside_untouched(place)


def test_server_key_link_to_key_is_followed(place: Path) -> None:
    key = load_or_create_key(place / "real.pem")
    (place / "key.pem").symlink_to("real.pem")
    linked = load_or_create_key(place / "key.pem")
    assert linked.public_key == key.public_key
    key.close()
    linked.close()


@pytest.fixture
async def config(place: Path) -> EngineConfig:
    """The configuration of a controller with a store and a key."""
    store = SqliteStore(place / "store.sqlite")
    await store.open()
    await store.close()
    load_or_create_key(place / "store.key.pem").close()
    return EngineConfig.model_validate(
        {"store": {"path": place / "store.sqlite"}, "cluster": place / "cluster.yaml"}
    )


@pytest.mark.parametrize("name", ["copy.sqlite", "copy.key.pem"])
@pytest.mark.parametrize("plant", [to_victim, *DANGLING])
async def test_backup_controller_link_is_refused(
    config: EngineConfig, place: Path, name: str, plant: Plant
) -> None:
    copies = place.parent / "copies"
    copies.mkdir()
    plant(copies / name)
    planted = set(copies.iterdir())
    with pytest.raises(DagengineError) as caught:
        backup_controller(config.find_cluster(None), copies / "copy.sqlite")
    is_dangling = name == "copy.sqlite" and plant is not to_victim
    assert ("link to a file that does not exist" in str(caught.value)) is is_dangling
    assert set(copies.iterdir()) == planted
    assert_outside_untouched(place)


async def test_backup_controller_planted_drafts_are_not_written(
    config: EngineConfig, place: Path
) -> None:
    for suffix in (".part", ".part-journal", "-journal", "-wal"):
        to_victim(place / f"copy.sqlite{suffix}")
    assert backup_controller(config.find_cluster(None), place / "copy.sqlite") > 0
    assert stat.S_IMODE((place / "copy.sqlite").stat().st_mode) == 0o600
    assert stat.S_IMODE((place / "copy.key.pem").stat().st_mode) == 0o600
    assert_outside_untouched(place)


@pytest.mark.parametrize("plant", [to_victim, *DANGLING])
def test_listen_at_link_is_refused(place: Path, plant: Plant) -> None:
    plant(place / "api.sock")
    with pytest.raises(ConfigError), listen_at(place / "api.sock"):
        pass
    assert (place / "api.sock").is_symlink()
    assert_outside_untouched(place)


def test_listen_at_sets_mode_without_chmod(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chmod after the bind could follow a link that has replaced the socket since then."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("the mode is changed by name")

    monkeypatch.setattr(os, "chmod", refuse)
    umask = os.umask(0o077)
    try:
        with listen_at(place / "api.sock"):
            assert stat.S_IMODE((place / "api.sock").stat().st_mode) == 0o666
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(umask)

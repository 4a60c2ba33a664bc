"""Files are created completely or not at all, and never through a link."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from dagengine.runtime.new_file import (
    create_file,
    ensure_no_dangling_link,
    open_lock_file,
    publish_file,
    replace_file,
)

NAME = "target"


def plant_link(path: Path) -> None:
    path.symlink_to("victim")


def plant_link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


def plant_link_to_link(path: Path) -> None:
    path.with_name("between").symlink_to("victim")
    path.symlink_to("between")


def plant_loop(path: Path) -> None:
    path.symlink_to(path.name)


def plant_hard_link(path: Path) -> None:
    os.link(path.with_name("victim"), path)


PLANTED = [plant_link, plant_link_to_nothing, plant_link_to_link, plant_loop, plant_hard_link]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "victim").chmod(0o644)
    return tmp_path


def assert_victim_untouched(place: Path) -> None:
    victim = place / "victim"
    assert (victim.read_bytes(), victim.stat().st_mode & 0o777) == (b"precious", 0o644)
    assert not (place / "nothing").exists()
    assert [file.name for file in place.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize("plant", PLANTED)
def test_create_file_existing_name_is_refused(place: Path, plant: Callable[[Path], None]) -> None:
    plant(place / NAME)
    with pytest.raises(FileExistsError):
        create_file(place / NAME, b"secret")
    assert_victim_untouched(place)


@pytest.mark.parametrize("plant", PLANTED)
def test_replace_file_link_itself_is_replaced(place: Path, plant: Callable[[Path], None]) -> None:
    plant(place / NAME)
    replace_file(place / NAME, b"secret", mode=0o640)
    assert not (place / NAME).is_symlink()
    assert ((place / NAME).read_bytes(), (place / NAME).stat().st_mode & 0o777) == (
        b"secret",
        0o640,
    )
    assert_victim_untouched(place)


@pytest.mark.parametrize("plant", PLANTED)
@pytest.mark.parametrize("write", [create_file, replace_file])
def test_new_file_planted_draft_is_not_written(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path, bytes], None],
    plant: Callable[[Path], None],
) -> None:
    """Even who guesses the random name of the draft cannot divert it."""
    monkeypatch.setattr(secrets, "token_hex", lambda size: "guess" * size)
    draft = place / f".{NAME}.{'guess' * 8}"
    plant(draft)
    with pytest.raises(FileExistsError):
        write(place / NAME, b"secret")
    draft.unlink()
    assert not (place / NAME).exists()
    assert_victim_untouched(place)


@pytest.mark.parametrize("write", [create_file, replace_file])
def test_new_file_mode_is_private_with_any_umask(
    place: Path, write: Callable[[Path, bytes], None]
) -> None:
    umask = os.umask(0o777)
    try:
        write(place / NAME, b"secret")
    finally:
        os.umask(umask)
    assert (place / NAME).stat().st_mode & 0o777 == 0o600


def test_publish_file_without_hard_links_moves_file(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_paths: object, **_options: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (place / "draft").write_bytes(b"secret")
    plant_link_to_nothing(place / NAME)
    with pytest.raises(FileExistsError):
        publish_file(place / "draft", place / NAME)
    (place / NAME).unlink()
    publish_file(place / "draft", place / NAME)
    assert (place / NAME).read_bytes() == b"secret"
    assert not (place / "draft").exists()


@pytest.mark.parametrize("plant", PLANTED[:4])
def test_open_lock_file_link_is_refused(place: Path, plant: Callable[[Path], None]) -> None:
    plant(place / NAME)
    with pytest.raises(OSError, match="symbolic link"):
        os.close(open_lock_file(str(place / NAME), os.O_RDWR | os.O_CREAT))
    assert_victim_untouched(place)


def test_open_lock_file_pipe_is_refused(place: Path) -> None:
    os.mkfifo(place / NAME)
    with pytest.raises(OSError, match="not a regular file"):
        os.close(open_lock_file(str(place / NAME), os.O_RDWR | os.O_CREAT))


def test_ensure_no_dangling_link_accepts_link_to_file(place: Path) -> None:
    plant_link_to_link(place / NAME)
    ensure_no_dangling_link(place / NAME)
    ensure_no_dangling_link(place / "missing")
    (place / "victim").unlink()
    with pytest.raises(OSError, match="does not exist"):
        ensure_no_dangling_link(place / NAME)

"""WatchedFile: parses a file again only after it has changed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagengine.runtime.watched_file import WatchedFile
from dagengine.testing import FakeClock


class Parser:
    """Parses a number and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, path: Path) -> int:
        self.calls += 1
        return int(path.read_text(encoding="utf-8"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "number"
    path.write_text("1")
    return path


def replace(path: Path, text: str) -> None:
    draft = path.with_name("draft")
    draft.write_text(text)
    draft.replace(path)


def test_watched_file_unchanged_is_parsed_once(path: Path) -> None:
    file = WatchedFile(path, parser := Parser())
    assert not file.is_current()
    assert [file.read(), file.read()] == [1, 1]
    assert parser.calls == 1
    assert file.is_current()


def test_watched_file_after_change_is_parsed_again(path: Path) -> None:
    file = WatchedFile(path, Parser())
    assert file.read() == 1
    replace(path, "22")
    assert not file.is_current()
    assert file.read() == 22


def test_watched_file_with_same_time_and_size_is_parsed_again(path: Path) -> None:
    file = WatchedFile(path, Parser())
    assert file.read() == 1
    before = path.stat()
    replace(path, "2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.read() == 2


def test_watched_file_after_failed_parse_is_parsed_again(path: Path) -> None:
    file = WatchedFile(path, parser := Parser())
    assert file.read() == 1
    replace(path, "x")
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            file.read()
    assert parser.calls == 3
    assert not file.is_current()


def test_watched_file_missing_raises(path: Path) -> None:
    file = WatchedFile(path, Parser())
    path.unlink()
    with pytest.raises(FileNotFoundError):
        file.read()


def test_watched_file_just_changed_is_parsed_at_every_read(path: Path) -> None:
    clock = FakeClock(datetime.fromtimestamp(path.stat().st_ctime, UTC))
    file = WatchedFile(path, parser := Parser(), clock=clock)
    assert [file.read(), file.read()] == [1, 1]
    assert parser.calls == 2
    clock.advance(2.5)
    assert [file.read(), file.read()] == [1, 1]
    assert parser.calls == 3


def test_watched_file_replaced_by_pipe_is_refused(path: Path) -> None:
    """A reader would wait until another program writes to the pipe."""
    file = WatchedFile(path, parser := Parser())
    file.read()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        file.read()
    assert parser.calls == 1

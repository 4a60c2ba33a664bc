"""Password files: a change takes effect immediately; an unchanged file is not read again."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dagengine.errors import ConfigError
from dagengine.runtime.watched_file import PasswordFile
from dagengine.testing import FakeClock


def a_minute_later() -> FakeClock:
    return FakeClock(datetime.now(UTC) + timedelta(minutes=1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("first\nsecond line\n")
    return file


def test_password_file_password_is_first_line(path: Path) -> None:
    file = PasswordFile(path, "key")
    assert file.read() == "first"
    path.write_bytes(b"p\xc3\xa4ss \r\n")
    assert file.read() == "päss "
    path.write_text("")
    assert file.read() == ""


def test_password_file_unchanged_is_not_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = PasswordFile(path, "key", a_minute_later())
    assert file.read() == "first"
    reads = []
    read_text = Path.read_text

    def counted(self: Path, encoding: str | None = None) -> str:
        reads.append(self)
        return read_text(self, encoding)

    monkeypatch.setattr(Path, "read_text", counted)
    assert [file.read() for _ in range(5)] == ["first"] * 5
    assert reads == []
    path.write_text("other")
    assert file.read() == "other"
    assert reads == [path]


def test_password_file_change_with_same_mtime_is_noticed(path: Path) -> None:
    file = PasswordFile(path, "key")
    for word in ("aaaaa", "bbbbb", "ccccc"):
        before = path.stat()
        path.write_text(word)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert file.read() == word


def test_password_file_replacement_is_noticed(path: Path, tmp_path: Path) -> None:
    file = PasswordFile(path, "key", a_minute_later())
    assert file.read() == "first"
    new = tmp_path / "new"
    new.write_text("fresh\nsecond line\n")
    new.replace(path)
    assert file.read() == "fresh"


def test_password_file_unreadable_is_named_without_content(path: Path) -> None:
    file = PasswordFile(path, "root_password_file", a_minute_later())
    assert file.read() == "first"
    path.write_bytes(b"s3cret\xff")
    with pytest.raises(ConfigError) as caught:
        file.read()
    assert f"root_password_file {path}" in str(caught.value)
    assert "s3cret" not in repr(caught.value)
    path.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        file.read()

"""Editing known_hosts: added, removed and unchanged entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagengine.remote.ssh.known_hosts import name_in_file, replace_file, with_pin

SALT = bytes(20)
NEW = "ssh-ed25519 NEW comment"


def add_entry(text: str, name: str = "10.0.0.1") -> str:
    return with_pin(text, name, NEW, salt=SALT)


def test_known_hosts_name_includes_port_other_than_22() -> None:
    assert name_in_file("h", 22) == "h"
    assert name_in_file("2001:db8::1", 2222) == "[2001:db8::1]:2222"


def test_known_hosts_new_entry_is_appended_to_unchanged_text() -> None:
    text = "# ours\n\n10.0.0.2,h2 ssh-rsa AAA me@here\n@cert-authority * ssh-rsa CA\n"
    assert add_entry(text) == text + "10.0.0.1 ssh-ed25519 NEW\n"
    assert add_entry(text.rstrip("\n")) == text + "10.0.0.1 ssh-ed25519 NEW\n"


@pytest.mark.parametrize(
    ("line", "remaining"),
    [
        ("10.0.0.1 ssh-rsa OLD", ""),
        ("10.0.0.1,h1 ssh-rsa OLD c", "h1 ssh-rsa OLD c\n"),
        ("h1,10.0.0.1 ssh-rsa OLD", "h1 ssh-rsa OLD\n"),
        ("10.0.0.11 ssh-rsa OLD", "10.0.0.11 ssh-rsa OLD\n"),
        ("[10.0.0.1]:2222 ssh-rsa OLD", "[10.0.0.1]:2222 ssh-rsa OLD\n"),
        ("10.0.0.* ssh-rsa OLD", "10.0.0.* ssh-rsa OLD\n"),
        ("@revoked 10.0.0.1 ssh-rsa OLD", "@revoked 10.0.0.1 ssh-rsa OLD\n"),
    ],
)
def test_known_hosts_new_entry_replaces_same_name_only(line: str, remaining: str) -> None:
    assert add_entry(f"{line}\n") == f"{remaining}10.0.0.1 ssh-ed25519 NEW\n"


def test_known_hosts_entry_in_hashed_file_is_hashed() -> None:
    other = with_pin("|1|x|y ssh-rsa ODD\n", "10.0.0.2", NEW, salt=b"a" * 20)
    combined = add_entry(other)
    assert "10.0.0" not in combined
    assert combined.startswith(other)
    replaced = with_pin(combined, "10.0.0.1", "ssh-rsa THIRD", salt=SALT)
    assert replaced == other + combined.removeprefix(other).replace(
        "ssh-ed25519 NEW", "ssh-rsa THIRD"
    )


def test_replace_file_keeps_mode_and_follows_link(tmp_path: Path) -> None:
    file, link = tmp_path / "known_hosts", tmp_path / "link"
    file.write_text("old\n")
    file.chmod(0o640)
    link.symlink_to(file)
    replace_file(link, "new\n")
    assert link.is_symlink()
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new\n", 0o640)
    assert {file.name for file in tmp_path.iterdir()} == {"known_hosts", "link"}


def test_replace_file_link_to_nothing_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "known_hosts"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="does not exist"):
        replace_file(link, "new\n")
    assert list(tmp_path.iterdir()) == [link]


def test_replace_file_new_file_is_private(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "known_hosts"
    replace_file(file, "new\n")
    assert file.stat().st_mode & 0o777 == 0o600


def test_replace_file_failure_keeps_old_file(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("old\n")
    with pytest.raises(UnicodeEncodeError):
        replace_file(file, "\ud800")
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_text() == "old\n"

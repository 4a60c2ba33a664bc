"""Editing known_hosts: what is pinned, what goes, what stays untouched."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagengine.remote.ssh.known_hosts import name_in_file, replace_file, with_pin

SALT = bytes(20)
NEW = "ssh-ed25519 NEW comment"


def pinned(text: str, name: str = "10.0.0.1") -> str:
    return with_pin(text, name, NEW, salt=SALT)


def test_a_port_other_than_22_is_part_of_the_name() -> None:
    assert name_in_file("h", 22) == "h"
    assert name_in_file("2001:db8::1", 2222) == "[2001:db8::1]:2222"


def test_a_pin_is_added_at_the_end_and_the_rest_stays_byte_for_byte() -> None:
    text = "# ours\n\n10.0.0.2,h2 ssh-rsa AAA me@here\n@cert-authority * ssh-rsa CA\n"
    assert pinned(text) == text + "10.0.0.1 ssh-ed25519 NEW\n"
    assert pinned(text.rstrip("\n")) == text + "10.0.0.1 ssh-ed25519 NEW\n"


@pytest.mark.parametrize(
    ("line", "left"),
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
def test_what_was_pinned_for_this_very_name_goes(line: str, left: str) -> None:
    assert pinned(f"{line}\n") == f"{left}10.0.0.1 ssh-ed25519 NEW\n"


def test_in_a_hashed_file_the_name_is_hashed_and_found_again() -> None:
    other = with_pin("|1|x|y ssh-rsa ODD\n", "10.0.0.2", NEW, salt=b"a" * 20)
    both = pinned(other)
    assert "10.0.0" not in both
    assert both.startswith(other)
    again = with_pin(both, "10.0.0.1", "ssh-rsa THIRD", salt=SALT)
    assert again == other + both.removeprefix(other).replace("ssh-ed25519 NEW", "ssh-rsa THIRD")


def test_a_file_is_replaced_whole_with_its_mode_and_through_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "known_hosts", tmp_path / "link"
    file.write_text("old\n")
    file.chmod(0o640)
    link.symlink_to(file)
    replace_file(link, "new\n")
    assert link.is_symlink()
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new\n", 0o640)
    assert {file.name for file in tmp_path.iterdir()} == {"known_hosts", "link"}


def test_a_new_file_is_private(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "known_hosts"
    replace_file(file, "new\n")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("old\n")
    with pytest.raises(UnicodeEncodeError):
        replace_file(file, "\udcff")
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_text() == "old\n"

"""Lines of known_hosts: OpenSSH skips those that it cannot read, and so does the controller."""

from __future__ import annotations

import os
from unittest.mock import Mock

import asyncssh
import pytest

from dagengine.errors import HostKeyRejected
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh import known_hosts
from dagengine.remote.ssh.known_hosts import (
    Matches,
    TrustedHosts,
    find_fallback_algorithms,
    find_skipped_lines,
    host_key_rejected,
    is_about_certificate,
    matches_of,
    with_pin,
)
from dagengine.remote.ssh.known_hosts_lines import parse_known_hosts

PUBLIC = asyncssh.generate_private_key("ssh-ed25519").export_public_key().strip()
KEY = asyncssh.import_public_key(PUBLIC)
GOOD = b"10.0.0.1 " + PUBLIC + b"\n"


def trusted_keys(data: bytes, host: str = "10.0.0.1") -> Matches:
    return matches_of(parse_known_hosts(data).trusted, HostAddress(host))


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"\0" * 64, id="zeroes after a power cut"),
        pytest.param(b"=======", id="a merge marker"),
        pytest.param(b"<<<<<<< HEAD", id="the begin of a conflict"),
        pytest.param(b"old-host", id="no key"),
        pytest.param(b"old-host ssh-ed25519", id="no key after the type"),
        pytest.param(b"@trusted * " + PUBLIC, id="an unknown marker"),
        pytest.param(b"@cert-authority", id="only a marker"),
        pytest.param(b"@revoked 10.0.0.1 ssh-ed25519 AAAA", id="a revoked key cut off"),
        pytest.param(b"|1|abc", id="a hash cut off"),
        pytest.param(b"|1|abc " + PUBLIC, id="a hash without its second part"),
        pytest.param(b"|2|YWJj|YWJj " + PUBLIC, id="an unknown hash"),
        pytest.param(b"h " + PUBLIC[:40], id="a key cut off"),
        pytest.param(b"h ssh-unknown " + PUBLIC.split()[1], id="an unknown type"),
        pytest.param(b"h ssh-ed25519 \xff\xfe", id="a key that is not ASCII"),
        pytest.param(b"\xff\xfeh\0 \0", id="UTF-16"),
        pytest.param(b"h " + PUBLIC + b"\rh " + PUBLIC, id="old Macintosh line ends"),
        pytest.param(b"h " + PUBLIC + b"\x0bh", id="a line separator behind the key"),
    ],
)
def test_known_hosts_unreadable_line_is_skipped(line: bytes) -> None:
    for data, number in ((line + b"\n" + GOOD, 1), (GOOD + line, 2), (GOOD + line + b"\n", 2)):
        known_hosts = parse_known_hosts(data)
        assert [skipped.number for skipped in known_hosts.skipped] == [number]
        assert trusted_keys(data).keys == [KEY]
        assert not trusted_keys(data, "10.0.0.9").keys


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"# caf\xe9\n\n  \t\n" + GOOD, id="a comment that is not UTF-8"),
        pytest.param(GOOD.rstrip() + b" m\xfcller@pc\n", id="a key's comment in Latin-1"),
        pytest.param(GOOD.rstrip() + b" a\x0bb\x85c\n", id="a line separator in a comment"),
        pytest.param(b"gr\xfcn,10.0.0.1 " + PUBLIC, id="another name in Latin-1"),
        pytest.param(GOOD.replace(b"\n", b"\r\n"), id="Windows line ends"),
        pytest.param(b"\t10.0.0.1\t" + PUBLIC.replace(b" ", b"\t"), id="tabs"),
        pytest.param(GOOD.rstrip() + b"\0\0\n", id="zeroes behind a key"),
    ],
)
def test_known_hosts_odd_line_is_read(data: bytes) -> None:
    assert parse_known_hosts(data).skipped == ()
    assert trusted_keys(data).keys == [KEY]


def test_known_hosts_separator_in_comment_adds_no_entry() -> None:
    data = GOOD.rstrip() + b" c\x0b10.0.0.9 " + PUBLIC + b"\n"
    assert trusted_keys(data).keys == [KEY]
    assert not trusted_keys(data, "10.0.0.9").keys


def test_known_hosts_skipped_lines_are_logged_once(tmp_path, caplog) -> None:
    file = tmp_path / "known_hosts"
    file.write_bytes(GOOD + b"=======\n")
    address, trusted = HostAddress("10.0.0.1", known_hosts=file), TrustedHosts()
    for _ in range(3):
        assert matches_of(trusted.of(address), address).keys == [KEY]
    (message,) = (record.getMessage() for record in caplog.records)
    assert message.startswith(f"line 2 of {file} is skipped: ")
    assert find_skipped_lines(address) == (message,)


def test_find_skipped_lines_reads_a_file_once(tmp_path, monkeypatch) -> None:
    parse = Mock(wraps=parse_known_hosts)
    monkeypatch.setattr(known_hosts, "parse_known_hosts", parse)
    file = tmp_path / "known_hosts"
    file.write_bytes(GOOD + b"=======\n")
    addresses = [HostAddress(f"10.0.0.{number}", known_hosts=file) for number in range(9)]
    assert len(find_skipped_lines(*addresses)) == 1
    assert parse.call_count == 1


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"10.0.0.9\0,10.0.0.1 " + PUBLIC, id="zero within names"),
        pytest.param(b"10.0.0.9\x0b10.0.0.1 " + PUBLIC, id="line separator within names"),
        pytest.param("10.0.0.9\u2028,10.0.0.1 ".encode() + PUBLIC, id="Unicode line separator"),
        pytest.param(b"10.0.0.9\r10.0.0.1 " + PUBLIC, id="carriage return within names"),
    ],
)
def test_known_hosts_name_behind_separator_is_not_trusted(line) -> None:
    """The library would read the rest of such a line as a line of its own."""
    assert [skipped.number for skipped in parse_known_hosts(line).skipped] == [1]
    assert not trusted_keys(line).keys


@pytest.mark.parametrize("kind", ["missing", "dangling link"])
def test_known_hosts_missing_file_counts_as_empty(tmp_path, kind) -> None:
    file = tmp_path / "none" / "known_hosts"
    if kind == "dangling link":
        file = tmp_path / "known_hosts"
        file.symlink_to(tmp_path / "none")
    address, trusted = HostAddress("10.0.0.1", known_hosts=file), TrustedHosts()
    assert not matches_of(trusted.of(address), address).keys
    assert find_skipped_lines(address) == ()


def test_known_hosts_pipe_is_refused(tmp_path) -> None:
    os.mkfifo(tmp_path / "known_hosts")
    address = HostAddress("10.0.0.1", known_hosts=tmp_path / "known_hosts")
    with pytest.raises(HostKeyRejected, match="not a regular file"):
        TrustedHosts().of(address)
    assert find_skipped_lines(address) == ()


def test_known_hosts_pin_keeps_bytes_of_other_lines() -> None:
    text = (b"# caf\xe9\x0b\n" + b"\0" * 8).decode("utf-8", "surrogateescape")
    pinned = with_pin(text, "10.0.0.1", PUBLIC.decode(), salt=b"")
    assert (
        pinned.encode("utf-8", "surrogateescape") == b"# caf\xe9\x0b\n" + b"\0" * 8 + b"\n" + GOOD
    )


@pytest.mark.parametrize(
    ("reason", "falls_back"),
    [
        ("Certificate principal mismatch", True),
        ("Certificate expired", True),
        ("Certificate not yet valid", True),
        ("Host CA key is not trusted", True),
        ("Host CA key is revoked", False),
        ("Host key is revoked", False),
        ("Host key is not trusted", False),
    ],
)
def test_host_certificate_refused_falls_back_to_pinned_key(reason, falls_back) -> None:
    address = HostAddress("10.0.0.1")
    trusted = parse_known_hosts(GOOD + b"@cert-authority * " + PUBLIC).trusted
    algorithms = find_fallback_algorithms(trusted, address, f"{reason} for host 10.0.0.1")
    assert algorithms == (["ssh-ed25519"] if falls_back else [])
    assert is_about_certificate(reason) or not falls_back


@pytest.mark.parametrize(
    ("reason", "part"),
    [
        ("Certificate expired for host 10.0.0.1", "Certificate expired"),
        ("Host CA key is not trusted for host 10.0.0.1", "Host CA key is not trusted"),
        ("Host key is not trusted for host 10.0.0.1", "may be intercepted"),
    ],
)
def test_refused_certificate_is_not_called_an_attack(tmp_path, reason, part) -> None:
    """A host that presents nothing but a certificate did not change its pinned key."""
    address = HostAddress("10.0.0.1", known_hosts=tmp_path / "known_hosts")
    trusted = parse_known_hosts(GOOD + b"@cert-authority * " + PUBLIC).trusted
    error = host_key_rejected(address, trusted, reason)
    assert part in str(error)
    assert ("may be intercepted" in str(error)) is (part == "may be intercepted")

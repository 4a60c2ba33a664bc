"""The offer of an sshd: parsing it, and the first kind of algorithm of which none is common."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dagengine.remote.ssh.algorithms import (
    Algorithms,
    find_mismatch,
    parse_kexinit,
    supported_algorithms,
)

OFFERED = Algorithms(["curve25519-sha256"], ["ssh-ed25519"], ["aes256-ctr"], ["hmac-sha2-256"])


def kexinit(lists: Sequence[str]) -> bytes:
    names = b"".join(struct.pack(">I", len(text)) + text.encode() for text in lists)
    return bytes([20]) + bytes(16) + names


def test_parse_kexinit_returns_lists_without_markers() -> None:
    lists = (
        "curve25519-sha256,kex-strict-s-v00@openssh.com",
        "ssh-ed25519",
        "c1,c2",
        "x",
        "m1",
        "",
    )
    offered = parse_kexinit(kexinit(lists))
    assert offered == Algorithms(["curve25519-sha256"], ["ssh-ed25519"], ["c1", "c2"], ["m1"])


@pytest.mark.parametrize("payload", [b"", b"\x01", kexinit(["a", "b"]), kexinit(["\xff"] * 6)])
def test_parse_kexinit_malformed_raises_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # of any kind
        parse_kexinit(payload)


@pytest.mark.parametrize(
    ("changes", "keyword"),
    [
        ({}, None),
        ({"kex": ["diffie-hellman-group1-sha1"]}, "KexAlgorithms"),
        ({"host_keys": ["ssh-dss"]}, "HostKeyAlgorithms"),
        ({"ciphers": ["3des-cbc"]}, "Ciphers"),
        ({"ciphers": []}, "Ciphers"),
        ({"macs": ["hmac-md5-96"]}, "MACs"),
        ({"macs": ["hmac-md5-96"], "ciphers": ["aes128-gcm@openssh.com"]}, None),
        ({"macs": [], "ciphers": ["chacha20-poly1305@openssh.com"]}, None),
    ],
)
def test_find_mismatch_names_keyword_of_sshd_config(changes, keyword) -> None:
    supported = supported_algorithms(["ssh-ed25519"])
    mismatch = find_mismatch(replace(OFFERED, **changes), supported)
    assert (mismatch and mismatch.keyword) == keyword


def test_find_mismatch_without_pinned_keys_accepts_any_key() -> None:
    assert find_mismatch(replace(OFFERED, host_keys=["ssh-dss"]), supported_algorithms([])) is None


def test_supported_algorithms_prefer_cheapest_and_omit_gssapi() -> None:
    supported = supported_algorithms([])
    assert (supported.kex[0], supported.ciphers[0]) == (
        "curve25519-sha256",
        "aes128-gcm@openssh.com",
    )
    assert not [name for name in supported.kex if name.startswith("gss-")]

"""The header of forwarded requests: authentic, fresh, accepted once."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from dagengine.security.errors import ForwardingRefused
from dagengine.security.forwarded_header import (
    VALIDITY,
    ForwardedHeader,
    NonceLog,
    digest_request,
    parse_forwarded,
    render_forwarded,
)

KEY, OTHER_KEY = bytes(32), bytes(31) + b"\x01"
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
HEADER = ForwardedHeader(
    controller_id=7,
    cluster="demo",
    epoch=3,
    at=NOW,
    nonce="0" * 32,
    caller="root@sys (uid 0) ü",
    rights="change,read",
    scheme="root",
    address="192.0.2.1",
)
DIGEST = digest_request("POST", "/api/v1/ob/start", b"body")
VALUE = render_forwarded(KEY, HEADER, DIGEST)


def test_forwarded_header_is_parsed_as_rendered() -> None:
    assert parse_forwarded(KEY, VALUE, DIGEST) == HEADER
    assert VALUE.isascii()


def test_forwarded_header_empty_fields_are_kept() -> None:
    header = replace(HEADER, caller="", rights="", address="")
    assert parse_forwarded(KEY, render_forwarded(KEY, header, DIGEST), DIGEST) == header


@pytest.mark.parametrize("position", range(len(fields(ForwardedHeader)) + 1))
def test_forwarded_header_changed_field_is_refused(position: int) -> None:
    parts = VALUE.split(" ")
    parts[position] = ("0" if parts[position][0] != "0" else "1") + parts[position][1:]
    with pytest.raises(ForwardingRefused):
        parse_forwarded(KEY, " ".join(parts), DIGEST)


@pytest.mark.parametrize(
    "digest",
    [
        digest_request("GET", "/api/v1/ob/start", b"body"),
        digest_request("POST", "/api/v1/ob/stop", b"body"),
        digest_request("POST", "/api/v1/ob/start", b"other"),
    ],
)
def test_forwarded_header_of_other_request_is_refused(digest: bytes) -> None:
    with pytest.raises(ForwardingRefused):
        parse_forwarded(KEY, VALUE, digest)


def test_forwarded_header_of_other_key_is_refused() -> None:
    with pytest.raises(ForwardingRefused):
        parse_forwarded(OTHER_KEY, VALUE, DIGEST)


@pytest.mark.parametrize(
    "value", ["", " ", "1 2 3", VALUE + " ", VALUE + "\n" + VALUE, "é" * 40, VALUE + "0" * 5000]
)
def test_forwarded_header_of_other_form_is_refused(value: str) -> None:
    with pytest.raises(ForwardingRefused):
        parse_forwarded(KEY, value, DIGEST)


def test_nonce_log_accepts_a_header_once() -> None:
    log = NonceLog()
    log.take(HEADER, NOW)
    with pytest.raises(ForwardingRefused, match="already"):
        log.take(HEADER, NOW + timedelta(seconds=1))
    log.take(replace(HEADER, nonce="1" * 32), NOW)


@pytest.mark.parametrize("seconds", [-31, 31])
def test_nonce_log_refuses_headers_of_other_times(seconds: int) -> None:
    with pytest.raises(ForwardingRefused, match="31 s"):
        NonceLog().take(HEADER, NOW + timedelta(seconds=seconds))


def test_nonce_log_keeps_nonces_while_they_are_valid() -> None:
    log, ahead = NonceLog(), replace(HEADER, at=NOW + VALIDITY)
    log.take(ahead, NOW)
    with pytest.raises(ForwardingRefused, match="already"):
        log.take(ahead, NOW + 2 * VALIDITY - timedelta(microseconds=1))


def test_nonce_log_size_is_bounded_by_the_validity() -> None:
    log = NonceLog()
    for number in range(1000):
        at = NOW + number * timedelta(seconds=1)
        log.take(replace(HEADER, at=at, nonce=f"{number:032}"), at)
    assert len(log) <= 61

"""Callers: the text of the audit, and the rights that requests need."""

from __future__ import annotations

import pytest

from dagengine.api.caller import (
    ALL_RIGHTS,
    Caller,
    CallerKind,
    Right,
    anyone_at,
    parse_claim,
    required_right,
)
from dagengine.security.errors import RightMissing


@pytest.mark.parametrize(
    ("caller", "text"),
    [
        (Caller(CallerKind.ROOT, "root@sys", ALL_RIGHTS, "::1"), "root@sys from ::1"),
        (
            Caller(CallerKind.LOCAL_USER, "uid 0 (pid 7)", ALL_RIGHTS, "the socket"),
            "uid 0 (pid 7) at the socket",
        ),
        (anyone_at("192.0.2.1"), "anyone from 192.0.2.1"),
        (
            Caller(CallerKind.ROOT, "root@sys", ALL_RIGHTS, "::1", "eva@laptop"),
            "root@sys from ::1 (states eva@laptop, not verified)",
        ),
    ],
)
def test_caller_text_names_caller_and_address(caller: Caller, text: str) -> None:
    assert str(caller) == text


@pytest.mark.parametrize(
    ("method", "right"),
    [
        ("GET", Right.READ),
        ("HEAD", Right.READ),
        ("POST", Right.CHANGE),
        ("PUT", Right.CHANGE),
        ("DELETE", Right.CHANGE),
        ("PATCH", Right.CHANGE),
    ],
)
def test_required_right_of_method(method: str, right: Right) -> None:
    assert required_right(method) is right


def test_caller_without_right_is_refused() -> None:
    reader = Caller(CallerKind.ROOT, "reader", frozenset({Right.READ}), "::1")
    reader.ensure_right(Right.READ)
    with pytest.raises(RightMissing, match="reader from ::1 may not change"):
        reader.ensure_right(Right.CHANGE)


@pytest.mark.parametrize(
    ("value", "claim"),
    [
        ("", ""),
        ("eva@laptop", "eva@laptop"),
        ("J%C3%BCrgen@pc", "Jürgen@pc"),
        ("a%0Ab%1B[31m", "a\\x0ab\\x1b[31m"),
        ("%FF", "\ufffd"),
        ("x" * 300, "x" * 128),
    ],
)
def test_parse_claim_is_one_clean_short_line(value: str, claim: str) -> None:
    assert parse_claim(value) == claim

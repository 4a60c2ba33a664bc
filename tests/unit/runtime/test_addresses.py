"""`host:port`: rendering and parsing."""

from __future__ import annotations

import pytest

from dagengine.runtime.addresses import parse_host_port, render_host_port

PAIRS = {
    "192.0.2.1:2886": ("192.0.2.1", 2886),
    "[2001:db8::1]:22": ("2001:db8::1", 22),
    "db1.example:1": ("db1.example", 1),
}


@pytest.mark.parametrize(("text", "pair"), PAIRS.items(), ids=PAIRS)
def test_parse_host_port_reverses_render_host_port(text: str, pair: tuple[str, int]) -> None:
    assert render_host_port(*pair) == text
    assert parse_host_port(text) == pair


@pytest.mark.parametrize("text", ["", "host", ":1", "host:", "host:x", "host:-1"])
def test_parse_host_port_without_host_or_port_raises(text: str) -> None:
    with pytest.raises(ValueError, match="not ip:port"):
        parse_host_port(text)


def test_parse_host_port_without_brackets_raises() -> None:
    with pytest.raises(ValueError, match="needs brackets"):
        parse_host_port("2001:db8::1:22")

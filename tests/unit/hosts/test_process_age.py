"""The age of a server's process, from numbers of its host."""

from __future__ import annotations

import pytest

from tasks.hosts.process_age import parse_process_age_s

BOOT = "6f1c2a34-0000-4000-8000-123456789abc"


@pytest.mark.parametrize(
    ("lines", "age_s"),
    [
        ("uptime=100.5\nticks=100\n", 20.5),
        ("uptime=10\nticks=100\n", 0.0),
        ("uptime=100.5\n", None),
        ("uptime=100.5\nticks=0\n", None),
        ("uptime=odd\nticks=100\n", None),
        ("uptime=nan\nticks=100\n", None),
        ("uptime=1e300\nticks=100\n", None),
        ("ticks=100\n", None),
    ],
)
def test_parse_process_age_needs_plausible_numbers(lines: str, age_s: float | None) -> None:
    process = f"boot={BOOT}\npid=7\nstarted=8000\nowner=0\nby=\n"
    assert parse_process_age_s(process + lines) == age_s
    assert parse_process_age_s(lines) is None

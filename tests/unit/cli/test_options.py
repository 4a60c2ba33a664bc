"""Parsing of command line options."""

from __future__ import annotations

import pytest
import typer

from dagengine.cli.options import read_scope


@pytest.mark.parametrize(
    ("zone", "server", "expected"),
    [
        (None, None, ("GLOBAL", [])),
        ("z1", None, ("ZONE", ["z1"])),
        ("z1, z2,", None, ("ZONE", ["z1", "z2"])),
        (None, "10.0.0.1:2886", ("SERVER", ["10.0.0.1:2886"])),
    ],
)
def test_read_scope_options_give_type_and_targets(
    zone: str | None, server: str | None, expected: tuple[str, list[str]]
) -> None:
    assert read_scope(zone, server) == expected


@pytest.mark.parametrize("empty", ["", ",", " , "])
def test_read_scope_empty_option_is_rejected(empty: str) -> None:
    with pytest.raises(typer.BadParameter, match="--zone does not name a zone"):
        read_scope(empty, None)
    with pytest.raises(typer.BadParameter, match="--server does not name a server"):
        read_scope(None, empty)


def test_read_scope_zone_and_server_together_are_rejected() -> None:
    with pytest.raises(typer.BadParameter, match="not both"):
        read_scope("z1", "")

"""Answers of the scripts: lines `name=value`, a name may occur more than once. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def parse_lines(output: str) -> dict[str, list[str]]:
    """The values by name, in order; lines without `=` are left out."""
    values: dict[str, list[str]] = {}
    for line in output.split("\n"):  # no other line ends: a program may have said those
        name, mark, value = line.partition("=")
        if mark:
            values.setdefault(name, []).append(value)
    return values


def last_value(values: Mapping[str, Sequence[str]], name: str) -> str:
    """The last value of a name; empty when there is none."""
    return values.get(name, [""])[-1]


def number_value(values: Mapping[str, Sequence[str]], name: str) -> int | None:
    """The last value of a name as a number, 0 or more; None when it is none."""
    text = last_value(values, name)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None

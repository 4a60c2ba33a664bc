"""Parser of script output: lines `name=value`, in which names may repeat. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def parse_lines(output: str) -> dict[str, list[str]]:
    """Return the values by name, in order; lines without `=` are ignored."""
    values: dict[str, list[str]] = {}
    for line in output.split("\n"):  # not splitlines: values may contain other line separators
        name, mark, value = line.partition("=")
        if mark:
            values.setdefault(name, []).append(value)
    return values


def last_value(values: Mapping[str, Sequence[str]], name: str) -> str:
    """Return the last value of a name; empty if it does not occur."""
    return values.get(name, [""])[-1]


def number_value(values: Mapping[str, Sequence[str]], name: str) -> int | None:
    """Return the last value of a name as a number of 0 or more; None if it is not a number."""
    text = last_value(values, name)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None

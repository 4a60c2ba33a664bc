"""Arguments of a command line in messages, without what may be a secret."""

from __future__ import annotations

from collections.abc import Iterable

from dagengine.text import PASSWORD_IN_URL


def hide_values(arguments: Iterable[str]) -> list[str]:
    """Return the arguments, options without their values and URLs without their passwords."""
    return [_hide_value(argument) for argument in arguments]


def _hide_value(argument: str) -> str:
    if argument.startswith("--"):
        return argument.partition("=")[0]
    if argument.startswith("-"):
        return argument[:2]
    return PASSWORD_IN_URL.sub(r"\1:…@", argument)

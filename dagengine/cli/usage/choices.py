"""Names to choose from, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from dagengine.cli.usage import messages


def join_choices(names: Sequence[str]) -> str:
    """Return `a, b or c`."""
    *others, last = names
    return messages.OR(names=", ".join(others), last=last) if others else last

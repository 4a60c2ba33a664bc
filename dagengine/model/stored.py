"""What survives being stored: a step must see after a restart what it saw before it."""

from __future__ import annotations

import json
from typing import Any

from dagengine.errors import Unstorable


def as_stored(value: dict[str, Any]) -> dict[str, Any]:
    """The value as it will be read again: tuples as lists, keys as text, nothing shared.

    Raises:
        Unstorable: it is not JSON (NaN and infinity are not), or has text that is no Unicode.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as exc:
        raise Unstorable(
            f"cannot be stored: {exc}", remedy="only what is JSON can be kept"
        ) from exc
    stored: dict[str, Any] = json.loads(text)
    return stored


def as_text(text: str) -> str:
    r"""The text with what is no Unicode (half a surrogate pair) written out, as `\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

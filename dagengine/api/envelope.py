"""The envelope of every response, and the JSON format (protocol 1.1, 1.2)."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from dagengine.errors import DagengineError
from dagengine.lines import clean_line
from dagengine.text import escape_json_controls

ABSENT: Any = object()
"""Marks an envelope without `data`, as opposed to `data` that is null."""

_OFFSET = len("+00:00")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def render_time(at: datetime) -> str:
    """Render an RFC 3339 time: local offset (`Z` for UTC), fraction without trailing zeros."""
    microsecond = at.microsecond
    second, offset = render_second(at.replace(microsecond=0))
    if not microsecond:
        return second + offset
    fraction = f"{microsecond:06d}".rstrip("0")
    return f"{second}.{fraction}{offset}"


@functools.lru_cache(maxsize=1024)
def render_second(at: datetime) -> tuple[str, str]:
    """Render date and time of a whole second, and its offset.

    The result is cached because the times of a DAG share a few seconds.
    """
    text = at.astimezone().isoformat()  # strftime is ten times slower
    offset = text[-_OFFSET:]
    return text[:-_OFFSET], "Z" if offset == "+00:00" else offset


def render_error(
    error: DagengineError, describe: Callable[[DagengineError], str] = str
) -> dict[str, object]:
    """Return the `error` object of the envelope; `describe` returns its text."""
    code = {"code": error.legacy_code} if error.legacy_code else {}
    return {**code, "errCode": error.err_code, "message": describe(error)}


def render_envelope(
    *,
    status: int,
    at: datetime,
    duration_ms: int,
    trace_id: str,
    data: object = ABSENT,
    error: DagengineError | None = None,
    describe: Callable[[DagengineError], str] = str,
    notices: Sequence[str] = (),
) -> bytes:
    """Render the envelope of a response; it has no `data` if that is `ABSENT`.

    It has `notices`, which OBShell does not send, only if there are any.
    """
    envelope: dict[str, object] = {
        "successful": error is None,
        "timestamp": render_time(at),
        "duration": duration_ms,
        "status": status,
        "traceId": trace_id,
    }
    if data is not ABSENT:
        envelope["data"] = data
    if error is not None:
        envelope["error"] = render_error(error, describe)
    if notices:
        envelope["notices"] = list(map(clean_line, notices))
    return render_json(envelope)


def render_json(value: object) -> bytes:
    """Render compact JSON: `<`, `>` and `&` are escaped as in OBShell, and control characters."""
    text = _encode(value)
    if "<" in text or ">" in text or "&" in text:
        text = text.translate(_ESCAPES)
    return escape_json_controls(text).encode("utf-8")


def sort_keys(value: object) -> object:
    """Return a free-form value with the keys of every mapping sorted."""
    if isinstance(value, Mapping):
        return {str(key): sort_keys(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [sort_keys(item) for item in value]
    return value

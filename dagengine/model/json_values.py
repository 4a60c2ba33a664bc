"""Normalization of values before they are used, so that a restart does not change them."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dagengine.errors import NotSerializable
from dagengine.lines import clean_line
from dagengine.model import messages
from dagengine.model.outcome import (
    Cancelled,
    Failed,
    Json,
    Outcome,
    Problem,
    ResultUnknown,
    Succeeded,
    TimedOut,
)

MAX_JSON_CHARS = 1_000_000
"""Maximum size of `data` and of `evidence`; a value that is not a text counts as 8 characters."""

_ITEM_CHARS = 8


def normalize_json(value: Json) -> dict[str, Any]:
    """Return the value as it will look after a JSON round trip.

    Tuples become lists, keys become strings, and references are not shared.

    Raises:
        NotSerializable: the value is not JSON (NaN and infinity are not), or contains text that
            is not valid Unicode.
    """
    try:
        text = json.dumps(dict(value), ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as exc:
        raise NotSerializable(
            messages.NOT_SERIALIZABLE(reason=exc), remedy=messages.USE_JSON()
        ) from exc
    stored: dict[str, Any] = json.loads(text)
    return stored


def check_size(name: str, value: object) -> None:
    """Check the size of a result before it is rendered, which would block the event loop.

    The cost is bounded, as the check ends when the limit is reached.

    Raises:
        NotSerializable: the value is larger than MAX_JSON_CHARS.
    """
    size, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        size += len(item) if isinstance(item, str) else _ITEM_CHARS
        following = len(item) if isinstance(item, Mapping | list | tuple) else 0
        if size + following * _ITEM_CHARS > MAX_JSON_CHARS:
            raise NotSerializable(
                messages.RESULT_TOO_LARGE(name=name, limit=MAX_JSON_CHARS),
                remedy=messages.STORE_ELSEWHERE(),
            )
        if isinstance(item, Mapping):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)


def normalize_text(text: str) -> str:
    r"""Return the text as it is stored: one line, with control characters and invalid Unicode (a
    lone surrogate) escaped, as in `\x1b` or `\udcff`; see `clean_line` for its length.
    """
    return clean_line(text)


def normalize_evidence(evidence: Json) -> dict[str, Any]:
    """Return the evidence as it is stored: see `normalize_json`, and `normalize_text` for texts.

    Raises:
        NotSerializable: it cannot be stored.
    """
    try:
        cleaned: dict[str, Any] = _clean(normalize_json(evidence))
    except RecursionError as exc:
        raise NotSerializable(
            messages.NOT_SERIALIZABLE(reason=exc), remedy=messages.USE_JSON()
        ) from exc
    return cleaned


def _clean(value: Any) -> Any:
    match value:
        case str():
            return clean_line(value)
        case dict():
            return {_clean(key): _clean(item) for key, item in value.items()}
        case list():
            return [_clean(item) for item in value]
        case _:
            return value


def outcome_as_stored(outcome: Outcome) -> Outcome:
    """Return the outcome as it will look after it is stored and read.

    Raises:
        NotSerializable: its data or its evidence cannot be stored or is too large, or the value
            is not an outcome that a step may return.
    """
    match outcome:
        case Succeeded(data, evidence, summary):
            if not data and not evidence and not summary:
                return outcome  # fast path: most outcomes are empty
            check_size("data", data)
            check_size("evidence", evidence)
            return Succeeded(
                normalize_json(data), normalize_evidence(evidence), normalize_text(summary)
            )
        case Failed() | TimedOut() | ResultUnknown():
            check_size("evidence", outcome.evidence)
            return replace(
                outcome,
                problem=normalize_problem(outcome.problem),
                evidence=normalize_evidence(outcome.evidence),
            )
        case Cancelled():
            return outcome
        case _:  # includes Interrupted, which only the engine may report
            raise NotSerializable(
                messages.OUTCOME_UNKNOWN(outcome=reprlib.repr(outcome)),
                remedy=messages.RETURN_OUTCOME(),
            )


def normalize_problem(problem: Problem) -> Problem:
    """Return the problem as it is stored: see `normalize_text`."""
    return Problem(
        normalize_text(problem.code),
        normalize_text(problem.message),
        normalize_text(problem.remedy),
    )

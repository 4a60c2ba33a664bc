"""Normalization of values before they are used, so that a restart does not change them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from dagengine.errors import NotSerializable
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


def normalize_text(text: str) -> str:
    r"""Return the text with invalid Unicode (a lone surrogate) escaped, as in `\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def outcome_as_stored(outcome: Outcome) -> Outcome:
    """Return the outcome as it will look after it is stored and read.

    Raises:
        NotSerializable: its data or its evidence cannot be stored.
        TypeError: the value is not an outcome that a step may return.
    """
    match outcome:
        case Succeeded(data, evidence, summary):
            if not data and not evidence and not summary:
                return outcome  # fast path: most outcomes are empty
            return Succeeded(
                normalize_json(data), normalize_json(evidence), normalize_text(summary)
            )
        case Failed() | TimedOut() | ResultUnknown():
            problem, evidence = _readable(outcome.problem), normalize_json(outcome.evidence)
            return replace(outcome, problem=problem, evidence=evidence)
        case Cancelled():
            return outcome
        case _:  # includes Interrupted, which only the engine may report
            raise TypeError(messages.OUTCOME_UNKNOWN(outcome=outcome))


def _readable(problem: Problem) -> Problem:
    return Problem(
        normalize_text(problem.code),
        normalize_text(problem.message),
        normalize_text(problem.remedy),
    )

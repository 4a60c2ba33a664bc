"""What survives being stored: a step must see after a restart what it saw before it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from dagengine.errors import NotSerializable
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
    """The value as it will be read again: tuples as lists, keys as text, nothing shared.

    Raises:
        NotSerializable: it is not JSON (NaN and infinity are not), or has text that is no Unicode.
    """
    try:
        text = json.dumps(dict(value), ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as exc:
        raise NotSerializable(
            f"cannot be stored: {exc}", remedy="only what is JSON can be kept"
        ) from exc
    stored: dict[str, Any] = json.loads(text)
    return stored


def normalize_text(text: str) -> str:
    r"""The text with what is no Unicode (half a surrogate pair) written out, as `\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def outcome_as_stored(outcome: Outcome) -> Outcome:
    """The outcome as it will be read again.

    Raises:
        NotSerializable: its data or its evidence cannot be kept.
        TypeError: it is none that a step may have.
    """
    match outcome:
        case Succeeded(data, evidence, summary):
            if not data and not evidence and not summary:
                return outcome  # as most
            return Succeeded(
                normalize_json(data), normalize_json(evidence), normalize_text(summary)
            )
        case Failed() | TimedOut() | ResultUnknown():
            problem, evidence = _readable(outcome.problem), normalize_json(outcome.evidence)
            return replace(outcome, problem=problem, evidence=evidence)
        case Cancelled():
            return outcome
        case _:  # Interrupted is for the engine to say
            raise TypeError(f"a step returned {outcome!r}, which is no outcome of a step")


def _readable(problem: Problem) -> Problem:
    return Problem(
        normalize_text(problem.code),
        normalize_text(problem.message),
        normalize_text(problem.remedy),
    )

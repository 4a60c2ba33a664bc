"""Values as the store returns them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dagengine.errors import NotSerializable
from dagengine.model.json_values import (
    normalize_evidence,
    normalize_json,
    normalize_text,
    outcome_as_stored,
)
from dagengine.model.outcome import Failed, Problem, Succeeded


def test_normalize_json_gives_value_as_read_back() -> None:
    shared = ["x"]
    original = {"ports": (1, 2), 3: "x", "list": shared, "text": "\u00fc", "none": None}
    stored = normalize_json(original)  # type: ignore[arg-type]  # untyped callers may pass this
    assert stored == {"ports": [1, 2], "3": "x", "list": ["x"], "text": "\u00fc", "none": None}
    shared.append("y")
    assert stored["list"] == ["x"]


def _nested() -> dict[str, Any]:
    itself: dict[str, Any] = {}
    itself["itself"] = itself
    return itself


@pytest.mark.parametrize(
    "value",
    [{"x": {1, 2}}, {"x": math.nan}, {"x": math.inf}, {"x": "\ud800"}, {"\udcff": 1}, _nested()],
    ids=["set", "nan", "infinite", "half a pair", "half a pair in a key", "itself"],
)
def test_normalize_json_not_serializable_value_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(NotSerializable, match="cannot be stored"):
        normalize_json(value)


def test_normalize_text_escapes_surrogates() -> None:
    assert normalize_text("caf\u00e9 \udcff") == "caf\u00e9 \\udcff"


def test_normalize_text_is_one_line_without_controls() -> None:
    assert normalize_text("boo\x1b[2J\rFORGED\n") == r"boo\x1b[2J\x0dFORGED\x0a"


def test_normalize_evidence_cleans_every_text() -> None:
    evidence = {"list\x07": ["\x1b", {"deep": "\u202e"}], "long": "y" * 2_000_000, "pid": 7}
    stored = normalize_evidence(evidence)
    assert stored["list\\x07"] == [r"\x1b", {"deep": r"\u202e"}]
    assert stored["pid"] == 7
    assert "bytes omitted" in stored["long"]


def test_outcome_as_stored_cleans_problem_and_keeps_data() -> None:
    outcome = outcome_as_stored(Failed(Problem("C\n", "m\x1b", "r\x9b"), {"a": "\n"}))
    assert outcome == Failed(Problem(r"C\x0a", r"m\x1b", r"r\x9b"), {"a": r"\x0a"})
    data = {"answer": "two\nlines"}
    assert outcome_as_stored(Succeeded(data, {}, "s\n")) == Succeeded(data, {}, r"s\x0a")


@pytest.mark.parametrize(
    "problem", [Problem("C", "m" * 10**6, "r"), Problem("C", "m", "r" * 10**6)]
)
def test_problem_render_is_one_limited_line(problem: Problem) -> None:
    assert len(problem.render()) < 5000
    assert problem.render().startswith("ERROR: [C]: m")
    assert problem.render().endswith("r")

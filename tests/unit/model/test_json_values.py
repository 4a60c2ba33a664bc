"""Values as the store returns them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dagengine.errors import NotSerializable
from dagengine.model.json_values import normalize_json, normalize_text


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

"""Bodies of POST /ob/start: both forms of forcePassDag, null values, names in any case."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dagengine.api.binding import bind
from dagengine.errors import BindFailed
from tasks.planning.start import StartRequest


def bind_body(body: Any) -> tuple[str, list[str], list[str]]:
    """Return the scope type, the targets and the ids to force-pass, as the route uses them."""
    request = bind(body if isinstance(body, bytes) else json.dumps(body).encode(), StartRequest)
    scope, force = request.scope, request.force_pass_dag
    return (
        (scope.type if scope else None) or "",
        (scope.target if scope else None) or [],
        (force.id if force else None) or [],
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # bodies of the official clients
        (
            {"scope": {"type": "GLOBAL", "target": []}, "forcePassDag": {"id": []}},
            ("GLOBAL", [], []),
        ),
        (
            {"scope": {"type": "SERVER", "target": ["a"]}, "forcePassDag": {"id": None}},
            ("SERVER", ["a"], []),
        ),
        # both forms of forcePassDag
        ({"forcePassDag": {"id": ["1", "2"]}}, ("", [], ["1", "2"])),
        ({"forcePassDag": ["1", "2"]}, ("", [], ["1", "2"])),
        ({"forcePassDag": []}, ("", [], [])),
        ({"forcePassDag": {}}, ("", [], [])),
        ({"forcePassDag": None}, ("", [], [])),
        # empty bodies in every spelling
        (b"", ("", [], [])),
        (b"null", ("", [], [])),
        (b" null\n", ("", [], [])),
        (b"{}", ("", [], [])),
        ({"scope": None}, ("", [], [])),
        ({"scope": {}}, ("", [], [])),
        ({"scope": {"type": None, "target": None}}, ("", [], [])),
        ({"scope": {"type": "GLOBAL", "target": None}}, ("GLOBAL", [], [])),
        # names in any case; unknown names are ignored
        (
            {"SCOPE": {"TYPE": "zone", "Target": ["z"]}, "ForcePassDAG": {"ID": ["1"]}},
            ("zone", ["z"], ["1"]),
        ),
        ({"forcepassdag": ["1"]}, ("", [], ["1"])),
        ({"scope": {"type": "ZONE", "kind": 7}, "else": [1]}, ("ZONE", [], [])),
        ({"force_pass_dag": {"id": ["1"]}}, ("", [], [])),
    ],
)
def test_start_request_valid_body_is_bound(
    body: Any, expected: tuple[str, list[str], list[str]]
) -> None:
    assert bind_body(body) == expected


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "not JSON"),
        (b"{} x", "not JSON"),
        (b"\xff\xfe\xff", "not JSON"),
        pytest.param(b'{"scope": ' + b"[" * 100_000, "not JSON", id="deeply nested"),
        (b'{"scope": {"type": "\\ud800"}}', "line 1 column"),
        (b'{"scope": {"type": "\\ud800\\ud800"}}', "line 1 column"),
        (b'{"scope": {"type": "\\udfff"}}', "line 1 column"),
        (b'{"\\udc00": 1}', "line 1 column"),
        (b'{"reason": "\xed\xa0\x80"}', "line 1 column"),
        (b'{"reason": NaN}', "line 1 column"),
        (b'{"reason": -Infinity}', "line 1 column"),
        (b"[]", "not a JSON object"),
        (b'"GLOBAL"', "not a JSON object"),
        (b"7", "not a JSON object"),
        ({"scope": "GLOBAL"}, "scope"),
        ({"scope": []}, "scope"),
        ({"scope": {"type": 7}}, "scope.type"),
        ({"scope": {"type": "ZONE", "target": "zone1"}}, "scope.target"),
        ({"scope": {"TYPE": "ZONE", "TARGET": {"a": 1}}}, "scope.target"),
        ({"scope": {"type": "ZONE", "target": ["zone1", 7]}}, "scope.target.1"),
        ({"forcePassDag": "1"}, "forcePassDag"),
        ({"forcePassDag": 1}, "forcePassDag"),
        ({"forcePassDag": [1]}, "forcePassDag.id.0"),
        ({"forcePassDag": {"id": "1"}}, "forcePassDag.id"),
        ({"forcePassDag": {"id": [None]}}, "forcePassDag.id.0"),
    ],
)
def test_start_request_wrong_type_names_place(body: Any, named: str) -> None:
    with pytest.raises(BindFailed) as caught:
        bind_body(body)
    assert caught.value.message.startswith("Bind JSON failed: ")
    assert named in caught.value.message


def test_start_request_error_does_not_show_body() -> None:
    with pytest.raises(BindFailed) as caught:
        bind_body({"scope": {"type": {"password": "s3cret"}}})
    assert "s3cret" not in str(caught.value)

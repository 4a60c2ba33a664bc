"""Parameters of operations: stored values of earlier versions are decoded; others are errors."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagengine import Failed, Outcome, StepContext, Succeeded
from tasks.cluster.scope import RequestedScope, ScopeKind
from tasks.errors import StoredParamsInvalid
from tasks.flavours.base import StopMode
from tasks.operations.params import StartParams, StopParams, with_params
from tests.fixtures.stores import write_store
from tests.support.hostile_cluster import FakeContext

FIXTURES = Path(__file__).parents[2] / "fixtures"
RECORDED: list[dict[str, Any]] = json.loads(
    (FIXTURES / "params_d8f0381.json").read_text(encoding="utf-8")
)
CLASSES: dict[str, type[StartParams | StopParams]] = {
    "Start OB": StartParams,
    "Stop OB": StopParams,
}
ZONE = RequestedScope(ScopeKind.ZONE, ("z2", "größe"))
SERVER = RequestedScope(ScopeKind.SERVER, ("[fe80::1]:2887", "10.0.0.1"))
GLOBAL = RequestedScope(ScopeKind.GLOBAL)
DECODED = [
    StartParams(GLOBAL),
    StartParams(ZONE, ("201684300810288612", "7")),
    StartParams(SERVER, (), ("memory", "ports")),
    StartParams(SERVER, ("8",), ("ports",)),
    StopParams(ZONE, StopMode.PLAIN),
    StopParams(GLOBAL, StopMode.TERMINATE),
    StopParams(SERVER, StopMode.FORCE, ("9",)),
]
SCOPE = {"type": "GLOBAL", "target": []}


def test_from_json_of_recorded_params_gives_the_request() -> None:
    decoded = [CLASSES[entry["operation"]].from_json(entry["params"]) for entry in RECORDED]
    assert decoded == DECODED


def test_to_json_gives_keys_and_order_as_recorded() -> None:
    stored = [json.dumps(params.to_json()) for params in DECODED]
    assert stored == [json.dumps(entry["params"]) for entry in RECORDED]


def test_from_json_of_the_recorded_store_decodes_each_dag(tmp_path: Path) -> None:
    # The DAGs of that store were submitted without a route, so they have no scope.
    connection = sqlite3.connect(write_store(tmp_path / "store.sqlite"))
    rows = connection.execute("SELECT params FROM dag WHERE name = 'Start OB'").fetchall()
    connection.close()
    stored = [json.loads(text) for (text,) in rows]
    decoded = [StartParams.from_json(params | {"scope": SCOPE}) for params in stored]
    assert {params.skip_checks for params in decoded} == {("disk", "größe")}
    assert [[*params.force_pass] for params in decoded] == [
        params.get("force_pass", []) for params in stored
    ]
    assert any(params.force_pass for params in decoded)


def test_from_json_accepts_null_and_missing_lists() -> None:
    params = {"scope": {"type": "GLOBAL", "target": None}, "force_pass": None, "other": 1}
    assert StartParams.from_json(params) == StartParams(GLOBAL)


@pytest.mark.parametrize(
    ("decode", "params", "key"),
    [
        (StartParams.from_json, {}, "scope"),
        (StartParams.from_json, {"scope": "GLOBAL"}, "scope"),
        (StartParams.from_json, {"scope": {}}, "scope.type"),
        (StartParams.from_json, {"scope": {"type": ["GLOBAL"]}}, "scope.type"),
        (StartParams.from_json, {"scope": {"type": "zone"}}, "scope.type"),
        (StartParams.from_json, {"scope": {"type": "ZONE", "target": "z1"}}, "scope.target"),
        (StartParams.from_json, {"scope": SCOPE, "force_pass": "1"}, "force_pass"),
        (StartParams.from_json, {"scope": SCOPE, "force_pass": [1]}, "force_pass"),
        (StartParams.from_json, {"scope": SCOPE, "skip_checks": {"a": 1}}, "skip_checks"),
        (StopParams.from_json, {"scope": SCOPE}, "mode"),
        (StopParams.from_json, {"scope": SCOPE, "mode": "gentle"}, "mode"),
    ],
)
async def test_malformed_params_fail_the_step_by_name(
    decode: Callable[[Any], StartParams | StopParams], params: dict[str, Any], key: str
) -> None:
    async def never(context: StepContext, params: StartParams | StopParams) -> Outcome:
        return Succeeded()

    with pytest.raises(StoredParamsInvalid, match=f"'{key}'"):
        decode(params)
    context = FakeContext(None, params=params)
    outcome = await with_params(decode, never)(context.as_context())
    assert isinstance(outcome, Failed)
    assert f"the stored parameter '{key}' of this task is invalid" in outcome.problem.message
    assert outcome.problem.remedy == "end it with `dagengine cancel`, and start or stop again"

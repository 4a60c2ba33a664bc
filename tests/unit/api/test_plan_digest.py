"""The digest of a plan changes with each decision, and with nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dagengine import Submission
from dagengine.api.extension import Plan, ServerPlan
from dagengine.api.plans.digest import digest_plan, parse_digest
from dagengine.api.schemas.tasks import PlanPart
from dagengine.errors import IllegalArgument

SERVER = ServerPlan("a:2886", "start", "first start", basis=("first",))
PLAN = Plan(Submission("Start OB", ("a:2886",), {"skip": ["memory"]}), "cluster", (SERVER,))
DIGEST = digest_plan(PLAN, (), "file")


def with_server(**changes: object) -> Plan:
    return replace(PLAN, servers=(replace(SERVER, **changes),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("plan", "part"),
    [
        (replace(PLAN, submission=replace(PLAN.submission, operation="x")), PlanPart.TARGETS),
        (replace(PLAN, submission=replace(PLAN.submission, targets=())), PlanPart.TARGETS),
        (replace(PLAN, submission=replace(PLAN.submission, params={})), PlanPart.TARGETS),
        (with_server(verdict="nothing"), PlanPart.VERDICTS),
        (with_server(name="b:2886"), PlanPart.VERDICTS),
        (with_server(basis=("later",)), PlanPart.VERDICTS),
        (replace(PLAN, servers=(SERVER, SERVER)), PlanPart.VERDICTS),
        (replace(PLAN, lock_key="other"), PlanPart.LOCK),
    ],
)
def test_digest_differs_in_part_that_changed(plan: Plan, part: PlanPart) -> None:
    assert DIGEST.find_changes(digest_plan(plan, (), "file")) == (part,)


def test_digest_differs_with_holder_and_cluster_file() -> None:
    assert DIGEST.find_changes(digest_plan(PLAN, (7,), "file")) == (PlanPart.LOCK,)
    assert DIGEST.find_changes(digest_plan(PLAN, (), "other")) == (PlanPart.CLUSTER_FILE,)


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        with_server(reason="other words", commands=("x",), checks=({"check": "memory"},)),
        replace(PLAN, notices=("a notice",)),
    ],
)
def test_digest_ignores_texts_and_figures(plan: Plan) -> None:
    assert digest_plan(plan, (), "file") == DIGEST


def test_digest_ignores_order_of_claims_and_parameters() -> None:
    first = replace(PLAN, submission=replace(PLAN.submission, params={"a": 1, "b": 2}))
    second = replace(PLAN, submission=replace(PLAN.submission, params={"b": 2, "a": 1}))
    assert digest_plan(first, (1, 2), "") == digest_plan(second, (2, 1), "")


def test_digest_of_shifted_names_is_different() -> None:
    plans = [with_server(name=name, basis=basis) for name, basis in (("a", ("b",)), ("ab", ()))]
    digests = {str(digest_plan(plan, (), "")) for plan in plans}
    assert len(digests) == 2


def test_digest_is_parsed_as_rendered() -> None:
    assert parse_digest(str(DIGEST)) == DIGEST


@pytest.mark.parametrize("text", ["", "p1", str(DIGEST)[:-1], f"{DIGEST}0", f" {DIGEST}", "p2-"])
def test_malformed_digest_is_refused(text: str) -> None:
    with pytest.raises(IllegalArgument, match="If-Plan-Matches"):
        parse_digest(text)

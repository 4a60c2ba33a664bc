"""The view model of the page of a plan."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from dagengine import Submission
from dagengine.api.plans.digest import digest_plan
from dagengine.errors import IllegalArgument
from dagengine.extension import CurrentPlan, Plan, PlanPart, ServerPlan, Texts
from dagengine.translation import Translator
from tasks.cluster.scope import ScopeKind
from tasks.planning.operations import BY_SQL, FORCE, TERMINATE, RequestedAction
from tasks.web.plan import read_reason
from tasks.web.plan_model import Holder, PlanRecord, view_plan
from tests.unit.web.test_servers_page import START, STOP

TEXTS = Texts(Translator([]))
CHECKS = (
    {"check": "memory", "level": "block", "cause": "too little", "remedy": "add memory"},
    {"check": "port", "level": "ok", "cause": "", "remedy": ""},
)
TO_START = ServerPlan("a:2886", "start", "has data", commands=("dagengine-start x",))
BLOCKED = ServerPlan("b:2886", "blocked", "too little; add memory", CHECKS)
RUNNING = ServerPlan("c:2886", "nothing", "already running")


def make_record(*servers: ServerPlan, **changes: object) -> PlanRecord:
    plan = Plan(Submission("Start OB"), "cluster", servers)
    current = CurrentPlan(plan, digest_plan(plan, (), ""))
    action = RequestedAction(ScopeKind.ZONE, ("z 1", "z2"))
    operation = replace(START, takes_skips=True)
    made = PlanRecord(operation, action, current, None, can_change=True, key="k", seen={})
    return replace(made, **changes)  # type: ignore[arg-type]


def test_plan_counts_verdicts_and_names_commands() -> None:
    model = view_plan(make_record(TO_START, RUNNING, BLOCKED), TEXTS)
    assert model.sentence == "Servers: 1 to start, 1 nothing to do, 1 blocked"
    assert model.rows[0].commands == (("command-0-0", "dagengine-start x"),)
    assert (model.refusal, model.key, model.digest[:2]) == ("", "k", "p1")


def test_blocked_server_shows_check_remedy_and_skip() -> None:
    (row,) = view_plan(make_record(BLOCKED), TEXTS).rows
    (check,) = row.checks
    assert (check.name, check.cause, check.remedy) == ("memory", "too little", "add memory")
    assert [link.href for link in check.skips] == [
        "/ui/plan/start?scope=ZONE&target=z+1&target=z2&skip=memory"
    ]


@pytest.mark.parametrize(
    ("servers", "changes", "refusal"),
    [
        ((TO_START,), {"can_change": False}, "You may see plans"),
        ((RUNNING,), {}, "There is nothing to do"),
        ((BLOCKED, RUNNING), {}, "Not possible now: nothing"),
        ((TO_START,), {"holder": Holder("2127", "x")}, "Not possible now: another task"),
    ],
)
def test_button_is_disabled_with_the_cause(
    servers: tuple[ServerPlan, ...], changes: dict[str, object], refusal: str
) -> None:
    assert view_plan(make_record(*servers, **changes), TEXTS).refusal.startswith(refusal)


def test_held_lock_leads_to_holder_and_to_take_over() -> None:
    held = make_record(TO_START, holder=Holder("2127", "'Stop OB' 2127"))
    lock = view_plan(held, TEXTS).lock
    assert "'Stop OB' 2127" in lock.text
    assert [link.href for link in lock.links] == [
        "/ui/task/2127",
        "/ui/plan/start?scope=ZONE&target=z+1&target=z2&pass=2127",
    ]
    passed = replace(held, action=replace(held.action, force_pass=("2127",)))
    assert view_plan(passed, TEXTS).refusal == ""


def test_changed_plan_shows_what_was_before() -> None:
    before = {"a:2886": "nothing", "c:2886": "nothing"}
    new = make_record(TO_START, RUNNING, BLOCKED, seen=before)
    new = replace(new, current=replace(new.current, changes=(PlanPart.VERDICTS, PlanPart.LOCK)))
    model = view_plan(new, TEXTS)
    assert len(model.changes) == 2
    assert [row.was for row in model.rows] == ["nothing to do", "", "not part of the plan"]


def test_command_of_plan_is_quoted_for_a_shell() -> None:
    model = view_plan(make_record(TO_START), TEXTS)
    assert shlex.split(model.command) == [
        *("dagengine", "start", "--zone", "z 1,z2", "--if-plan", model.digest)
    ]


def test_modes_of_whole_cluster_exclude_sql() -> None:
    stop = replace(STOP, modes=(BY_SQL, TERMINATE, FORCE))
    for kind, count in ((ScopeKind.ZONE, 3), (ScopeKind.GLOBAL, 2)):
        action = RequestedAction(kind, mode="force")
        model = view_plan(make_record(TO_START, operation=stop, action=action), TEXTS)
        assert len(model.modes) == count
        assert [mode.current for mode in model.modes].count("true") == 1


@pytest.mark.parametrize("text", ["", "  ", "x" * 4001])
def test_reason_is_required(text: str) -> None:
    with pytest.raises(IllegalArgument):
        read_reason(text)

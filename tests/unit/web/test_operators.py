"""The forms of the operators: their servers, and why they are disabled."""

from __future__ import annotations

from typing import Any

from dagengine.model.records import LockRecord
from dagengine.model.stage_kinds import Flags
from dagengine.model.states import State
from dagengine.web.views.operators import Operator as Op
from dagengine.web.views.operators import (
    OperatorForm,
    OperatorRecords,
    render_curl,
    render_show_command,
    view_operators,
    view_stage_pass,
)
from tests.support.dag_rows import CHINESE, ENGLISH, NOW, ONE, TWO, make_rows

URL = "http://127.0.0.1:2886"
LOCK = LockRecord("cluster", None, 0, "", NOW)


def make_records(changes: dict[str, Any]) -> OperatorRecords:
    values = {"rows": make_rows(), "lock": LOCK, "holder": "", "unknown": "", "can_change": True}
    return OperatorRecords(dag_id="123", api_url=URL, now=NOW, **{**values, **changes})


def forms(texts: Any = ENGLISH, **changes: Any) -> dict[str, OperatorForm]:
    return {form.action: form for form in view_operators(make_records(changes), texts)}


def test_retry_form_names_failed_servers_only() -> None:
    retry = forms()["retry"]
    assert TWO in retry.effect
    assert ONE not in retry.effect
    assert retry.refusal == ""


def test_rollback_form_names_all_servers_that_were_touched() -> None:
    effect = forms()["rollback"].effect
    assert ONE in effect
    assert TWO in effect


def test_pass_form_names_skipped_servers() -> None:
    effect = forms()["pass"].effect
    assert TWO in effect
    assert ONE not in effect


def test_cancel_form_of_running_dag_names_running_servers() -> None:
    of_running = forms(rows=make_rows(State.RUNNING, states="SSRSP"))
    assert of_running["cancel"].effect == f"Ends the running steps on {TWO}"
    assert "not FAILED" in of_running["retry"].refusal
    assert of_running["retry"].effect == ""


def test_cancel_form_of_failed_dag_gives_cause() -> None:
    assert "has already ended" in forms()["cancel"].refusal


def test_rollback_form_of_irreversible_stage_gives_cause() -> None:
    rows = make_rows(flags=Flags(can_rollback=False))
    assert "Lock" in forms(rows=rows)["rollback"].refusal


def test_retry_form_with_lock_of_another_dag_names_holder() -> None:
    of_locked = forms(holder="Stop OB")
    assert "Stop OB holds the lock" in of_locked["retry"].refusal
    assert "Stop OB holds the lock" in of_locked["rollback"].refusal
    assert of_locked["pass"].refusal == ""  # it needs no lock


def test_forms_of_unknown_operation_give_cause() -> None:
    unknown = "operation 'Start OB' is not registered"
    of_unknown = forms(unknown=unknown, holder="Stop OB")
    assert (of_unknown["retry"].refusal, of_unknown["rollback"].refusal) == (unknown, unknown)
    assert of_unknown["pass"].refusal == ""  # runs no step
    assert stage_pass(unknown=unknown).refusal == unknown
    of_running = forms(rows=make_rows(State.RUNNING, states="SSRSP"), unknown=unknown)
    assert "not FAILED" in of_running["retry"].refusal
    assert of_running["cancel"].refusal == ""


def stage_pass(stage: int = 2, texts: Any = ENGLISH, **changes: Any) -> OperatorForm:
    return view_stage_pass(make_records(changes), stage, "456", "/ui/task/123?task=3", texts)


def test_stage_pass_form_names_skipped_and_later_servers() -> None:
    form = stage_pass()
    assert form.refusal == ""
    assert form.effect == (
        f"Marks Check as done without running it ({TWO}); then the later stages run ({TWO})"
    )
    assert (form.path, form.action, form.stage) == ("/ui/task/123?task=3", "pass-stage", "2")
    assert form.command == f"dagengine pass 123 --node 2 --reason … --url {URL}".replace("…", "'…'")
    assert f"{URL}/api/v1/task/node/456" in form.curl


def test_stage_pass_form_omits_lanes_that_stay_failed() -> None:
    rows = make_rows(states="SSFFP")
    assert stage_pass(rows=rows).effect.endswith(f"({TWO}); then the later stages run ({TWO})")


def test_stage_pass_form_of_last_stage_says_so() -> None:
    form = stage_pass(3, rows=make_rows(states="SSSSF"))
    assert form.effect == f"Marks Start as done without running it ({TWO}); no stage follows"


def test_stage_pass_form_of_whole_cluster_names_later_servers() -> None:
    effect = stage_pass(1, rows=make_rows(states="FPPPP")).effect
    assert effect == (
        "Marks Lock as done without running it (Whole cluster); "
        f"then the later stages run ({ONE}, {TWO})"
    )


def test_stage_pass_form_of_other_state_gives_cause() -> None:
    assert "not FAILED" in stage_pass(rows=make_rows(State.RUNNING, states="SSRSP")).refusal
    assert "not FAILED" in stage_pass(1).refusal
    assert stage_pass(1).effect == ""
    assert "cannot be passed" in stage_pass(rows=make_rows(flags=Flags(can_pass=False))).refusal


def test_stage_pass_form_needs_lock_and_right() -> None:
    assert "Stop OB holds the lock" in stage_pass(holder="Stop OB").refusal
    assert "change nothing" in stage_pass(can_change=False).refusal


def test_stage_pass_form_in_chinese_is_chinese() -> None:
    assert stage_pass(texts=CHINESE).effect.startswith("不运行 Check")


def test_forms_without_right_are_all_disabled() -> None:
    assert all("change nothing" in form.refusal for form in forms(can_change=False).values())


def test_forms_of_many_servers_are_short() -> None:
    targets = tuple(f"10.0.{n // 200}.{n % 200}:2886" for n in range(500))
    rows = make_rows(states="S" + "F" * 500 + "P" * 500, targets=targets)
    effect = forms(rows=rows)["retry"].effect
    assert "and 490 more" in effect
    assert len(effect) < 400


def test_forms_leave_the_records_unchanged() -> None:
    rows = make_rows()
    before = (rows.dag, rows.nodes, rows.sub_tasks)
    forms(rows=rows)
    assert before == (rows.dag, rows.nodes, rows.sub_tasks)


def test_commands_are_quoted_for_a_shell() -> None:
    assert render_show_command("1; rm x", URL) == f"dagengine show '1; rm x' --url {URL}"
    curl = render_curl("123", Op.RETRY, "http://a'b")
    assert """--json '{"operator": "RETRY", "reason": "…"}'""" in curl
    assert """'http://a'"'"'b/api/v1/task/dag/123'""" in curl


def test_forms_in_chinese_are_chinese() -> None:
    chinese = forms(CHINESE)
    assert chinese["retry"].title == "重试"
    assert chinese["retry"].effect == f"在 {TWO} 上重新运行，然后运行后面的阶段"

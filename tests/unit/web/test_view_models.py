"""View models of the pane, the audit, the log, the header and the log-in page."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest

from dagengine.api.sessions import LoginForm
from dagengine.model.credentials import SessionEntry
from dagengine.model.records import AuditRecord, LogRecord
from dagengine.model.stage_kinds import Wait
from dagengine.model.states import State
from dagengine.runtime.logging import LogRing
from dagengine.web.layout import Status, view_header
from dagengine.web.login import choose_target, view_login
from dagengine.web.page import ServerCount
from dagengine.web.views.audit import AuditFilter, parse_filter, render_csv, split_caller
from dagengine.web.views.controller_log import view_log
from dagengine.web.views.run_grid import choose_runs, view_run_grid
from dagengine.web.views.sub_task import Pane, PaneRecords, view_evidence, view_pane
from dagengine.web.views.task import select_sub_task
from tests.support.dag_rows import CHINESE, ENGLISH, NOW, ONE, TWO, make_attempt, make_rows
from tests.support.fake_cluster import FakeCluster


def pane(wait: Wait | None = None, *, lines: int = 2, attempt_no: int = 2) -> Pane:
    rows = make_rows(State.RUNNING, states="SSRSP")
    task = rows.sub_tasks[2]
    attempts = (make_attempt(3, 1, "Failed", 1, 2, "why"), make_attempt(3, 2, None, 5, 5))
    logs = [LogRecord(n, 3, 1, 1, f"line {n}", NOW) for n in range(lines)]
    node = rows.nodes[1]
    records = PaneRecords(task, node, attempts, attempt_no, logs, wait, "/log", NOW)
    return view_pane(records, ENGLISH)


def test_pane_has_state_attempt_and_all_lines() -> None:
    shown = pane()
    assert (shown.title, shown.badge.word) == (f"Check: {TWO}", "running")
    assert shown.attempt == "attempt 2 of 2"
    assert [line.text for line in shown.lines] == ["line 0", "line 1"]
    assert [row.badge.word for row in shown.attempts] == ["failed", "running"]


def test_pane_of_selected_attempt_has_its_error() -> None:
    assert (pane(attempt_no=1).error, pane(attempt_no=2).error) == ("why", "")


def test_pane_of_waiting_task_says_for_what_and_until_when() -> None:
    wait = Wait(
        *("sql", "SQL of the server", NOW - timedelta(seconds=90), "refused"),
        deadline_at=NOW + timedelta(seconds=30),
        next_at=NOW + timedelta(seconds=2),
    )
    shown = pane(wait)
    assert (shown.badge.kind, shown.badge.word) == ("waiting", "waiting")
    assert [fact.name for fact in shown.wait] == [
        *("Waits for", "Since", "Until", "Last probe", "Next probe")
    ]
    assert shown.wait[0].value == "SQL of the server (sql)"
    assert shown.wait[1].value.endswith("for 1 min 30 s")


def test_pane_of_working_task_shows_no_wait() -> None:
    assert pane(Wait("step", "Check", NOW)).wait == ()


def test_pane_with_many_lines_shows_the_newest() -> None:
    shown = pane(lines=700)
    assert len(shown.lines) == 500
    assert shown.lines[-1].text == "line 699"
    assert shown.omitted == "200 earlier lines are in the download"


def test_evidence_lists_of_objects_become_tables() -> None:
    checks = [{"check": "disk", "remedy": "free 2 GB"}, {"check": "port", "cause": "in use"}]
    facts, (table,) = view_evidence({"level": "no", "pid": 7, "checks": checks, "none": []})
    assert [(fact.name, fact.value) for fact in facts] == [
        *(("level", "no"), ("pid", "7"), ("none", "[]"))
    ]
    assert table.columns == ("check", "remedy", "cause")
    assert table.rows == (("disk", "free 2 GB", ""), ("port", "", "in use"))


@pytest.mark.parametrize(
    ("task", "attempt", "expected"),
    [
        ("", "", (3, 1)),  # the first failed one
        ("2", "", (2, 1)),
        ("2", "9", (2, 1)),
        ("2", "1", (2, 1)),
        ("x'", "-1", (3, 1)),
    ],
)
def test_selection_from_url_is_always_valid(
    task: str, attempt: str, expected: tuple[int, int]
) -> None:
    _, selection = select_sub_task(make_rows(), task, attempt)
    assert (selection.sub_task_id, selection.attempt_no) == expected


# --- audit --------------------------------------------------------------------------------------


def audit_row(by: str = "root@sys from ::1", reason: str = "") -> AuditRecord:
    return AuditRecord(1, NOW, 7, None, "START", by, reason)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("root@sys from 10.0.0.9", ("root@sys", "10.0.0.9")),
        ("uid 0 (pid 7) at the socket", ("uid 0 (pid 7)", "the socket")),
        (
            "root@sys from ::1 (states a@b, not verified)",
            ("root@sys (states a@b, not verified)", "::1"),
        ),
        ("--force-pass", ("--force-pass", "")),
    ],
)
def test_audit_caller_and_address_are_separate(by: str, expected: tuple[str, str]) -> None:
    assert split_caller(by) == expected


@pytest.mark.parametrize("start", [*"=+-@\t\r＝＋－＠", "\t=", " ="])  # noqa: RUF001
def test_csv_cell_is_never_a_formula(start: str) -> None:
    text = f'{start}HYPERLINK("http://evil","x")'
    rows = list(csv.reader(io.StringIO(render_csv([(audit_row(text, text), "1")]))))
    assert len(rows) == 2
    assert rows[1][1].startswith("'")
    assert rows[1][5].startswith("'")
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in rows[1])


def test_csv_shows_control_characters_as_escapes() -> None:
    text = render_csv([(audit_row(reason="a\x1b[31m\u202eb"), "1")])
    assert "a\\x1b[31m\\u202eb" in text


def test_csv_of_harmless_text_keeps_it() -> None:
    rows = list(csv.reader(io.StringIO(render_csv([(audit_row(reason='a "b", c'), "1")]))))
    assert rows[1][1:] == ["root@sys", "::1", "START", "1", 'a "b", c']


def test_audit_filters_match_parts_in_any_case() -> None:
    row = audit_row()
    assert AuditFilter(caller="ROOT", action="sta", dag_id="5").accepts(row, "5")
    assert AuditFilter(caller="::1").accepts(row, "5")
    assert not AuditFilter(caller="alice").accepts(row, "5")
    assert not AuditFilter(action="RETRY").accepts(row, "5")
    assert not AuditFilter(dag_id="6").accepts(row, "5")


@pytest.mark.parametrize("before", ["", "x", "-1", "9" * 30, "１"])  # noqa: RUF001
def test_audit_cursor_that_is_no_number_is_ignored(before: str) -> None:
    assert parse_filter({"before": before}).before is None


# --- log ----------------------------------------------------------------------------------------


def ring() -> LogRing:
    filled = LogRing()
    for level, dag_id in (("debug", "1"), ("info", "1"), ("warning", "2"), ("error", "2")):
        event = {"level": level, "timestamp": "t", "logger": "x", "event": level, "dag_id": dag_id}
        filled.add(event)
    return filled


@pytest.mark.parametrize(
    ("level", "dag_id", "names"),
    [
        ("", "", ["error", "warning", "info"]),
        ("debug", "", ["error", "warning", "info", "debug"]),
        ("error", "", ["error"]),
        ("debug", "1", ["info", "debug"]),
        ("nonsense", "3", []),
    ],
)
def test_log_is_filtered_by_level_and_task(level: str, dag_id: str, names: list[str]) -> None:
    model = view_log(ring().newest_first(), level, dag_id, ENGLISH)
    assert [row.name for row in model.rows] == names
    assert bool(model.empty) is not bool(names)


def test_log_ring_drops_the_oldest() -> None:
    small = LogRing(2)
    for number in range(3):
        small.add({"event": str(number)})
    assert [event.name for event in small.newest_first()] == ["2", "1"]


# --- grid ---------------------------------------------------------------------------------------


def test_grid_has_worst_stage_per_server_and_run() -> None:
    other = make_rows(State.SUCCEED, states="SSSSS", targets=(ONE, "10.0.0.3:2886"))
    grid = view_run_grid([("70", make_rows()), ("60", other)], NOW, ENGLISH)
    assert grid is not None
    assert [run.href for run in grid.runs] == ["/ui/task/70", "/ui/task/60"]
    cells = {row.server: [cell.label for cell in row.cells] for row in grid.servers}
    assert cells == {
        ONE: ["succeeded", "succeeded"],
        TWO: ["failed at Check", "not part of the run"],
        "10.0.0.3:2886": ["not part of the run", "succeeded"],
    }


def test_grid_of_large_runs_reads_few_rows() -> None:
    targets = tuple(f"h{n}:1" for n in range(1000))
    large = make_rows(states="S" * 2001, targets=targets).dag
    dags = [large._replace(dag_id=number) for number in range(9, 0, -1)]
    assert choose_runs(dags) == {9, 8}
    small = [make_rows().dag._replace(dag_id=number) for number in range(25, 0, -1)]
    assert len(choose_runs(small)) == 25


def test_run_grid_has_the_newest_runs_only() -> None:
    runs = [(str(number), make_rows()) for number in range(25)]
    grid = view_run_grid(runs, NOW, ENGLISH)
    assert grid is not None
    assert [run.href for run in grid.runs] == [f"/ui/task/{number}" for number in range(10)]


# --- header -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "text", "kind"),
    [
        (None, "2 servers", "neutral"),
        (ServerCount(0, 3, None), "3 servers, not seen yet", "neutral"),
        (ServerCount(3, 3, NOW - timedelta(seconds=4)), "3 of 3 up, seen 4 s ago", "good"),
        (ServerCount(2, 3, NOW), "2 of 3 up, seen 0 s ago", "bad"),
    ],
)
def test_header_tells_how_many_servers_are_up(
    count: ServerCount | None, text: str, kind: str
) -> None:
    status = Status(FakeCluster(), count, (), {}, NOW)
    indicator = view_header(status, ENGLISH)[0]
    assert (indicator.text, indicator.kind) == (text, kind)


def test_header_counts_running_and_failed_tasks() -> None:
    counts = {State.RUNNING: 1, State.READY: 1, State.FAILED: 2, State.SUCCEED: 9}
    _, lock, running, failed = view_header(Status(FakeCluster(), None, (), counts, NOW), ENGLISH)
    assert (lock.text, running.text, failed.text) == ("Lock: free", "2 running", "2 failed")


# --- log-in -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        *("", "//evil", "https://evil/ui/", "/ui", "/ui//evil", "/ui/\\evil", "/ui/login"),
        *("/ui/logout", "/ui/a\r\nSet-Cookie: x", "javascript:alert(1)", "/api/v1/x", "/ui/ｅ"),  # noqa: RUF001
    ],
)
def test_target_outside_of_pages_is_replaced(target: str) -> None:
    assert choose_target(target) == "/ui/"


def test_target_within_pages_is_kept() -> None:
    assert choose_target("/ui/task/12?task=3&attempt=1") == "/ui/task/12?task=3&attempt=1"


def test_login_page_offers_entries_of_the_caller() -> None:
    entries = (SessionEntry.TOKEN, SessionEntry.ROOT_PASSWORD, SessionEntry.LOCAL_USER)
    form = LoginForm("c", None, entries, "uid 0 (pid 7)", "", has_root_password=True)
    model = view_login(form, cluster="demo", target="/ui/", problem="", texts=ENGLISH)
    assert [entry.value for entry in model.secrets] == ["root", "token"]
    assert [entry.text for entry in model.direct] == ["Log in as uid 0 (pid 7)"]
    assert model.hint == ""


def test_login_page_without_root_password_says_how_to_set_one() -> None:
    form = LoginForm("c", None, (SessionEntry.TOKEN,), "", "", has_root_password=False)
    model = view_login(form, cluster="demo", target="/ui/", problem="", texts=CHINESE)
    assert "root@sys 没有密码" in model.hint

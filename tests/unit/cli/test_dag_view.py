"""Progress from events: each line has its event's time, and only text of its own attempt."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from dagengine.cli.views.progress import DagView
from dagengine.cli.views.screen import Screen
from dagengine.client import StreamEvent
from tests.support.screens import NAMES, NOW, at, dag, node, sub_task

ERROR = "ERROR: [Fake.Broken]: repair it"


def view_of(logs: list[str]) -> DagView:
    task = {**sub_task("Look", NAMES[0], "FAILED", logs), "id": "1"}
    look = dag("RUNNING", [node("Look", "RUNNING", [task])])
    return DagView(look, from_start=False, screen=Screen(zone=UTC))


def event(kind: str, seconds_ago: float = 0.0, **data: Any) -> StreamEvent:
    return StreamEvent(seq=1, kind=kind, data={"id": "1", "time": at(seconds_ago), **data})


def entered(state: str, seconds_ago: float) -> StreamEvent:
    return event("sub_task", seconds_ago, state=state, operator="RUN", execute_times=2)


def test_dag_view_running_attempt_has_no_earlier_text() -> None:
    view = view_of([ERROR])
    line = view.apply(entered("RUNNING", 0), NOW)
    assert line is not None
    assert "Fake.Broken" not in line.text
    assert "Fake.Broken" not in view.lines(NOW)[0].text
    view.apply(event("line", log_content="looks"), NOW)
    assert view.lines(NOW)[0].text.endswith("looks")


def test_dag_view_history_has_times_of_events() -> None:
    view = view_of([])
    view.apply(entered("RUNNING", 7200), NOW)
    line = view.apply(entered("SUCCEED", 7190), NOW)
    assert line is not None
    assert line.text.startswith("10:00:10 [1/1] Look  ")
    assert "SUCCEED" in line.text
    assert line.text.endswith(" 10.00 s")

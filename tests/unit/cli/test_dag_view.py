"""Progress from events: each line has its event's time, and only text of its own attempt."""

from __future__ import annotations

from collections import UserList
from datetime import UTC
from typing import Any

import pytest

from dagengine.cli.views.progress import DagView, running_rows
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


def running_texts(width: int, room: int = 22) -> list[str]:
    name, logs = "Wait for observers to become healthy", ["waits for SQL on its port 2881"]
    tasks = [{**sub_task(name, server, "RUNNING", logs), "id": server} for server in NAMES]
    wait = dag("RUNNING", [node(name, "RUNNING", tasks)])
    view = DagView(wait, from_start=False, screen=Screen(width, zone=UTC))
    return [row.plain for row in running_rows([e.text for e in view.lines(NOW)], width, room)]


@pytest.mark.parametrize("width", [60, 80, 140])
def test_running_rows_show_server_state_and_text(width: int) -> None:
    rows = running_texts(width)
    assert max(map(len, rows)) <= width
    words = " ".join(" ".join(rows).split())
    for server in NAMES:
        assert server in words
    assert words.count("RUNNING") == 3
    assert words.count("waits for SQL on its port 2881") == 3


def test_running_rows_beyond_room_are_counted() -> None:
    rows = running_texts(60, room=4)
    assert len(rows) <= 4
    assert NAMES[0] in " ".join(rows)
    assert rows[-1] == "… and 2 more"


def test_running_rows_examine_only_texts_with_room() -> None:
    class Texts(UserList[str]):
        def __getitem__(self, number: Any) -> Any:
            assert number < 22
            return f"server {number}"

    rows = running_rows(Texts([""] * 1000), 80, 22)
    assert [len(rows), rows[-1].plain] == [22, "… and 979 more"]

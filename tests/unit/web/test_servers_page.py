"""The view model of the page of servers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from dagengine import Operator, State
from dagengine.errors import Message
from dagengine.extension import Texts
from dagengine.translation import Translator
from tasks.cluster.observation import (
    AVAILABLE,
    NOT_CONNECTED,
    NOT_RUNNING,
    RESTRICTED,
    Observation,
    ServerActivity,
    TableRow,
)
from tasks.cluster.servers import Server
from tasks.planning.operations import ServerOperation
from tasks.web import server_state
from tasks.web.last_runs import LastRun
from tasks.web.messages_zh import TEMPLATES
from tasks.web.server_state import ServerFacts, decide_state
from tasks.web.servers import ServerRecord, read_release, view_servers

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TEXTS = Texts(Translator([{"zh": TEMPLATES}]))
UP = Observation(NOW, AVAILABLE, version="5.7.25-OceanBase seekdb-v1.4.0.0", pid=7, started_at=NOW)
STOPPED = LastRun("2127", "Stop OB", State.SUCCEED, Operator.RUN)
FAILED = LastRun("2128", "Start OB", State.FAILED, Operator.RUN, "Check servers", "ERROR: full")


async def unused(_call: object) -> Any:
    raise AssertionError


def operation(name: str, *, brings_up: bool = False) -> ServerOperation:
    title = Message(f"test.{name}", name.title())
    return ServerOperation(
        name, title, f"/ob/{name}", lambda _: BaseModel(), unused, unused, brings_up=brings_up
    )


START, STOP = operation("start", brings_up=True), operation("stop")


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (ServerFacts(), server_state.UNKNOWN),
        (ServerFacts(UP), server_state.UP),
        (ServerFacts(replace(UP, ob_state=NOT_RUNNING)), server_state.DOWN),
        (ServerFacts(replace(UP, ob_state=NOT_CONNECTED)), server_state.NO_SQL),
        (ServerFacts(replace(UP, ob_state=RESTRICTED)), server_state.NO_MAJORITY),
        (ServerFacts(replace(UP, is_known=False)), server_state.UNKNOWN),
        (ServerFacts(replace(UP, is_known=False, is_reachable=False)), server_state.UNREACHABLE),
        (ServerFacts(UP, activity=ServerActivity.STARTING), server_state.STARTING),
        (ServerFacts(UP, activity=ServerActivity.PROCESS_STOPPING), server_state.STOPPING),
        (ServerFacts(UP, activity=ServerActivity.SERVICE_STOPPING), server_state.STOPPING),
        (ServerFacts(UP, TableRow("ACTIVE", is_stopped=True)), server_state.OUT_OF_SERVICE),
        (ServerFacts(replace(UP, ob_state=NOT_RUNNING), last_run=STOPPED), server_state.STOPPED),
        (ServerFacts(replace(UP, ob_state=NOT_RUNNING), last_run=FAILED), server_state.DOWN),
        (
            ServerFacts(
                replace(UP, ob_state=NOT_RUNNING), last_run=replace(STOPPED, state=State.FAILED)
            ),
            server_state.DOWN,
        ),
    ],
)
def test_state_is_decided_from_all_facts(
    facts: ServerFacts, state: server_state.ServerWord
) -> None:
    assert decide_state(facts) is state


def test_each_state_has_its_own_symbol_and_word() -> None:
    states = [
        each for each in vars(server_state).values() if isinstance(each, server_state.ServerWord)
    ]
    assert len(states) == 10
    assert len({state.symbol for state in states}) >= 8
    assert len({state.word.template for state in states}) == 10


def test_page_groups_servers_by_zone(servers: tuple[Server, ...]) -> None:
    facts = [ServerFacts(UP), ServerFacts(replace(UP, ob_state=NOT_RUNNING)), ServerFacts(UP)]
    records = [ServerRecord(s, f, NOW) for s, f in zip(servers, facts, strict=True)]
    model = view_servers(records, [START, STOP], NOW + timedelta(seconds=75), TEXTS)
    assert (model.sentence, model.kind) == ("2 of 3 up; 10.0.0.2:2886 is down", "bad")
    assert [(zone.name, zone.summary, len(zone.rows)) for zone in model.zones] == [
        ("z1", "1 of 2 up", 2),
        ("z2", "1 of 1 up", 1),
    ]
    row = model.zones[1].rows[0]
    assert (row.number, row.pid, row.sql_port, row.version) == (3, "7", "2881", "1.4.0.0")
    assert (row.uptime, row.seen[0].text, row.problem) == ("1 min 15 s", "1 min ago", "")


def test_button_leads_to_plan_of_its_scope(servers: tuple[Server, ...]) -> None:
    records = [ServerRecord(servers[0], ServerFacts(replace(UP, ob_state=NOT_RUNNING)))]
    model = view_servers(records, [START, STOP], NOW, TEXTS)
    (zone,) = model.zones
    hrefs = [buttons[0].href for buttons in (model.buttons, zone.buttons, zone.rows[0].buttons)]
    assert hrefs == [
        "/ui/plan/start?scope=GLOBAL",
        "/ui/plan/start?scope=ZONE&target=z1",
        "/ui/plan/start?scope=SERVER&target=10.0.0.1%3A2886",
    ]
    assert [button.kind for button in zone.rows[0].buttons] == ["primary", "plain"]


def test_new_operation_gets_its_buttons(servers: tuple[Server, ...]) -> None:
    records = [ServerRecord(servers[0], ServerFacts(UP))]
    model = view_servers(records, [START, STOP, operation("restart")], NOW, TEXTS)
    last = model.zones[0].rows[0].buttons[-1]
    assert (last.text, last.href.partition("?")[0]) == ("Restart", "/ui/plan/restart")


@pytest.mark.parametrize("error", ["ERROR: full", "ERROR: [A.B]: full", "ERROR: [A.B]: {}: full"])
def test_failed_start_shows_cause_and_task(servers: tuple[Server, ...], error: str) -> None:
    down = replace(UP, ob_state=NOT_RUNNING, reason="the server does not run")
    run = replace(FAILED, error=error.format(servers[0].name))
    records = [ServerRecord(servers[0], ServerFacts(down, last_run=run))]
    row = view_servers(records, [], NOW, TEXTS).zones[0].rows[0]
    assert row.problem == "Start OB failed at Check servers: full"
    assert [link.href for link in row.problem_task] == ["/ui/task/2128"]


def test_stopped_server_names_the_task(servers: tuple[Server, ...]) -> None:
    down = replace(UP, ob_state=NOT_RUNNING, reason="the server does not run")
    records = [ServerRecord(servers[0], ServerFacts(down, last_run=STOPPED))]
    row = view_servers(records, [], NOW, TEXTS).zones[0].rows[0]
    assert [(link.text, link.href) for link in row.tasks] == [("by Stop OB", "/ui/task/2127")]
    assert row.problem == ""


def test_unknown_state_has_its_age_and_reason(servers: tuple[Server, ...]) -> None:
    lost = Observation(NOW, NOT_RUNNING, is_known=False, is_reachable=False, reason="no route")
    record = ServerRecord(servers[0], ServerFacts(lost), unknown_since=NOW - timedelta(minutes=3))
    row = view_servers([record], [], NOW, TEXTS).zones[0].rows[0]
    assert (row.since, row.problem, row.seen) == ("since 3 min ago", "no route", ())


def test_sentence_names_at_most_three_servers(servers: tuple[Server, ...]) -> None:
    records = [ServerRecord(servers[0], ServerFacts())] * 5
    assert view_servers(records, [], NOW, TEXTS).sentence.endswith("is unknown and 2 more")


def test_page_is_rendered_in_chinese(servers: tuple[Server, ...]) -> None:
    texts = replace(TEXTS, language="zh")
    model = view_servers([ServerRecord(servers[0], ServerFacts(UP))], [], NOW, texts)
    assert model.zones[0].rows[0].badge.word == TEMPLATES["tasks.web.up"]


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("5.7.25-OceanBase seekdb-v1.4.0.0", "1.4.0.0"),
        ("4.2.1.8_1080000-abc", "4.2.1.8_1080000"),
        ("", ""),
    ],
)
def test_release_is_that_of_the_server_program(version: str, release: str) -> None:
    assert read_release(version) == release

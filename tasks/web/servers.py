"""The page of the servers: zone by zone, with their states and the operations on them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from dagengine.extension import (
    Badge,
    Instant,
    PageCall,
    PageView,
    ServerCount,
    Texts,
    View,
    make_instant,
    render_duration,
    strip_prefix,
)
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.observation import cut_build
from tasks.cluster.scope import ScopeKind
from tasks.cluster.servers import Server
from tasks.monitoring.active_task import find_active_task
from tasks.planning.operations import ServerOperation
from tasks.web import messages
from tasks.web.last_runs import LastRun, read_last_runs
from tasks.web.server_state import STOPPED, ServerFacts, ServerWord, decide_state

TEMPLATE = "tasks.web/servers.html"


@dataclass(frozen=True, slots=True)
class Button:
    """A link that shows the plan of an operation.

    Attributes:
        text: its text.
        label: what it would do, and to which servers.
        href: the page of the plan.
        kind: class of the button: `primary` for the one to use next, else `plain`.
    """

    text: str
    label: str
    href: str
    kind: str


@dataclass(frozen=True, slots=True)
class TaskLink:
    """A link to a task."""

    text: str
    href: str


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One server.

    Attributes:
        number: its number in the cluster file, which metrics have.
        name: `ip:agent_port`.
        badge: its state.
        since: since when the state is unknown; empty if it is known.
        tasks: the task that explains the state; at most one.
        pid: process id; a dash for what is not known, also below.
        sql_port: port of SQL.
        uptime: time since the start of the process.
        version: of the server program.
        seen: when the state was last known; at most one.
        problem: the last error in one line; empty for none.
        problem_task: the task with that error; at most one.
        buttons: the operations on it.
    """

    number: int
    name: str
    badge: Badge
    since: str
    tasks: tuple[TaskLink, ...]
    pid: str
    sql_port: str
    uptime: str
    version: str
    seen: tuple[Instant, ...]
    problem: str
    problem_task: tuple[TaskLink, ...]
    buttons: tuple[Button, ...]


@dataclass(frozen=True, slots=True)
class ZoneGroup:
    """The servers of one zone."""

    name: str
    summary: str
    buttons: tuple[Button, ...]
    rows: tuple[ServerRow, ...]


@dataclass(frozen=True, slots=True)
class ServersModel:
    """The view model of the page.

    Attributes:
        sentence: how many servers are up, and which are not.
        kind: class of the sentence: `good` or `bad`.
        buttons: the operations on all servers.
        zones: the servers by zone.
    """

    sentence: str
    kind: str
    buttons: tuple[Button, ...]
    zones: tuple[ZoneGroup, ...]


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """A server, and what is known of it.

    Attributes:
        server: as in the cluster file.
        facts: its state and its tasks.
        seen_at: when its state was last known.
        unknown_since: since when its state is not known; None if it is known.
        task_id: generic id of the running task that works on it; empty for none.
        task_name: name of this task.
    """

    server: Server
    facts: ServerFacts
    seen_at: datetime | None = None
    unknown_since: datetime | None = None
    task_id: str = ""
    task_name: str = ""

    @property
    def state(self) -> ServerWord:
        """Return the state of the server."""
        return decide_state(self.facts)


def servers_view(cluster: ClusterFile, operations: Sequence[ServerOperation]) -> PageView:
    """Return the view of the page; it contacts no host."""

    async def show(call: PageCall) -> View:
        active = await find_active_task(call.engine)
        runs = await read_last_runs(call.engine)
        records = [
            ServerRecord(
                server,
                ServerFacts(
                    cluster.observation(server.name),
                    cluster.row(server),
                    active.of(server),
                    runs.get(server.name),
                ),
                cluster.seen_at(server.name),
                cluster.unknown_since(server.name),
                active.task_id if active.of(server) else "",
                active.name,
            )
            for server in cluster.servers
        ]
        model = view_servers(records, operations, call.now, call.texts)
        return View(TEMPLATE, model, is_active=True)

    return show


def count_servers(cluster: ClusterFile) -> ServerCount:
    """Return how many servers are up, for the header of every page."""
    up, seen = 0, []
    for server in cluster.servers:
        observation = cluster.observation(server.name)
        up += decide_state(ServerFacts(observation, cluster.row(server))).is_up
        seen.append(cluster.seen_at(server.name))
    known = [at for at in seen if at is not None]
    return ServerCount(up, len(seen), min(known, default=None))


def view_servers(
    records: Sequence[ServerRecord],
    operations: Sequence[ServerOperation],
    now: datetime,
    texts: Texts,
) -> ServersModel:
    """Return the view model of the page."""
    by_zone: dict[str, list[tuple[int, ServerRecord]]] = {}
    for number, record in enumerate(records, 1):
        by_zone.setdefault(record.server.zone, []).append((number, record))
    zones = tuple(
        ZoneGroup(
            zone,
            _summarize([record for _, record in numbered], texts),
            _buttons(operations, ScopeKind.ZONE, zone, [record for _, record in numbered], texts),
            tuple(_view_row(number, record, operations, now, texts) for number, record in numbered),
        )
        for zone, numbered in by_zone.items()
    )
    others = [record for record in records if not record.state.is_up]
    sentence = _summarize(records, texts)
    if others:
        names = ", ".join(
            texts(messages.SERVER_IS(server=r.server.name, state=texts(r.state.word())))
            for r in others[:_NAMED]
        )
        if len(others) > _NAMED:
            names = texts(messages.AND_MORE(names=names, count=len(others) - _NAMED))
        sentence = texts(messages.SENTENCE(summary=sentence, names=names))
    buttons = _buttons(operations, ScopeKind.GLOBAL, "", records, texts)
    return ServersModel(sentence, _worst_kind(records), buttons, zones)


_NAMED = 3  # servers in the sentence
_RELEASE = re.compile(r"-v(\d+(?:\.\d+)+)")


def plan_href(operation: str, kind: ScopeKind, targets: Sequence[str], **more: str) -> str:
    """Return the path of the page with the plan of an operation."""
    pairs = [("scope", str(kind)), *(("target", target) for target in targets), *more.items()]
    return f"/ui/plan/{operation}?{urlencode(pairs)}"


def _worst_kind(records: Sequence[ServerRecord]) -> str:
    kinds = {record.state.kind for record in records}
    return next((kind for kind in ("bad", "waiting", "busy", "neutral") if kind in kinds), "good")


def _summarize(records: Sequence[ServerRecord], texts: Texts) -> str:
    up = sum(record.state.is_up for record in records)
    return texts(messages.UP_OF(up=up, total=len(records)))


def _buttons(
    operations: Sequence[ServerOperation],
    kind: ScopeKind,
    target: str,
    records: Sequence[ServerRecord],
    texts: Texts,
) -> tuple[Button, ...]:
    subject = target or texts(messages.ALL_SERVERS())
    has_down = any(record.state.needs_start for record in records)
    return tuple(
        Button(
            texts(operation.title()),
            texts(messages.OPERATION_ON(operation=texts(operation.title()), subject=subject)),
            plan_href(operation.name, kind, (target,) if target else ()),
            "primary" if has_down and operation.brings_up else "plain",
        )
        for operation in operations
    )


def _view_row(
    number: int,
    record: ServerRecord,
    operations: Sequence[ServerOperation],
    now: datetime,
    texts: Texts,
) -> ServerRow:
    server, facts, state = record.server, record.facts, record.state
    observation, run, unknown = facts.observation, facts.last_run, texts(messages.NOT_KNOWN())
    started_at = observation.started_at if observation is not None else None
    uptime: timedelta | None = now - started_at if started_at is not None else None
    since = record.unknown_since
    problem, problem_task = _find_problem(record, texts)
    explains = state.names_task and (record.task_id or run)
    return ServerRow(
        number=number,
        name=server.name,
        badge=state.badge(texts),
        since=""
        if since is None
        else texts(messages.SINCE(at=make_instant(since, now, texts).text)),
        tasks=(_task_link(record, texts),) if explains else (),
        pid=str(observation.pid) if observation is not None and observation.pid else unknown,
        sql_port=str(server.sql_port),
        uptime=unknown if uptime is None else render_duration(uptime, texts),
        version=_read_version(facts) or unknown,
        seen=() if record.seen_at is None else (make_instant(record.seen_at, now, texts),),
        problem=problem,
        problem_task=problem_task,
        buttons=_buttons(operations, ScopeKind.SERVER, server.name, [record], texts),
    )


def _read_version(facts: ServerFacts) -> str:
    if facts.row is not None and facts.row.build_version:
        return read_release(facts.row.build_version)
    return read_release(facts.observation.version) if facts.observation is not None else ""


def read_release(version: str) -> str:
    """Return the release of the server program in a version that it has reported.

    `SELECT version()` begins with the version of MySQL: `5.7.25-OceanBase seekdb-v1.4.0.0`.
    """
    release = _RELEASE.search(version)
    return release[1] if release is not None else cut_build(version)


def _task_link(record: ServerRecord, texts: Texts) -> TaskLink:
    run = record.facts.last_run
    if record.task_id or run is None:
        task_id, name = record.task_id, record.task_name
    else:
        task_id, name = run.task_id, run.name
    return TaskLink(texts(messages.BY_TASK(name=name)), f"/ui/task/{task_id}")


def _find_problem(record: ServerRecord, texts: Texts) -> tuple[str, tuple[TaskLink, ...]]:
    """Return the last error of a server, and the task with this error."""
    run, observation = record.facts.last_run, record.facts.observation
    if record.state.is_up or record.state is STOPPED or record.task_id:
        return "", ()
    if run is not None and run.error:
        return _render_failure(record.server, run, texts), (
            TaskLink(texts(messages.SHOW_TASK(name=run.name)), f"/ui/task/{run.task_id}"),
        )
    return (texts(observation.reason), ()) if observation is not None else ("", ())


def _render_failure(server: Server, run: LastRun, texts: Texts) -> str:
    error = strip_prefix(run.error, server.name)
    return texts(messages.FAILED_AT(name=run.name, stage=run.stage, error=error))

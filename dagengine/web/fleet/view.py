"""The view model of the fleet page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dagengine.api.fleet.bulk import BulkResult
from dagengine.api.fleet.schemas import ClusterDto
from dagengine.api.fleet.view import ClusterCondition, ControllerState, FleetController
from dagengine.api.schemas.tasks import DagDetailDto
from dagengine.messages import Message
from dagengine.model.states import Operator, State
from dagengine.web import messages
from dagengine.web.texts import Texts
from dagengine.web.times import Instant, make_instant
from dagengine.web.views.badges import Badge, badge_of_state

_NAMED = 3  # clusters in the sentence
_AVAILABLE = 3  # state of a cluster (protocol 2.1)
_OB_STATES: Mapping[int, tuple[str, str, Message]] = {
    0: ("bad", "✗", messages.NOT_RUNNING),
    1: ("waiting", "◔", messages.NOT_CONNECTED),
    2: ("waiting", "◑", messages.RESTRICTED),
    _AVAILABLE: ("good", "✓", messages.AVAILABLE),
}
_CONDITIONS: Mapping[str, tuple[str, str, Message]] = {
    ClusterCondition.REFUSED: ("bad", "⚠", messages.REFUSED),
    ClusterCondition.NOT_CONFIGURED: ("neutral", "○", messages.NOT_CONFIGURED),
    ClusterCondition.SERVED: ("waiting", "?", messages.NOT_SUMMARIZED),
}
_CONTROLLER_STATES: Mapping[ControllerState, tuple[str, str, Message]] = {
    ControllerState.LIVE: ("good", "✓", messages.CONTROLLER_LIVE),
    ControllerState.DEAD: ("bad", "✗", messages.CONTROLLER_DEAD),
    ControllerState.LEFT: ("neutral", "○", messages.CONTROLLER_LEFT),
}


@dataclass(frozen=True, slots=True)
class FleetRecords:
    """What the page shows.

    Attributes:
        clusters: the clusters that the caller may use.
        controllers: all controllers.
        results: what a bulk start did in each cluster; empty before one.
        key: idempotency key for the form.
        reason: the reason that the form had; empty at first.
        selected: the clusters that were selected.
        is_waiting: some clusters have not accepted yet.
        now: the instant of the page.
    """

    clusters: Sequence[ClusterDto]
    controllers: Sequence[FleetController]
    results: Sequence[BulkResult]
    key: str
    reason: str
    selected: frozenset[str]
    is_waiting: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """A link to a task."""

    badge: Badge
    name: str
    href: str
    start: Instant


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """A cluster. Texts that are not known are `-`; `checked` is the attribute of its check box."""

    name: str
    href: str
    badge: Badge
    problem: str
    servers: str
    counts: str
    lock: str
    owner: str
    last: tuple[TaskEntry, ...]
    is_served: bool
    field_id: str
    checked: str


@dataclass(frozen=True, slots=True)
class ControllerRow:
    """A controller."""

    name: str
    badge: Badge
    version: str
    started: Instant
    seen: Instant
    clusters: str


@dataclass(frozen=True, slots=True)
class ResultRow:
    """What a bulk start did in one cluster; `problem` is empty if it was accepted."""

    cluster: str
    badge: Badge
    text: str
    href: str
    problem: str


@dataclass(frozen=True, slots=True)
class FleetModel:
    """The view model of the fleet page.

    Attributes:
        sentence: one sentence about all clusters.
        kind: its class.
        clusters: the clusters.
        controllers: the controllers.
        results: what a bulk start did in each cluster; empty before one.
        waits: that some clusters have not accepted yet; empty if all have.
        start_kind: class of the button that starts the selected clusters: `primary` if one of them
            is not available, else `plain`.
        key: idempotency key for the form.
        reason: the reason that the form had; empty at first.
        is_refreshed: whether the page is read again from time to time.
        refresh: the event that reads it again.
    """

    sentence: str
    kind: str
    clusters: tuple[ClusterRow, ...]
    controllers: tuple[ControllerRow, ...]
    results: tuple[ResultRow, ...]
    waits: str
    start_kind: str
    key: str
    reason: str
    is_refreshed: bool
    refresh: str


def view_fleet(records: FleetRecords, texts: Texts) -> FleetModel:
    """Return the view model of the page."""
    owners = {each.controller_id: each.name for each in records.controllers}
    rows = tuple(_view_cluster(each, owners, records, texts) for each in records.clusters)
    others = [row for row in rows if row.badge.kind != "good"]
    urls = {each["name"]: each["url"] for each in records.clusters}
    return FleetModel(
        sentence=_summarize(rows, others, texts),
        kind=next((row.badge.kind for row in others if row.badge.kind == "bad"), "neutral"),
        clusters=rows,
        controllers=tuple(
            _view_controller(each, urls, records.now, texts) for each in records.controllers
        ),
        results=tuple(_view_result(each, urls, texts) for each in records.results),
        waits=texts(messages.START_WAITS()) if records.is_waiting else "",
        start_kind="primary" if any(row.is_served for row in others) else "plain",
        key=records.key,
        reason=records.reason,
        # Results would disappear with the next refresh.
        is_refreshed=len(records.results) == 0,
        refresh="dagengine:never" if records.results else "dagengine:refresh",
    )


def _summarize(rows: Sequence[ClusterRow], others: Sequence[ClusterRow], texts: Texts) -> str:
    available = len(rows) - len(others)
    sentence = texts(messages.FLEET_SENTENCE(available=available, total=len(rows)))
    if not others:
        return sentence
    names = ", ".join(
        texts(messages.CLUSTER_IS(cluster=row.name, state=row.badge.word))
        for row in others[:_NAMED]
    )
    if len(others) > _NAMED:
        names = texts(messages.AND_MORE(listed=names, count=len(others) - _NAMED))
    return texts(messages.FLEET_OTHERS(summary=sentence, names=names))


def _view_cluster(
    cluster: ClusterDto, owners: Mapping[int, str], records: FleetRecords, texts: Texts
) -> ClusterRow:
    state = cluster["ob_state"]
    kind, symbol, word = _CONDITIONS[cluster["condition"]] if state is None else _OB_STATES[state]
    running, failed = cluster["running"], cluster["failed"]
    unknown, owner, servers = "-", cluster["owner"], cluster["servers"]
    last, name = cluster["last"], cluster["name"]
    counts = (
        unknown
        if running is None or failed is None
        else texts(messages.COUNTS(running=running, failed=failed))
    )
    return ClusterRow(
        name=name,
        href=_page_of(cluster["url"]),
        badge=Badge(kind, symbol, texts(word())),
        problem="; ".join(
            filter(None, (texts(cluster["reason"]), *map(texts, cluster["notices"])))
        ),
        servers=unknown if servers is None else str(servers),
        counts=counts,
        lock=texts(cluster["lock"] or messages.FREE()) if cluster["lock"] is not None else unknown,
        owner=texts(messages.NO_OWNER()) if owner is None else owners.get(owner, str(owner)),
        last=() if last is None else (_view_task(cluster["url"], last, records.now, texts),),
        is_served=cluster["condition"] == "served",
        field_id=f"cluster-{name}",
        checked="checked" if name in records.selected else "",
    )


def _view_task(url: str, dag: DagDetailDto, now: datetime, texts: Texts) -> TaskEntry:
    badge = badge_of_state(State(dag["state"]), Operator(dag["operator"]), texts)
    start = make_instant(datetime.fromisoformat(dag["start_time"]), now, texts)
    return TaskEntry(badge, dag["name"], _page_of(url, f"task/{dag['id']}"), start)


def _view_controller(
    controller: FleetController, urls: Mapping[str, str], now: datetime, texts: Texts
) -> ControllerRow:
    kind, symbol, word = _CONTROLLER_STATES[controller.state]
    visible = [name for name in controller.clusters if name in urls]
    return ControllerRow(
        name=controller.name,
        badge=Badge(kind, symbol, texts(word())),
        version=controller.version,
        started=make_instant(controller.started_at, now, texts),
        seen=make_instant(controller.seen_at, now, texts),
        clusters=", ".join(visible) or "-",
    )


def _view_result(result: BulkResult, urls: Mapping[str, str], texts: Texts) -> ResultRow:
    if result.dag is None:
        problem = "" if result.error is None else texts.describe(result.error)
        badge = Badge("bad", "✗", texts(messages.REFUSED()))
        return ResultRow(result.cluster, badge, "", "", problem)
    text = texts(messages.ACCEPTED_AS(name=result.dag["name"]))
    href = _page_of(urls.get(result.cluster, ""), f"task/{result.dag['id']}")
    badge = Badge("good", "✓", texts(messages.ACCEPTED()))
    return ResultRow(result.cluster, badge, text, href, "")


def _page_of(url: str, path: str = "") -> str:
    return f"{url}/ui/{path}" if url else ""

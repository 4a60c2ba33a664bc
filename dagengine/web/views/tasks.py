"""The list of DAGs, and the grid of runs and servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from dagengine.engine.engine import Engine
from dagengine.model.records import AuditRecord, DagRecord
from dagengine.model.states import State
from dagengine.store.contract import DagRows
from dagengine.web import messages
from dagengine.web.page import PageCall, View
from dagengine.web.texts import Texts
from dagengine.web.times import Instant, make_instant, render_duration
from dagengine.web.views.badges import Badge, badge_of_state
from dagengine.web.views.run_grid import RunGrid, choose_runs, view_run_grid
from dagengine.web.views.summary import count_done

_PAGE = 25
_STATES = (State.RUNNING, State.READY, State.FAILED, State.SUCCEED)
_PERIODS: Mapping[str, timedelta] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """An option of a field."""

    value: str
    text: str
    selected: str


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One DAG in the list."""

    href: str
    name: str
    badge: Badge
    caller: str
    reason: str
    scope: str
    start: Instant
    duration: str
    servers: str


@dataclass(frozen=True, slots=True)
class TasksModel:
    """The view model of the list.

    Attributes:
        states: the choices of the filter by state.
        periods: the choices of the filter by time.
        name: value of the filter by name.
        rows: the DAGs, newest first.
        empty: sentence in place of rows; empty if there are rows.
        next_href: the next page; empty on the last one.
        first_href: the first page; empty on it.
        grid: runs and servers, as a list of at most one.
    """

    states: tuple[Choice, ...]
    periods: tuple[Choice, ...]
    name: str
    rows: tuple[TaskRow, ...]
    empty: str
    next_href: str
    first_href: str
    grid: tuple[RunGrid, ...]


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """The filters of the list; None for no filter.

    Attributes:
        state: the state.
        name: the operation's name.
        period: a key of the periods; empty for any time.
        before: the DAG before which the page begins.
    """

    state: State | None
    name: str | None
    period: str
    before: int | None

    def since(self, now: datetime) -> datetime:
        """Return the earliest start of a DAG."""
        period = _PERIODS.get(self.period)
        return datetime.min.replace(tzinfo=UTC) if period is None else now - period


@dataclass(frozen=True, slots=True)
class ListedDag:
    """The records behind a row of the list."""

    dag: DagRecord
    dag_id: str
    started: AuditRecord | None
    rows: DagRows | None


async def show_tasks(call: PageCall) -> View:
    """Show the DAGs, newest first."""
    chosen = parse_filter(call.query)
    dags, has_more = await _search(call.engine, chosen, call.now)
    with_rows = choose_runs(dags)
    listed = [await _read_listed(call.engine, dag, dag.dag_id in with_rows) for dag in dags]
    model = view_tasks(listed, chosen, has_more=has_more, now=call.now, texts=call.texts)
    return View("tasks.html", model)


def parse_filter(query: Mapping[str, str]) -> TaskFilter:
    """Return the filters in the URL; values that are unknown do not filter."""
    states = {str(state): state for state in _STATES}
    before = query.get("before", "")
    is_number = before.isascii() and before.isdecimal() and len(before) < 19
    return TaskFilter(
        states.get(query.get("state", "")),
        query.get("name", "").strip() or None,
        query.get("period", "") if query.get("period", "") in _PERIODS else "",
        int(before) if is_number else None,
    )


async def _search(
    engine: Engine, chosen: TaskFilter, now: datetime
) -> tuple[list[DagRecord], bool]:
    """Return one page, and whether another one follows."""
    details = await engine.search_dags(
        before=chosen.before, state=chosen.state, name=chosen.name, limit=_PAGE + 1
    )
    since = chosen.since(now)
    dags = [detail.dag for detail in details if detail.dag.created_at >= since]
    return dags[:_PAGE], len(dags) > _PAGE


async def _read_listed(engine: Engine, dag: DagRecord, has_rows: bool) -> ListedDag:
    audit = await engine.list_audit(dag.dag_id)
    rows = await engine.find_rows(dag.dag_id) if has_rows else None
    return ListedDag(dag, engine.generic_id(dag.dag_id), audit[-1] if audit else None, rows)


def view_tasks(
    listed: Sequence[ListedDag],
    chosen: TaskFilter,
    *,
    has_more: bool,
    now: datetime,
    texts: Texts,
) -> TasksModel:
    """Return the view model of the list."""
    filters = {
        "state": chosen.state or "",
        "name": chosen.name or "",
        "period": chosen.period,
    }
    is_filtered = any(filters.values()) or chosen.before is not None
    next_page = {**filters, "before": str(listed[-1].dag.dag_id)} if has_more else {}
    runs = [item for item in listed if item.rows is not None]
    grid = view_run_grid([(item.dag_id, item.rows) for item in runs if item.rows], now, texts)
    empty = messages.NO_TASKS_FOUND() if is_filtered else messages.NO_TASKS()
    return TasksModel(
        states=_view_states(chosen, texts),
        periods=_view_periods(chosen, texts),
        name=chosen.name or "",
        rows=tuple(_view_row(item, now, texts) for item in listed),
        empty="" if listed else texts(empty),
        next_href=_href(next_page) if has_more else "",
        first_href=_href(filters) if chosen.before is not None else "",
        grid=() if grid is None else (grid,),
    )


def _href(values: Mapping[str, str]) -> str:
    return "?" + urlencode({name: value for name, value in values.items() if value})


def _view_states(chosen: TaskFilter, texts: Texts) -> tuple[Choice, ...]:
    words = {
        State.RUNNING: messages.RUNNING,
        State.READY: messages.ACCEPTED,
        State.FAILED: messages.FAILED,
        State.SUCCEED: messages.SUCCEEDED,
    }
    options = [("", texts(messages.ANY_STATE()))]
    options += [(str(state), texts(words[state]())) for state in _STATES]
    return mark_choice(options, chosen.state or "")


def _view_periods(chosen: TaskFilter, texts: Texts) -> tuple[Choice, ...]:
    options = [
        ("", messages.ANY_TIME()),
        ("1h", messages.LAST_HOUR()),
        ("24h", messages.LAST_DAY()),
        ("7d", messages.LAST_WEEK()),
    ]
    return mark_choice([(value, texts(text)) for value, text in options], chosen.period)


def mark_choice(options: Sequence[tuple[str, str]], selected: str) -> tuple[Choice, ...]:
    """Return the options of a field, given as value and text."""
    return tuple(
        Choice(value, text, "selected" if value == selected else "") for value, text in options
    )


def _view_row(item: ListedDag, now: datetime, texts: Texts) -> TaskRow:
    dag, started = item.dag, item.started
    end_at = dag.end_at if dag.state.is_final else now
    total = len(dag.targets)
    done = "" if item.rows is None else str(count_done(item.rows))
    return TaskRow(
        href=f"/ui/task/{item.dag_id}",
        name=texts(dag.name),
        badge=badge_of_state(dag.state, dag.operator, texts),
        caller=started.by if started else "",
        reason=started.reason if started else "",
        scope=_describe_scope(dag.targets, texts),
        start=make_instant(dag.start_at, now, texts),
        duration=render_duration(end_at - dag.start_at, texts),
        servers=texts(messages.N_OF_M(done=done, total=total)) if done else str(total),
    )


def _describe_scope(targets: Sequence[str], texts: Texts) -> str:
    if not targets:
        return texts(messages.WHOLE_CLUSTER())
    if len(targets) <= 3:
        return ", ".join(targets)
    return texts(messages.AND_MORE(listed=", ".join(targets[:2]), count=len(targets) - 2))

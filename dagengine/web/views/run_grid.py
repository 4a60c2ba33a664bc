"""The grid of runs (columns) and servers (rows) with the worst stage per cell. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from dagengine.model.records import DagRecord, SubTaskRecord
from dagengine.model.states import State
from dagengine.store.contract import DagRows
from dagengine.web import messages
from dagengine.web.texts import Texts
from dagengine.web.times import make_instant
from dagengine.web.views.badges import Badge, badge_of_state
from dagengine.web.views.timeline import find_worst

_MAX_RUNS = 10
_MAX_SUB_TASKS = 12_000  # that are read for one page
_STAGES = 6  # of a usual DAG, to estimate the number of its sub-tasks
_MAX_SERVERS = 200


@dataclass(frozen=True, slots=True)
class RunColumn:
    """The heading of a run."""

    href: str
    name: str
    start: str


@dataclass(frozen=True, slots=True)
class RunCell:
    """One server in one run.

    Attributes:
        kind: name of its class in the style sheet.
        symbol: the worst state; empty if the run did not include the server.
        label: the worst state and its stage in words.
    """

    kind: str
    symbol: str
    label: str


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One server in all runs."""

    server: str
    cells: tuple[RunCell, ...]


@dataclass(frozen=True, slots=True)
class RunGrid:
    """The view model of the grid."""

    runs: tuple[RunColumn, ...]
    servers: tuple[ServerRow, ...]
    omitted: str


def choose_runs(dags: Iterable[DagRecord]) -> set[int]:
    """Return the DAGs, of a list with the newest first, whose sub-tasks are read.

    The list shows how many servers of each are done, the grid the newest ones.
    """
    chosen: set[int] = set()
    room = _MAX_SUB_TASKS
    for dag in dags:
        room -= _STAGES * max(1, len(dag.targets))
        if room < 0:
            break
        chosen.add(dag.dag_id)
    return chosen


def view_run_grid(
    runs: Sequence[tuple[str, DagRows]], now: datetime, texts: Texts
) -> RunGrid | None:
    """Return the grid of runs, newest first; None without any server.

    Args:
        runs: generic id and rows of each run; the grid has the first ones.
        now: the instant of the page.
        texts: the language.
    """
    with_servers = [(dag_id, rows) for dag_id, rows in runs if rows.dag.targets][:_MAX_RUNS]
    servers = sorted({target for _, rows in with_servers for target in rows.dag.targets})
    if not servers:
        return None
    columns = [_view_cells(rows, texts) for _, rows in with_servers]
    absent = RunCell("absent", "", texts(messages.NOT_IN_RUN()))
    omitted = len(servers) - _MAX_SERVERS
    return RunGrid(
        tuple(
            RunColumn(
                f"/ui/task/{dag_id}",
                texts(rows.dag.name),
                make_instant(rows.dag.start_at, now, texts).text,
            )
            for dag_id, rows in with_servers
        ),
        tuple(
            ServerRow(server, tuple(cells.get(server, absent) for cells in columns))
            for server in servers[:_MAX_SERVERS]
        ),
        texts(messages.LANES_OMITTED(count=omitted)) if omitted > 0 else "",
    )


def _view_cells(rows: DagRows, texts: Texts) -> dict[str, RunCell]:
    names = {node.stage: texts(node.name) for node in rows.nodes}
    by_target: dict[str, list[SubTaskRecord]] = defaultdict(list)
    for task in rows.sub_tasks:
        if task.target is not None:
            by_target[task.target].append(task)
    return {target: _view_cell(tasks, names, texts) for target, tasks in by_target.items()}


def _view_cell(tasks: Sequence[SubTaskRecord], names: dict[int, str], texts: Texts) -> RunCell:
    worst = find_worst(tasks)
    badge: Badge = badge_of_state(worst.state, worst.operator, texts)
    if worst.state is State.SUCCEED:
        return RunCell(badge.kind, badge.symbol, badge.word)
    label = texts(messages.STATE_AT_STAGE(state=badge.word, stage=names[worst.stage]))
    return RunCell(badge.kind, badge.symbol, label)

"""The timeline of a DAG: stages as columns, servers as lanes, one bar per attempt. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dagengine.model.records import AttemptRecord, NodeRecord, SubTaskRecord
from dagengine.model.states import State
from dagengine.store.contract import DagRows
from dagengine.web import messages
from dagengine.web.texts import Texts
from dagengine.web.times import render_duration
from dagengine.web.views.badges import Badge, badge_of_outcome, badge_of_state

COLUMN_PX = 150
"""Width of a stage; the style sheet has the same."""
MIN_BAR_PX = 5
_MARGIN_PX = 6
_BAR_PX = 12
_STEP_PX = 16
MAX_LANES = 1000


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt.

    Attributes:
        href: selects the attempt.
        label: server, stage, attempt, outcome and duration in words.
        kind: name of its class in the style sheet.
        current: value of `aria-current`: `true` for the selected attempt, or `false`.
        x: left edge, in pixels from the left edge of the first stage.
        y: upper edge, in pixels.
        width: width in pixels.
    """

    href: str
    label: str
    kind: str
    current: str
    x: str
    y: int
    width: str


@dataclass(frozen=True, slots=True)
class Lane:
    """The attempts on one server, or those for the whole cluster.

    Attributes:
        name: the server.
        badge: the worst state of its sub-tasks.
        height: height in pixels.
        bars: its attempts.
    """

    name: str
    badge: Badge
    height: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class StageColumn:
    """The heading of a stage."""

    number: int
    name: str
    badge: Badge
    duration: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The view model of the timeline.

    Attributes:
        stages: the columns.
        lanes: the rows.
        width: width of all columns in pixels.
        bar_height: height of a bar in pixels.
        lines: the x positions of the lines between the stages.
        omitted: sentence about servers that are not shown; empty if all are.
    """

    stages: tuple[StageColumn, ...]
    lanes: tuple[Lane, ...]
    width: int
    bar_height: int
    lines: tuple[int, ...]
    omitted: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected attempt.

    Attributes:
        sub_task_id: its sub-task; 0 if nothing is selected.
        attempt_no: its number.
    """

    sub_task_id: int
    attempt_no: int


@dataclass(frozen=True, slots=True)
class TimelineRecords:
    """The records behind a timeline.

    Attributes:
        rows: the rows of the DAG.
        attempts: all attempts of the DAG, by sub-task, oldest first.
        waiting: the sub-tasks that wait for something else.
        now: the instant of the page.
    """

    rows: DagRows
    attempts: Sequence[AttemptRecord]
    waiting: Collection[int]
    now: datetime


@dataclass(frozen=True, slots=True)
class _Window:
    """The time that a column shows."""

    first_at: datetime
    last_at: datetime

    def locate(self, start_at: datetime, end_at: datetime) -> tuple[float, float]:
        """Return left edge and width of a bar, in pixels within the column."""
        room = COLUMN_PX - 2 * _MARGIN_PX
        whole = self.last_at - self.first_at
        if not whole:
            return _MARGIN_PX, MIN_BAR_PX
        width = max(MIN_BAR_PX, room * ((end_at - start_at) / whole))
        left = room * ((start_at - self.first_at) / whole)
        return _MARGIN_PX + min(left, room - width), width


def view_timeline(records: TimelineRecords, selection: Selection, texts: Texts) -> Timeline:
    """Return the timeline of a DAG."""
    rows = records.rows
    windows = _find_windows(records)
    attempts = _group_by_sub_task(records.attempts)
    lanes = _group_by_lane(rows)
    targets = list(lanes)[:MAX_LANES]
    omitted = len(lanes) - len(targets)
    width = COLUMN_PX * len(rows.nodes)
    drawing = _Drawing(records, selection, windows, attempts, texts)
    return Timeline(
        stages=tuple(_view_stage(node, windows, texts) for node in rows.nodes),
        lanes=tuple(drawing.view_lane(target, lanes[target]) for target in targets),
        width=width,
        bar_height=_BAR_PX,
        lines=tuple(range(COLUMN_PX, width, COLUMN_PX)),
        omitted=texts(messages.LANES_OMITTED(count=omitted)) if omitted else "",
    )


def _find_windows(records: TimelineRecords) -> dict[int, _Window]:
    stage_of = {task.sub_task_id: task.stage for task in records.rows.sub_tasks}
    windows: dict[int, _Window] = {}
    for attempt in records.attempts:
        stage = stage_of.get(attempt.sub_task_id)
        if stage is None:
            continue  # the sub-task was read before its attempt began
        end_at = _end_of(attempt, records.now)
        window = windows.get(stage)
        windows[stage] = _Window(
            attempt.start_at if window is None else min(window.first_at, attempt.start_at),
            end_at if window is None else max(window.last_at, end_at),
        )
    return windows


def _end_of(attempt: AttemptRecord, now: datetime) -> datetime:
    return max(now, attempt.start_at) if attempt.outcome is None else attempt.end_at


def _group_by_sub_task(attempts: Sequence[AttemptRecord]) -> dict[int, list[AttemptRecord]]:
    groups: dict[int, list[AttemptRecord]] = defaultdict(list)
    for attempt in attempts:
        groups[attempt.sub_task_id].append(attempt)
    return groups


def _group_by_lane(rows: DagRows) -> dict[str | None, list[SubTaskRecord]]:
    """Return the sub-tasks by target, first those for the whole cluster."""
    lanes: dict[str | None, list[SubTaskRecord]] = {None: [], **{t: [] for t in rows.dag.targets}}
    for task in rows.sub_tasks:
        lanes.setdefault(task.target, []).append(task)
    return {target: tasks for target, tasks in lanes.items() if tasks}


def _view_stage(node: NodeRecord, windows: dict[int, _Window], texts: Texts) -> StageColumn:
    window = windows.get(node.stage)
    duration = timedelta() if window is None else window.last_at - window.first_at
    return StageColumn(
        node.stage,
        texts(node.name),
        badge_of_state(node.state, node.operator, texts),
        "" if window is None else render_duration(duration, texts),
    )


@dataclass(frozen=True, slots=True)
class _Drawing:
    """The inputs that all lanes share."""

    records: TimelineRecords
    selection: Selection
    windows: dict[int, _Window]
    attempts: dict[int, list[AttemptRecord]]
    texts: Texts

    def view_lane(self, target: str | None, tasks: Sequence[SubTaskRecord]) -> Lane:
        """Return the lane of a target; None is the whole cluster."""
        name = self.texts(messages.WHOLE_CLUSTER()) if target is None else target
        names = {node.stage: self.texts(node.name) for node in self.records.rows.nodes}
        bars = [bar for task in tasks for bar in self._view_bars(name, names[task.stage], task)]
        rows = max((len(self.attempts.get(task.sub_task_id, ())) for task in tasks), default=0)
        worst = find_worst(tasks)
        return Lane(
            name,
            badge_of_state(worst.state, worst.operator, self.texts),
            _STEP_PX * max(1, rows) + 4,
            tuple(bars),
        )

    def _view_bars(self, lane: str, stage: str, task: SubTaskRecord) -> list[Bar]:
        window = self.windows.get(task.stage)
        if window is None:
            return []
        return [
            self._view_bar(lane, stage, task, attempt, window, row)
            for row, attempt in enumerate(self.attempts.get(task.sub_task_id, ()))
        ]

    def _view_bar(
        self,
        lane: str,
        stage: str,
        task: SubTaskRecord,
        attempt: AttemptRecord,
        window: _Window,
        row: int,
    ) -> Bar:
        end_at = _end_of(attempt, self.records.now)
        x, width = window.locate(attempt.start_at, end_at)
        is_waiting = task.sub_task_id in self.records.waiting
        badge = badge_of_outcome(attempt.outcome, is_waiting=is_waiting, texts=self.texts)
        label = messages.BAR(
            server=lane,
            stage=stage,
            number=attempt.attempt_no,
            outcome=badge.word,
            duration=render_duration(end_at - attempt.start_at, self.texts),
        )
        place = Selection(task.sub_task_id, attempt.attempt_no)
        return Bar(
            href=f"?task={place.sub_task_id}&attempt={place.attempt_no}#pane",
            label=self.texts(label),
            kind=badge.kind,
            current="true" if place == self.selection else "false",
            x=_render_px((task.stage - 1) * COLUMN_PX + x),
            y=2 + row * _STEP_PX,
            width=_render_px(width),
        )


def _render_px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


_SEVERITY = (State.FAILED, State.RUNNING, State.PENDING, State.READY, State.SUCCEED)


def find_worst(tasks: Sequence[SubTaskRecord]) -> SubTaskRecord:
    """Return the sub-task with the worst state; of equal ones, that of the earliest stage."""
    return min(tasks, key=lambda task: (_SEVERITY.index(task.state), task.stage))

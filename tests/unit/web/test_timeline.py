"""The timeline: positions of bars, lanes and windows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dagengine.model.states import State
from dagengine.web.views.timeline import (
    COLUMN_PX,
    MIN_BAR_PX,
    Selection,
    Timeline,
    TimelineRecords,
    view_timeline,
)
from tests.support.dag_rows import CHINESE, ENGLISH, NOW, ONE, TWO, make_attempt, make_rows

STYLE = Path(__file__).parents[3] / "dagengine" / "web" / "static" / "style.css"
ATTEMPTS = (
    make_attempt(1, 1, "Succeeded", 0, 1),
    make_attempt(2, 1, "Succeeded", 1, 2),
    make_attempt(3, 1, "Failed", 1, 1.001, "it is broken"),
    make_attempt(3, 2, "Failed", 8, 9, "it is broken"),
    make_attempt(4, 1, "Succeeded", 2, 3),
)


def view(selection: Selection = Selection(0, 0)) -> Timeline:  # noqa: B008
    records = TimelineRecords(make_rows(), ATTEMPTS, set(), NOW)
    return view_timeline(records, selection, ENGLISH)


def test_timeline_has_stages_as_columns_and_servers_as_lanes() -> None:
    timeline = view()
    assert [stage.name for stage in timeline.stages] == ["Lock", "Check", "Start"]
    assert [lane.name for lane in timeline.lanes] == ["Whole cluster", ONE, TWO]
    assert timeline.width == 3 * COLUMN_PX
    assert [lane.badge.word for lane in timeline.lanes] == ["succeeded", "succeeded", "failed"]


def test_timeline_bars_stay_within_their_column() -> None:
    lane = view().lanes[2]
    first, second = lane.bars
    assert COLUMN_PX <= float(first.x) < float(second.x)
    assert float(second.x) + float(second.width) <= 2 * COLUMN_PX


def test_timeline_bars_have_proportional_real_times() -> None:
    # The stage lasted from 1 s to 9 s; this attempt took the first of its eight seconds.
    bar = view().lanes[1].bars[0]
    assert float(bar.width) == pytest.approx((COLUMN_PX - 12) / 8, abs=0.1)
    assert float(bar.x) == COLUMN_PX + 6


def test_timeline_shows_all_attempts_below_each_other() -> None:
    first, second = view().lanes[2].bars
    assert first.y < second.y
    assert view().lanes[2].height > view().lanes[1].height
    assert "attempt 1" in first.label
    assert "attempt 2" in second.label


def test_timeline_sub_second_bar_keeps_minimum_width() -> None:
    assert float(view().lanes[2].bars[0].width) == MIN_BAR_PX


def test_timeline_bar_label_has_everything_in_words() -> None:
    label = view().lanes[2].bars[1].label
    assert label == f"{TWO}, Check, attempt 2: failed, 1.0 s"


def test_timeline_selected_bar_is_marked() -> None:
    bars = [bar for lane in view(Selection(3, 1)).lanes for bar in lane.bars]
    assert [bar.current for bar in bars] == ["false", "false", "false", "true", "false"]
    assert "?task=3&attempt=1#pane" in [bar.href for bar in bars]


def test_timeline_running_attempt_ends_now_and_may_wait() -> None:
    rows = make_rows(State.RUNNING, states="SRRPP")
    attempts = (make_attempt(2, 1, None, 6, 6), make_attempt(3, 1, None, 2, 2))
    timeline = view_timeline(TimelineRecords(rows, attempts, {3}, NOW), Selection(0, 0), ENGLISH)
    (running,), (waiting,) = timeline.lanes[1].bars, timeline.lanes[2].bars
    assert (running.kind, waiting.kind) == ("busy", "waiting")
    assert float(waiting.width) == 2 * float(running.width) == COLUMN_PX - 12
    assert "4.0 s" in running.label


def test_timeline_in_chinese_has_chinese_labels() -> None:
    records = TimelineRecords(make_rows(), ATTEMPTS, set(), NOW)
    lane = view_timeline(records, Selection(0, 0), CHINESE).lanes[2]
    assert lane.bars[0].label == f"{TWO}，Check，第 1 次尝试：失败，1 毫秒"


def test_timeline_column_is_as_wide_as_in_style_sheet() -> None:
    match = re.search(r"--stage: (\d+)px", STYLE.read_text("utf-8"))
    assert match is not None
    assert int(match[1]) == COLUMN_PX

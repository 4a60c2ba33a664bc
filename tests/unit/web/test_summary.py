"""The sentence about a DAG, and durations in words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dagengine.model.states import Operator, State
from dagengine.web.times import render_age, render_duration
from dagengine.web.views.summary import describe_dag, strip_prefix
from tests.support.dag_rows import CHINESE, ENGLISH, NOW, TWO, make_attempt, make_rows

ATTEMPTS = (make_attempt(3, 1, "Failed", 1, 2, "ERROR: [SSH.Timeout]: the login timed out"),)


def test_sentence_of_failed_dag_names_server_stage_and_cause() -> None:
    sentence = describe_dag(make_rows(), ATTEMPTS, NOW, ENGLISH)
    assert sentence == (
        "Failed after 10 s; 1 of 2 servers have succeeded; "
        f"{TWO} failed at Check: the login timed out"
    )


def test_sentence_names_the_failed_server_once() -> None:
    attempts = [make_attempt(3, 1, "Failed", 1, 2, f"ERROR: [A.B]: {TWO}: the home is missing")]
    sentence = describe_dag(make_rows(), attempts, NOW, ENGLISH)
    assert sentence.endswith(f"; {TWO} failed at Check: the home is missing")


def test_sentence_in_chinese_is_chinese() -> None:
    sentence = describe_dag(make_rows(), ATTEMPTS, NOW, CHINESE)
    assert sentence.startswith("失败，耗时 10 秒; 2 台服务器中 1 台成功")


@pytest.mark.parametrize(
    ("state", "operator", "begin"),
    [
        (State.RUNNING, Operator.RUN, "Running for 10 s, at stage 2 of 3 Check"),
        (State.RUNNING, Operator.CANCEL, "Being cancelled"),
        (State.RUNNING, Operator.ROLLBACK, "Being rolled back"),
        (State.SUCCEED, Operator.RUN, "Succeeded after 10 s"),
        (State.SUCCEED, Operator.PASS, "Marked as done by PASS"),
        (State.SUCCEED, Operator.ROLLBACK, "Rolled back"),
        (State.FAILED, Operator.CANCEL, "Cancelled after 10 s"),
        (State.FAILED, Operator.ROLLBACK, "Rollback failed"),
    ],
)
def test_sentence_begins_with_state(state: State, operator: Operator, begin: str) -> None:
    assert describe_dag(make_rows(state, operator), (), NOW, ENGLISH).startswith(begin)


def test_sentence_names_few_failures_and_counts_others() -> None:
    targets = tuple(f"h{n}:1" for n in range(5))
    rows = make_rows(states="S" + "F" * 5 + "P" * 5, targets=targets)
    sentence = describe_dag(rows, (), NOW, ENGLISH)
    assert sentence.count("failed at Check") == 3
    assert sentence.endswith("2 more have failed")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("ERROR: [A.B]: why", "why"),
        ("why", "why"),
        ("ERROR: why", "why"),
        ("ERROR: [A.B]: h0:1: why", "why"),
        ("h1:1: why", "h1:1: why"),
        ("[x]: y", "[x]: y"),
    ],
)
def test_strip_prefix_removes_code_and_own_server(error: str, text: str) -> None:
    assert strip_prefix(error, "h0:1") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0.0404, "40 ms"),
        (9.94, "9.9 s"),
        (59.9, "59 s"),
        (125, "2 min 5 s"),
        (3 * 3600 + 61, "3 h 1 min"),
        (2 * 86_400 + 3600, "2 d 1 h"),
    ],
)
def test_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert render_duration(timedelta(seconds=seconds), ENGLISH) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s ago"), (61, "1 min ago"), (7201, "2 h ago"), (200_000, "2 d ago")],
)
def test_age_has_its_largest_unit(seconds: float, text: str) -> None:
    assert render_age(timedelta(seconds=seconds), ENGLISH) == text

"""Packets: their guards, and what the cluster's row says about an unknown result."""

from __future__ import annotations

import re

import pytest

from dagengine.model.fencing import Ownership
from dagengine.mysql import Row
from dagengine.store.mysql.packet import (
    Verdict,
    decide_verdict,
    find_failed,
    find_results,
    is_result_unknown,
    render_packet,
)
from dagengine.store.mysql.plan import Statement

OWNERSHIP = Ownership("demo", 3, 9, 40)
STATEMENTS = (
    Statement(["A", "B"], 2),
    Statement(["C"]),
    Statement(["SELECT 1"], 1, is_count=True),
    Statement(["D"], 1),
)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        ((3, 9, 40), Verdict.NOT_WRITTEN),
        ((3, 9, 41), Verdict.WRITTEN),
        ((3, 9, 42), Verdict.DEFECT),
        ((3, 9, 39), Verdict.DEFECT),
        ((4, 9, 41), Verdict.FENCED),
        ((3, 10, 41), Verdict.FENCED),
        ((3, 10, 40), Verdict.FENCED),
        ((None, 9, 40), Verdict.FENCED),
        (None, Verdict.FENCED),
    ],
)
def test_verdict_follows_row_of_cluster(row: Row | None, verdict: Verdict) -> None:
    assert decide_verdict(row, OWNERSHIP, 40) is verdict


def test_packet_compares_each_guarded_statement() -> None:
    packet = render_packet(OWNERSHIP, 40, STATEMENTS)
    assert packet.count("ROW_COUNT() <>") == 2
    assert re.findall(r"ROW_COUNT\(\) <> (\d+), (\d+)", packet) == [("2", "1"), ("1", "4")]
    assert "(SELECT 1) <> 1, 3" in packet
    begin, *_, end, commit = packet.split("; ")
    assert (begin, commit) == ("BEGIN", "COMMIT")
    assert "@bad <> 0" in end
    assert "commit_no = 41" in packet
    assert "owner = 3 AND epoch = 9 AND commit_no = 40" in packet


def test_packet_positions_match_its_statements() -> None:
    parts = render_packet(OWNERSHIP, 40, STATEMENTS).split("; ")
    assert [parts[position] for position in find_results(STATEMENTS)][0::3] == ["B", "D"]
    failed = {text: find_failed(STATEMENTS, parts.index(text)) for text in ("A", "B", "C", "D")}
    assert failed == {"A": 1, "B": 1, "C": 2, "D": 4}
    assert find_failed(STATEMENTS, 1) == 0
    assert find_failed(STATEMENTS, len(parts) - 1) == 0


@pytest.mark.parametrize("number", [2003, 2006, 2013, 4012, 6002, 6005, 6200, 6235, 6299])
def test_result_is_unknown_after_error(number: int) -> None:
    assert is_result_unknown(number)


@pytest.mark.parametrize("number", [1048, 1062, 1146, 1205, 6300])
def test_result_is_known_after_error(number: int) -> None:
    assert not is_result_unknown(number)

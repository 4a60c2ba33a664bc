"""Ids of DAGs as users type them."""

from __future__ import annotations

import pytest

from dagengine.cli.dag_ids import is_complete, select_dag_id
from dagengine.errors import DagIdUnknown

IDS = ("216777217702886112", "21677721770288611", "21677721770288610")


@pytest.mark.parametrize(
    ("text", "dag_id"),
    [("last", IDS[0]), ("2", IDS[0]), ("11", IDS[1]), ("0", IDS[2]), (IDS[1], IDS[1])],
)
def test_select_dag_id_last_or_unique_suffix(text: str, dag_id: str) -> None:
    assert select_dag_id(text, IDS) == dag_id


@pytest.mark.parametrize(
    ("text", "ids", "message"),
    [
        ("last", (), "'last' does not name a DAG: there is none yet; create one"),
        ("7", IDS, "the id of no DAG is or ends in '7'; see the ids with `dagengine list`"),
        ("", IDS, "the id of no DAG"),
        (
            "1",
            ("21", "31"),
            "the ids of 2 DAGs end in '1'; write more digits of one of them: 2",
        ),
    ],
)
def test_select_dag_id_otherwise_says_what_to_do(
    text: str, ids: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DagIdUnknown) as caught:
        select_dag_id(text, ids)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(IDS[2], True), ("3" + "0" * 45, True), ("last", False), ("1611", False), ("-" * 20, False)],
)
def test_is_complete_needs_digits_of_address(text: str, expected: bool) -> None:
    assert is_complete(text) is expected

"""Pages over the DAGs of several clusters."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dagengine.api.fleet.pages import DagFilter, parse_cursor, read_page, render_cursor
from dagengine.errors import IllegalArgument
from dagengine.model.states import State

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
ALL = DagFilter(None, None)


class Member:
    """A cluster with DAGs that start at these seconds."""

    def __init__(self, name: str, seconds: Sequence[float]) -> None:
        self.name = name
        self.dags: list[dict[str, Any]] = []
        for second in seconds:
            self.add(second)

    def add(self, second: float) -> None:
        time = (BEGIN + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")
        self.dags.append({"dag_id": len(self.dags) + 1, "start_time": time})

    async def search_dags(
        self, *, before: int | None, state: State | None, name: str | None, limit: int
    ) -> list[dict[str, Any]]:
        newest = [dag for dag in reversed(self.dags) if before is None or dag["dag_id"] < before]
        return newest[:limit]


async def read_all(members: list[Any], limit: int) -> list[tuple[str, int]]:
    dags, cursor = [], ""
    while True:
        page = await read_page(members, ALL, limit=limit, cursor=cursor)
        assert len(page.dags) <= limit
        dags += [(name, dag["dag_id"]) for name, dag in page.dags]
        cursor = page.cursor
        if not cursor:
            return dags
        for member in members:  # new DAGs do not change the pages that follow
            member.add(1e6)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_have_each_dag_once_newest_first(limit: int) -> None:
    seconds = sorted(random.Random(1).sample(range(1000), 20))
    parts = {"a": seconds[::3], "b": seconds[1::3], "c": seconds[2::3], "empty": []}
    members: list[Any] = [Member(name, part) for name, part in parts.items()]
    expected = sorted(
        ((second, name, at) for name, part in parts.items() for at, second in enumerate(part, 1)),
        reverse=True,
    )
    assert await read_all(members, limit) == [(name, at) for _, name, at in expected]


async def test_pages_after_a_clock_jump_have_each_dag_once() -> None:
    members: list[Any] = [Member("a", [5, 1, 9, 2.5]), Member("b", [4, 2.25, 2])]
    dags = await read_all(members, 2)
    assert sorted(dags) == [("a", at) for at in (1, 2, 3, 4)] + [("b", at) for at in (1, 2, 3)]


@pytest.mark.parametrize("text", ["x", "e30x", "é", render_cursor({"a": 1})[:-2], "bnVsbA", "WzFd"])
def test_cursor_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(IllegalArgument):
        parse_cursor(text)


def test_cursor_is_parsed_as_rendered() -> None:
    assert parse_cursor(render_cursor({"a": 7, "b-c": 1})) == {"a": 7, "b-c": 1}
    with pytest.raises(IllegalArgument):
        parse_cursor(render_cursor({"a": 0}))

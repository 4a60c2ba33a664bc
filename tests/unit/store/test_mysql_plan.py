"""The statements of a group: merged by row, and in an order that keeps dependencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dagengine.errors import NotSerializable
from dagengine.model.changes import Batch, NodeChanged, SubTaskChanged
from dagengine.model.states import State
from dagengine.store.mysql.numbers import Numbers
from dagengine.store.mysql.plan import Operation, Resource, Source, find_levels, plan_group
from dagengine.store.mysql.statements import pad_ids
from tests.conformance.builders import batch_of, create, line_of


def moves(count: int) -> list[Batch]:
    """Return batches that each change a different sub-task."""
    task = create().sub_tasks[0]
    tasks = [task._replace(sub_task_id=number) for number in range(1, count + 1)]
    return [batch_of(SubTaskChanged(task, task._replace(state=State.RUNNING))) for task in tasks]


def lengths_of(batches: Sequence[Batch], **options: object) -> Counter[tuple[str, int]]:
    group = plan_group("c", batches, Numbers(), **options)  # type: ignore[arg-type]
    words = [(statement.texts[-1].split()[1], statement) for statement in group.statements]
    return Counter((table, len(statement.sources)) for table, statement in words)


@pytest.mark.parametrize(
    ("count", "lengths"),
    [(1, {1: 1}), (3, {1: 3}), (4, {4: 1}), (7, {4: 1, 1: 3}), (37, {16: 2, 4: 1, 1: 1})],
)
def test_group_of_changes_has_sets_of_few_lengths(count: int, lengths: dict[int, int]) -> None:
    found = lengths_of(moves(count))
    assert {length: found["sub_task", length] for length in lengths} == lengths
    assert sum(n * times for (table, n), times in found.items() if table == "sub_task") == count


def test_group_changes_one_row_in_two_statements() -> None:
    batches = [*moves(4), *moves(4)]
    assert lengths_of(batches)["sub_task", 4] == 2


def test_group_in_order_does_not_merge_batches() -> None:
    assert lengths_of(moves(4), in_order=True)["sub_task", 1] == 4


def test_group_expects_one_row_per_change() -> None:
    group = plan_group("c", moves(21), Numbers())
    for statement in group.statements:
        if statement.sources:
            assert statement.expected == len(statement.sources)


def test_group_numbers_lines_and_audit_per_dag() -> None:
    created = create()
    lines = [line_of(created, str(number)) for number in range(5)]
    numbers = Numbers(log_id=7, reserved_log_id=7, audit_id=3, events={1: 40})
    group = plan_group("c", [batch_of(line) for line in lines], numbers)
    assert numbers.events == {1: 40}, "a plan changes nothing"
    numbers.apply(group.draft)
    assert (numbers.log_id, numbers.events) == (12, {1: 45})
    again = plan_group("c", [batch_of(lines[0])], numbers)
    assert not again.draft.advanced_sequences(), "ids are reserved in blocks"


def test_refused_batch_takes_no_number() -> None:
    created = create()
    good = batch_of(line_of(created, "x"))
    bad = batch_of(line_of(created, "x"), line_of(created, "\ud800"))
    numbers = Numbers()
    group = plan_group("c", [good, bad, good], numbers)
    assert [type(refusal) for refusal in group.refusals] == [
        *(type(None), NotSerializable, type(None))
    ]
    numbers.apply(group.draft)
    assert (numbers.log_id, numbers.events) == (3, {1: 2})
    assert {source.batch_no for statement in group.statements for source in statement.sources} == {
        *(0, 2)
    }


def test_line_follows_change_of_its_sub_task() -> None:
    created = create()
    task = created.sub_tasks[0]
    moved = SubTaskChanged(task, task._replace(attempt_no=1))
    group = plan_group("c", [batch_of(moved, line_of(created, "x", attempt_no=1))], Numbers())
    texts = [statement.texts[-1] for statement in group.statements]
    order = [text.split()[0] for text in texts if "sub_task" in text and "id_seq" not in text]
    assert order == ["UPDATE", "INSERT"]


def test_values_of_statements_are_hexadecimal() -> None:
    node = create().nodes[0]
    hostile = replace(
        NodeChanged(node, node), after=node._replace(operator="'; DROP TABLE dag; --")
    )
    group = plan_group("c", [batch_of(hostile)], Numbers())
    assert "DROP" not in "".join(text for part in group.statements for text in part.texts)


# --- levels --------------------------------------------------------------------------------------

RESOURCES = st.sets(st.tuples(st.just("row"), st.integers(0, 3)), max_size=2)


FIRST, SECOND = ("row", 0), ("row", 1)


@example([({SECOND}, set()), (set(), {FIRST, SECOND}), (set(), {FIRST})])
@given(st.lists(st.tuples(RESOURCES, RESOURCES), max_size=12))
def test_levels_keep_order_of_dependent_operations(
    touched: list[tuple[Collection[Resource], Collection[Resource]]],
) -> None:
    operations = [
        Operation("q", (), (), Source(0, None), reads, writes) for reads, writes in touched
    ]
    levels = list(find_levels(operations))
    for later, (reads, writes) in enumerate(touched):
        for earlier in range(later):
            read_before, written_before = map(set, touched[earlier])
            if set(writes) & (read_before | written_before) or set(reads) & written_before:
                assert levels[earlier] < levels[later]


@given(st.sets(st.integers(1, 500), max_size=60))
def test_padded_ids_are_all_ids_in_few_lengths(ids: set[int]) -> None:
    parts = pad_ids(ids)
    assert {number for part in parts for number in part} == ids
    assert {len(part) for part in parts} <= {1, 4, 16}

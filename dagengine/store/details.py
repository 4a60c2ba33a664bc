"""Joins of the rows of nodes, sub-tasks and log lines into details."""

from __future__ import annotations

from collections.abc import Iterable

from dagengine.model.records import LogRecord, NodeDetail, SubTaskDetail, SubTaskRecord
from dagengine.store.rows import StoredRow, parse_log, parse_node, parse_sub_task


def join_details(
    nodes: Iterable[StoredRow], sub_tasks: Iterable[StoredRow], logs: Iterable[StoredRow]
) -> tuple[NodeDetail, ...]:
    """Return nodes with their sub-tasks and log lines; all in the order of the arguments."""
    lines: dict[int, list[LogRecord]] = {}
    for row in logs:
        lines.setdefault(row["sub_task_id"], []).append(parse_log(row))
    tasks: dict[int, list[SubTaskRecord]] = {}
    for row in sub_tasks:
        tasks.setdefault(row["node_id"], []).append(parse_sub_task(row))
    return tuple(
        NodeDetail(
            node,
            tuple(
                SubTaskDetail(task, node.name, tuple(lines.get(task.sub_task_id, ())))
                for task in tasks.get(node.node_id, ())
            ),
        )
        for node in map(parse_node, nodes)
    )

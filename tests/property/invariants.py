"""Invariants of every DAG between two events, by name.

I1  the state table permits every (state, operator) pair
I2  a DAG that has ended has no RUNNING part and holds no lock
I3  a sub-task runs only in a RUNNING node of a RUNNING DAG
I4  a RUNNING node has a sub-task that runs or can still run
I5  a lane's sub-task has run only if the previous one in the lane succeeded
I6  a normal stage, or a group of lanes, begins only after every previous node has ended (I5
    and I6 apply to forward execution; for rollbacks see I10)
I7  a SUCCEED DAG (not passed) has only SUCCEED nodes; a FAILED one has a FAILED node,
    and its stage is the first of them
I8  the stage of an unfinished DAG is its first unfinished node; in a rollback, the last node
    that remains to be undone
I9  the counters of a snapshot equal a fresh count (unless a rollback is in progress)
I10 a rollback undoes a stage only when no later stage has a part that runs or remains to be undone
"""

from __future__ import annotations

from collections.abc import Iterator

from dagengine.model.states import Entity, Operator, State
from dagengine.rules.snapshot import Snapshot
from dagengine.rules.state_machine import is_legal_pair


def find_violations(snapshot: Snapshot) -> list[str]:
    """Return the names of broken invariants with the offending values; empty if all hold."""
    return [
        *_pairs(snapshot),
        *_running(snapshot),
        *_order(snapshot),
        *_stage(snapshot),
        *_counters(snapshot),
    ]


def _pairs(snapshot: Snapshot) -> Iterator[str]:
    dag = snapshot.dag
    if not is_legal_pair(Entity.DAG, dag.state, dag.operator):
        yield f"I1: DAG is {dag.state} + {dag.operator}"
    for node in snapshot.nodes.values():
        if not is_legal_pair(Entity.NODE, node.state, node.operator):
            yield f"I1: node {node.stage} is {node.state} + {node.operator}"
    for sub_task in snapshot.sub_tasks.values():
        if not is_legal_pair(Entity.SUB_TASK, sub_task.state, sub_task.operator):
            yield f"I1: sub-task {sub_task.sub_task_id} is {sub_task.state} + {sub_task.operator}"


def _running(snapshot: Snapshot) -> Iterator[str]:
    dag = snapshot.dag
    if dag.state.is_final:
        if dag.lock_token:
            yield "I2: an ended DAG holds the lock"
        if any(node.state is State.RUNNING for node in snapshot.nodes.values()):
            yield "I2: an ended DAG has a RUNNING node"
    for sub_task in snapshot.running:
        node = snapshot.nodes[sub_task.stage]
        if node.state is not State.RUNNING or dag.state is not State.RUNNING:
            yield f"I3: sub-task {sub_task.sub_task_id} runs in a {node.state} node"
    for node in snapshot.nodes.values():
        if node.state is State.RUNNING and snapshot.is_over(node.stage):
            yield f"I4: node {node.stage} is RUNNING and nothing of it can run"


def _order(snapshot: Snapshot) -> Iterator[str]:
    if any(task.operator is Operator.ROLLBACK for task in snapshot.running):
        yield from _undo_order(snapshot)
        return
    for group in snapshot.groups:
        for stage in group.stages:
            running_tasks = [s for s in snapshot.sub_tasks_of(stage) if s.state is State.RUNNING]
            if running_tasks and any(
                not snapshot.nodes[earlier].state.is_final for earlier in range(1, group.first)
            ):
                yield f"I6: stage {stage} runs before an earlier group has ended"
            for sub_task in running_tasks if stage > group.first else ():
                before = snapshot.sub_task_at(stage - 1, sub_task.target)
                if before is None or before.state is not State.SUCCEED:
                    yield f"I5: {sub_task.target} runs in stage {stage} before stage {stage - 1}"


def _undo_order(snapshot: Snapshot) -> Iterator[str]:
    lowest = min(task.stage for task in snapshot.running)
    for stage in range(lowest + 1, snapshot.dag.max_stage + 1):
        node = snapshot.nodes[stage]
        is_open = not node.state.is_final and node.operator is Operator.ROLLBACK
        if is_open or snapshot.running_in[stage]:
            yield f"I10: stage {lowest} is being undone before stage {stage}"


def _stage(snapshot: Snapshot) -> Iterator[str]:
    dag = snapshot.dag
    failed = [n.stage for n in snapshot.nodes.values() if n.state is State.FAILED]
    unfinished = [n.stage for n in snapshot.nodes.values() if not n.state.is_final]
    if dag.state is State.SUCCEED and dag.operator is Operator.RUN and failed + unfinished:
        yield f"I7: a SUCCEED DAG has unsuccessful nodes {failed + unfinished}"
    if dag.state is State.FAILED and (not failed or dag.stage != min(failed)):
        yield f"I7: a FAILED DAG is at stage {dag.stage}, its FAILED nodes are {failed}"
    if snapshot.is_undoing:
        unfinished = [
            -n.stage
            for n in snapshot.nodes.values()
            if not n.state.is_final and n.operator is Operator.ROLLBACK
        ]
    stage = abs(min(unfinished, default=dag.stage))
    was_cancelled_back = snapshot.is_cancelling and snapshot.was_undone
    if dag.state is State.RUNNING and not was_cancelled_back and dag.stage != stage:
        yield f"I8: the DAG is at stage {dag.stage}, its first unfinished node is {stage}"


def _counters(snapshot: Snapshot) -> Iterator[str]:
    if any(task.operator is Operator.ROLLBACK for task in snapshot.running):
        return
    fresh = Snapshot(snapshot.dag, tuple(snapshot.nodes.values()), snapshot.sub_tasks.values())
    for name in ("running_in", "waiting_in", "failed_in", "failed_lanes"):
        if getattr(fresh, name) != getattr(snapshot, name):
            yield f"I9: {name} is {getattr(snapshot, name)}, should be {getattr(fresh, name)}"

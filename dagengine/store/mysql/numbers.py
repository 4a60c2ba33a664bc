"""The numbers that the next rows of a cluster get, as of its last commit.

Only the owner of a cluster writes its rows, and each commit is guarded by the number of the one
before; so these copies are exact until a commit fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dagengine.model.changes import DagCreated

_LOG_BLOCK = 1000
_MAX_ENTRIES = 20_000
"""Entries of a cache; an active DAG needs one, and one for each of its sub-tasks."""


@dataclass(slots=True)
class Numbers:
    """The numbers of one cluster.

    Attributes:
        log_id: the next log id.
        reserved_log_id: the first log id that table id_seq does not yet count as used.
        audit_id: the next audit id.
        events: number of the last event by DAG.
        dag_ids: the DAG of each sub-task.
    """

    log_id: int = 1
    reserved_log_id: int = 1
    audit_id: int = 1
    events: dict[int, int] = field(default_factory=dict)
    dag_ids: dict[int, int] = field(default_factory=dict)

    def trim(self) -> None:
        """Discard cached entries if there are too many; they are read again when needed."""
        for cache in (self.events, self.dag_ids):
            if len(cache) > _MAX_ENTRIES:
                cache.clear()

    def apply(self, draft: NumbersDraft) -> None:
        """Take over the numbers after a commit."""
        self.log_id, self.audit_id = draft.log_id, draft.audit_id
        self.reserved_log_id = draft.reserved_log_id
        self.events |= draft.events
        self.dag_ids |= draft.dag_ids


class NumbersDraft:
    """Numbers taken for a group that is not yet committed."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self.log_id, self.audit_id = numbers.log_id, numbers.audit_id
        self.reserved_log_id = numbers.reserved_log_id
        self.events: dict[int, int] = {}
        self.dag_ids: dict[int, int] = {}
        self._highest = {"dag": 0, "node": 0, "sub_task": 0}

    def add_dag(self, created: DagCreated) -> None:
        """Record the ids of a new DAG."""
        dag_id = created.dag.dag_id
        self.events.setdefault(dag_id, 0)
        self._raise("dag", dag_id)
        for node in created.nodes:
            self._raise("node", node.node_id)
        for task in created.sub_tasks:
            self._raise("sub_task", task.sub_task_id)
            self.dag_ids[task.sub_task_id] = dag_id

    def add_sub_task(self, sub_task_id: int, dag_id: int) -> None:
        """Record the DAG of a sub-task."""
        self.dag_ids[sub_task_id] = dag_id

    def dag_of(self, sub_task_id: int, default: int) -> int:
        """Return the DAG of a sub-task; `default` for a sub-task that does not exist."""
        known = self.dag_ids.get(sub_task_id)
        return known or self._numbers.dag_ids.get(sub_task_id, default)

    def take_events(self, dag_id: int, count: int) -> int:
        """Return the number of the last of `count` new events of a DAG."""
        last = self.events.get(dag_id)
        if last is None:
            last = self._numbers.events.get(dag_id, 0)
        self.events[dag_id] = last + count
        return last + count

    def take_log_id(self) -> int:
        """Return the id of a new log line; ids are reserved in blocks."""
        if self.log_id >= self.reserved_log_id:
            self.reserved_log_id = self.log_id + _LOG_BLOCK
        self.log_id += 1
        return self.log_id - 1

    def take_audit_id(self) -> int:
        """Return the id of a new row of the audit."""
        self.audit_id += 1
        return self.audit_id - 1

    def advanced_sequences(self) -> Mapping[str, int]:
        """Return the new value of each sequence of table id_seq; empty if none has changed."""
        numbers = self._numbers
        before = (numbers.reserved_log_id, numbers.audit_id)
        if (self.reserved_log_id, self.audit_id) == before and not self._highest["dag"]:
            return {}
        taken = {kind: highest + 1 for kind, highest in self._highest.items()}
        return taken | {"log": self.reserved_log_id, "audit": self.audit_id}

    def _raise(self, kind: str, number: int) -> None:
        self._highest[kind] = max(self._highest[kind], number)

"""DAGs that were read since the last write: callers that poll read the same rows for ever."""

from __future__ import annotations

from dagengine.model.records import DagDetail

_DAGS = 32


class ReadCache:
    """What was read, for as long as nothing is written.

    All writes of a store go through its one writer, so the number of writes that were asked for
    says whether anything can have changed. A read counts only when no write was under way as it
    began, and none was asked for since: then it is what a new read would find.
    """

    def __init__(self) -> None:
        self._as_of = 0
        self._found: dict[int, DagDetail] = {}

    def find(self, dag_id: int, writes: int) -> DagDetail | None:
        """What was read of a DAG; None when it has to be read (again)."""
        return self._found.get(dag_id) if writes == self._as_of else None

    def keep(self, detail: DagDetail, writes: int) -> None:
        """Remember what a read has found that began and ended at this number of writes."""
        if writes != self._as_of or len(self._found) >= _DAGS:
            self._found.clear()
            self._as_of = writes
        if detail.is_keepable:
            self._found[detail.dag.dag_id] = detail

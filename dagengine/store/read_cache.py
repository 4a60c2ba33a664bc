"""Cache of the DAGs read since the last write, for callers that poll unchanged rows."""

from __future__ import annotations

from dagengine.model.records import DagDetail

_DAGS = 32


class ReadCache:
    """Holds the DAGs that were read since the last write.

    All writes of a store pass through its single writer, so an unchanged number of requested writes
    means unchanged rows. A result is cached only if no write was in progress when the read began
    and none was requested since; then a new read would return the same rows.
    """

    def __init__(self) -> None:
        self._as_of = 0
        self._details: dict[int, DagDetail] = {}

    def find(self, dag_id: int, writes: int) -> DagDetail | None:
        """Return the cached DAG; None if it must be read from the file."""
        return self._details.get(dag_id) if writes == self._as_of else None

    def keep(self, detail: DagDetail, writes: int) -> None:
        """Cache the result of a read that began and ended at this number of writes."""
        if writes != self._as_of or len(self._details) >= _DAGS:
            self._details.clear()
            self._as_of = writes
        if detail.is_cacheable:
            self._details[detail.dag.dag_id] = detail

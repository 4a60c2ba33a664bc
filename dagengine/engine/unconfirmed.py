"""Which targets are marked as unproven, as last committed."""

from __future__ import annotations

from collections.abc import Iterable

from dagengine.model.changes import Batch, TargetConfirmed, TargetUnconfirmed
from dagengine.model.records import UnconfirmedRecord

_KINDS = frozenset({TargetConfirmed, TargetUnconfirmed})


class UnconfirmedTargets:
    """A picture of table `unproven`, by target."""

    def __init__(self) -> None:
        self._marks: dict[str, UnconfirmedRecord] = {}

    def load(self, marks: Iterable[UnconfirmedRecord]) -> None:
        self._marks = {mark.target: mark for mark in marks}

    def find(self, target: str | None) -> UnconfirmedRecord | None:
        """The mark on a target; None when there is none."""
        return self._marks.get(target or "")

    def apply(self, batch: Batch) -> None:
        """Follow a committed batch."""
        if _KINDS.isdisjoint(map(type, batch.changes)):
            return  # as nearly all
        for change in batch.changes:
            if isinstance(change, TargetUnconfirmed):
                self._marks[change.mark.target] = change.mark
            elif (
                isinstance(change, TargetConfirmed) and self.find(change.mark.target) == change.mark
            ):
                del self._marks[change.mark.target]  # not one that was set meanwhile

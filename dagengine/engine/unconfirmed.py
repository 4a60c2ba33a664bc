"""Projection of the unconfirmed targets as of the last commit."""

from __future__ import annotations

from collections.abc import Iterable

from dagengine.model.changes import Batch, TargetConfirmed, TargetUnconfirmed
from dagengine.model.records import UnconfirmedRecord

_KINDS = frozenset({TargetConfirmed, TargetUnconfirmed})


class UnconfirmedTargets:
    """Projection of table `unconfirmed`, by target."""

    def __init__(self) -> None:
        self._unconfirmed_targets: dict[str, UnconfirmedRecord] = {}

    def load(self, marks: Iterable[UnconfirmedRecord]) -> None:
        self._unconfirmed_targets = {mark.target: mark for mark in marks}

    def find(self, target: str | None) -> UnconfirmedRecord | None:
        """Return the marker of a target, or None."""
        return self._unconfirmed_targets.get(target or "")

    def apply(self, batch: Batch) -> None:
        """Apply a committed batch."""
        if _KINDS.isdisjoint(map(type, batch.changes)):
            return  # fast path: most batches do not touch a marker
        for change in batch.changes:
            if isinstance(change, TargetUnconfirmed):
                self._unconfirmed_targets[change.mark.target] = change.mark
            elif (
                isinstance(change, TargetConfirmed) and self.find(change.mark.target) == change.mark
            ):
                del self._unconfirmed_targets[change.mark.target]  # a newer marker is kept

"""The clusters of a controller's configuration, compared with the pins in the store."""

from __future__ import annotations

from dataclasses import dataclass, fields

from dagengine.ownership import messages
from dagengine.store.membership import ClusterPins, ServedCluster


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """A cluster whose file this controller has.

    Attributes:
        pins: name, id, flavour and address by this controller's files.
        url: where other controllers reach its listener.
        file_digest: digest of its cluster file.
        refusal: why this controller must not run it; empty if it may.
    """

    pins: ClusterPins
    url: str
    file_digest: str
    refusal: str = ""

    def announced(self, pinned: ClusterPins) -> ServedCluster:
        """Return the row to announce; a cluster that is refused is not ready."""
        is_ready = self.explain_refusal(pinned) is None
        return ServedCluster(self.pins.name, self.url, self.file_digest, is_ready)

    def explain_refusal(self, pinned: ClusterPins) -> str | None:
        """Return why this controller does not run the cluster; None if it does."""
        return self.refusal or explain_difference(self.pins, pinned)


def explain_difference(own: ClusterPins, pinned: ClusterPins) -> str | None:
    """Return why a controller does not serve a cluster; None if its file agrees with the pins."""
    for each in fields(ClusterPins):
        mine, theirs = getattr(own, each.name), getattr(pinned, each.name)
        if mine != theirs:
            return messages.PIN_DIFFERS(cluster=own.name, field=each.name, own=mine, pinned=theirs)
    return None

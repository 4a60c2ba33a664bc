"""The table of flavours. A new flavour is one file beside this one and one line here."""

from __future__ import annotations

from collections.abc import Callable

from tasks.cluster.access import ClusterAccess
from tasks.cluster.flavour import Flavour
from tasks.flavours.base import DatabaseActions
from tasks.flavours.oceanbase import OCEANBASE, OceanbaseActions
from tasks.flavours.seekdb import SEEKDB, SeekdbActions

FLAVOURS: dict[Flavour, Callable[[ClusterAccess], DatabaseActions]] = {
    SEEKDB: SeekdbActions,
    OCEANBASE: OceanbaseActions,
}
"""The known flavours, in the order of messages, each with the class of its database actions."""


def select_actions(access: ClusterAccess) -> DatabaseActions:
    """Return the database actions for the flavour in the current cluster file."""
    return FLAVOURS[access.cluster.current.flavour](access)

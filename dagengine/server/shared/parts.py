"""What the clusters of one controller need of a shared store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from dagengine.api.forwarding.owner import OwnershipView
from dagengine.security.server_key import ServerKey
from dagengine.store.contract import Store
from dagengine.store.mysql.settings import MysqlSettings


class EngineStore(Store, Protocol):
    """A store as a controller uses it."""

    @property
    def commit_count(self) -> int:
        """Number of commits since the store was opened."""
        ...

    @property
    def batch_count(self) -> int:
        """Number of batches in those commits."""
        ...


@dataclass(frozen=True, slots=True)
class SharedStoreParts:
    """The parts of a shared store that all clusters of a controller use.

    Attributes:
        settings: the database.
        key: the RSA key that all controllers of the service have.
        session: sends forwarded requests to owners.
        ownership_of: returns who owns a cluster.
    """

    settings: MysqlSettings
    key: ServerKey
    session: aiohttp.ClientSession
    ownership_of: Callable[[str], OwnershipView]

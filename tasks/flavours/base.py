"""The differences between flavours on the cluster's database: one interface, one class for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from dagengine import Outcome, Problem, StepContext
from dagengine.mysql import Connection
from tasks.cluster.observation import TableRow
from tasks.cluster.scope import RequestedScope, ScopeKind
from tasks.cluster.servers import Server


class StopMode(StrEnum):
    """Method of a stop."""

    PLAIN = "plain"  # out of service by SQL; the process keeps running
    TERMINATE = "terminate"  # minor freeze, then the process is ended
    FORCE = "force"  # the process is ended


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """The cluster's view of servers that answer SQL.

    Attributes:
        evidence: by server.
        problems: one for each server that is not in service.
    """

    evidence: Mapping[str, Mapping[str, Any]]
    problems: tuple[Problem, ...] = ()


class DatabaseActions(Protocol):
    """Actions on a cluster's database; what a flavour does on a host is in its `Flavour`."""

    async def start_cluster(self, context: StepContext, scope: RequestedScope) -> Outcome:
        """Run stage 5 of a start: bring the targets into service once every one answers SQL."""
        ...

    async def confirm_service(self, context: StepContext, names: Sequence[str]) -> ServiceReport:
        """Finish stage 6 of a start for servers that have just answered SQL."""
        ...

    async def check_stop(self, mode: StopMode, scope: ScopeKind, targets: Sequence[str]) -> None:
        """Run the checks of a stop request that need the database.

        Raises:
            ApiError: a check fails.
        """
        ...

    async def freeze(self, context: StepContext, names: Sequence[str]) -> Outcome:
        """Have these servers write their memory to disk, and wait until they have done so."""
        ...

    async def stop_by_sql(self, context: StepContext, scope: RequestedScope) -> Outcome:
        """Take the targets out of service; their processes keep running."""
        ...

    def render_freeze(self, server: Server) -> str:
        """Return the statement of `freeze` for one server, for the plan of a stop."""
        ...

    def render_plain_stop(self, server: Server, scope: ScopeKind) -> str:
        """Return the statement of `stop_by_sql` for one server, for the plan of a stop.

        Raises:
            ApiError: the flavour has no plain stop; `check_stop` raises it as well.
        """
        ...

    async def query_table(
        self, connection: Connection
    ) -> Mapping[tuple[str, int], TableRow] | None:
        """Query the cluster's own table of servers, by ip and rpc port; None if it has none.

        Raises:
            SqlRefused, SqlNotReady: the cluster does not answer the query.
        """
        ...

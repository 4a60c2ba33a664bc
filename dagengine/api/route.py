"""What an operations package adds to the API: routes, and a view of the cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from pydantic import BaseModel

from dagengine.model.records import DagDetail

if TYPE_CHECKING:
    from dagengine.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request, bound to its route.

    Attributes:
        engine: the running engine.
        body: the validated body, an instance of the route's model.
        caller: who asks, from where; for the audit.
    """

    engine: Engine
    body: BaseModel
    caller: str


Handler: TypeAlias = Callable[[Call], Awaitable[DagDetail]]


@dataclass(frozen=True, slots=True)
class Route:
    """A route of an operation; it always needs a login and answers with a DAG.

    Attributes:
        method: upper case.
        path: below `/api/v1`, such as `/ob/start`.
        model: pydantic model of the body.
        handler: raises ApiError subclasses for answers that are errors.
    """

    method: str
    path: str
    model: type[BaseModel]
    handler: Handler


class ServerState(Protocol):
    """What is known of one server without asking it."""

    @property
    def name(self) -> str:
        """`ip:agent_port`."""
        ...

    @property
    def ip(self) -> str: ...

    @property
    def agent_port(self) -> int: ...

    @property
    def sql_port(self) -> int: ...

    @property
    def rpc_port(self) -> int: ...

    @property
    def zone(self) -> str: ...


class ClusterView(Protocol):
    """The cluster as last known; reading it never contacts a host."""

    @property
    def name(self) -> str: ...

    @property
    def cluster_id(self) -> int: ...

    @property
    def servers(self) -> Sequence[ServerState]: ...

    @property
    def version(self) -> str:
        """Version of the server program; empty when not known yet."""
        ...

    @property
    def ob_state(self) -> int:
        """0 not running, 1 running without connection, 2 restricted, 3 available (protocol 2.1)."""
        ...

    def root_password(self) -> str:
        """The password of root@sys that callers must know; may be empty."""
        ...

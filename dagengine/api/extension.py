"""What an operations package adds to the API: routes, and a view of the cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from pydantic import BaseModel

from dagengine.errors import DagengineError
from dagengine.model.operation import IdempotencyKey, Submission
from dagengine.model.records import DagDetail

if TYPE_CHECKING:
    from dagengine.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request, bound to its route.

    Attributes:
        engine: the running engine.
        body: the validated body, an instance of the route's model; None without one.
        caller: who asks, from where; for the audit.
        query: the validated query, an instance of the route's query model; None without one.
        key: the request's idempotency key; None when it sent none.
    """

    engine: Engine
    body: BaseModel | None
    caller: str
    query: BaseModel | None = None
    key: IdempotencyKey | None = None

    async def submit(
        self, submission: Submission, *, reason: str = "", dedupe_window_s: float = 0.0
    ) -> DagDetail:
        """Create the DAG that the request asks for, in the caller's name.

        Args:
            submission: what to run.
            reason: what the audit is to say about it.
            dedupe_window_s: see Engine.submit; a request with a key of its own is not in it.
        """
        return await self.engine.submit(
            submission,
            by=self.caller,
            reason=reason,
            dedupe_window_s=dedupe_window_s,
            key=self.key,
        )


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What would be done on one server.

    Attributes:
        name: of the server.
        verdict: `start` or `stop`; `nothing` when there is nothing to do; `blocked` when something
            stands in the way; `unknown` when its host could not be asked.
        reason: why, in words.
        checks: how each check ended, as values for a caller.
        commands: what would be run, secrets masked.
    """

    name: str
    verdict: Literal["start", "stop", "nothing", "blocked", "unknown"]
    reason: str
    checks: tuple[Mapping[str, Any], ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request would do.

    Attributes:
        operation: that it would run.
        lock_key: of the lock that this needs; None for none.
        servers: in the order of the request's scope.
    """

    operation: str
    lock_key: str | None
    servers: tuple[ServerPlan, ...]


Planner: TypeAlias = Callable[[Call], Awaitable[Plan]]
"""Says what the handler would do, changing nothing; refuses as the handler would."""

Handler: TypeAlias = Callable[[Call], Awaitable[Any]]
Refusal: TypeAlias = type[DagengineError] | str
"""How a route may refuse: an error, or an errCode that is told with status 400."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of an operation; it always needs a login.

    All of it but the handler is published in the OpenAPI document as well.

    Attributes:
        method: upper case.
        path: below `/api/v1`, such as `/ob/start`.
        model: pydantic model of the body; None for a route without one.
        handler: returns a DagDetail, or a value of type `answer`; raises ApiError subclasses for
            answers that are errors. Its docstring's first line is the route's summary.
        errors: with what the handler may refuse.
        query: pydantic model of the query.
        answer: type of the answer's data; None for a DAG.
        plan: makes the answer to `?dryRun=true`; None: the route knows no such thing.
        null_on_failure: `data` is null, not absent, when the business step fails (protocol 1.1);
            so it is for every route that answers with a DAG.
    """

    method: str
    path: str
    model: type[BaseModel] | None
    handler: Handler
    errors: tuple[Refusal, ...] = ()
    query: type[BaseModel] | None = None
    answer: Any = None
    plan: Planner | None = None
    null_on_failure: bool = False


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

    @property
    def home(self) -> str: ...


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

    @property
    def observed_at(self) -> datetime | None:
        """When what `ob_state` says was seen; None when nothing was seen yet."""
        ...

    def root_password(self) -> str:
        """The password of root@sys that callers must know; empty if root has none by design."""
        ...

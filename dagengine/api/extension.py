"""The interface of an operations package to the API: routes, and a view of the cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, Protocol, TypeAlias

from pydantic import BaseModel
from typing_extensions import TypeVar

from dagengine.engine.engine import Engine
from dagengine.errors import DagengineError
from dagengine.model.operation import IdempotencyKey, Submission
from dagengine.model.records import DagDetail


class NoBody(BaseModel):
    """Model of a route without a body; content that is sent anyway is ignored."""


B = TypeVar("B", bound=BaseModel, default=NoBody)


@dataclass(frozen=True, slots=True)
class Call(Generic[B]):
    """An authenticated request with validated inputs; `B` is the route's body model.

    Attributes:
        engine: the running engine.
        body: the validated body.
        caller: identity and address of the caller, for the audit.
        query: the validated query, an instance of the route's query model; None without a model.
        key: the request's idempotency key; None if the request has no key.
    """

    engine: Engine
    body: B
    caller: str
    query: BaseModel | None = None
    key: IdempotencyKey | None = None

    async def submit(
        self, submission: Submission, *, reason: str = "", dedupe_window_s: float = 0.0
    ) -> DagDetail:
        """Create a DAG in the caller's name.

        Args:
            submission: the operation to run.
            reason: the reason to record in the audit.
            dedupe_window_s: see Engine.submit; does not apply to a request with an idempotency key.
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
    """The planned action on one server.

    Attributes:
        name: name of the server.
        verdict: `start` or `stop`; `nothing` if no action is needed; `blocked` if a condition
            prevents the action; `unknown` if the host could not be probed.
        reason: explanation of the verdict.
        checks: the result of each check, as JSON values.
        commands: the commands that would run, with secrets masked.
    """

    name: str
    verdict: Literal["start", "stop", "nothing", "blocked", "unknown"]
    reason: str
    checks: tuple[Mapping[str, Any], ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The effect that a request would have.

    Attributes:
        operation: name of the operation that would run.
        lock_key: key of the required lock; None if it needs no lock.
        servers: the planned action on each server, in the order of the request's scope.
    """

    operation: str
    lock_key: str | None
    servers: tuple[ServerPlan, ...]


Planner: TypeAlias = Callable[[Call[B]], Awaitable[Plan]]
"""Returns the plan of the handler without changing anything; raises the same errors."""

Handler: TypeAlias = Callable[[Call[B]], Awaitable[Any]]
"""Returns a DagDetail, or a value of the type that its route declares."""

Refusal: TypeAlias = type[DagengineError] | str
"""An error that a route may respond with: an error class, or an errCode with HTTP status 400."""


@dataclass(frozen=True, slots=True)
class Route(Generic[B]):
    """A route of an operation; it always needs a login. `B` is the type of its body.

    The OpenAPI document contains everything except the handler.

    Attributes:
        method: HTTP method in upper case.
        path: path below `/api/v1`, such as `/ob/start`.
        model: pydantic model of the body; NoBody for a route without a body.
        handler: returns a DagDetail, or a value of type `answer`; raises subclasses of ApiError
            for error responses. The first line of its docstring is the route's summary.
        errors: errors that the handler may raise.
        query: pydantic model of the query; None for a route without query parameters.
        answer: type of the response's data; None for a DAG.
        plan: returns the plan for `?dryRun=true`; None if the route does not support a dry run.
        null_on_failure: `data` is null, not absent, if the business step fails (protocol 1.1);
            this always applies to routes that return a DAG.
    """

    method: str
    path: str
    model: type[B]
    handler: Handler[B]
    errors: tuple[Refusal, ...] = ()
    query: type[BaseModel] | None = None
    answer: Any = None
    plan: Planner[B] | None = None
    null_on_failure: bool = False


class ServerState(Protocol):
    """The configuration of one server; reading it never contacts a host."""

    @property
    def name(self) -> str:
        """Return `ip:agent_port`."""
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
    """The last known state of the cluster; reading it never contacts a host."""

    @property
    def name(self) -> str: ...

    @property
    def cluster_id(self) -> int: ...

    @property
    def servers(self) -> Sequence[ServerState]: ...

    @property
    def version(self) -> str:
        """Return the version of the server program; empty if it is not known yet."""
        ...

    @property
    def ob_state(self) -> int:
        """Return the state of the cluster (protocol 2.1).

        0 is not running, 1 running without connection, 2 restricted, 3 available.
        """
        ...

    @property
    def observed_at(self) -> datetime | None:
        """Return the time of the observation behind `ob_state`; None before the first one."""
        ...

    def root_password(self) -> str:
        """Return the password of root@sys; empty if root has no password by design."""
        ...

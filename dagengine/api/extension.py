"""The interface of an operations package to the API: routes, and a view of the cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeAlias

from pydantic import BaseModel
from typing_extensions import TypeVar

from dagengine.api.caller import Caller
from dagengine.engine.engine import Engine
from dagengine.errors import DagengineError
from dagengine.model.operation import IdempotencyKey, Submission
from dagengine.model.records import DagDetail


class NoBody(BaseModel):
    """Model of a route without a body; content that is sent anyway is ignored."""


class NoQuery(BaseModel):
    """Model of a route without query parameters; those that are sent anyway are ignored."""


B = TypeVar("B", bound=BaseModel, default=NoBody)
Q = TypeVar("Q", bound=BaseModel, default=NoQuery)


@dataclass(frozen=True, slots=True)
class Call(Generic[B]):
    """An authenticated request with validated inputs; `B` is the route's body model.

    Attributes:
        engine: the running engine.
        body: the validated body.
        caller: the caller; its text is stored in the audit.
        query: the validated query, an instance of the route's query model; None without a model.
        key: the request's idempotency key; None if the request has no key.
        path: the values of the path's parameters, such as `zone` of `/ob/zone/{zone}/stop`.
        condition: called with the submission in the step that creates the DAG; raises to create
            nothing.
    """

    engine: Engine
    body: B
    caller: Caller
    query: BaseModel | None = None
    key: IdempotencyKey | None = None
    path: Mapping[str, str] = field(default_factory=dict)
    condition: Callable[[Submission], None] | None = None

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
            by=str(self.caller),
            reason=reason,
            dedupe_window_s=dedupe_window_s,
            key=self.key,
            condition=None if self.condition is None else partial(self.condition, submission),
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
        basis: the facts on which the verdict depends, such as the process that a stop would end.
            A plan with another basis has another digest.
    """

    name: str
    verdict: Literal["start", "stop", "nothing", "blocked", "unknown"]
    reason: str
    checks: tuple[Mapping[str, Any], ...] = ()
    commands: tuple[str, ...] = ()
    basis: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The effect that a request would have.

    Attributes:
        submission: the DAG that would be created.
        lock_key: key of the required lock; None if it needs no lock.
        servers: the planned action on each server, in the order of the request's scope.
        notices: what users should know about the plan, such as that the cluster file is refused.
    """

    submission: Submission
    lock_key: str | None
    servers: tuple[ServerPlan, ...]
    notices: tuple[str, ...] = ()


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
        path: path below `/api/v1`, such as `/ob/start`; `{name}` is a parameter.
        model: pydantic model of the body; NoBody for a route without a body.
        handler: returns a DagDetail, or a value of type `answer`; raises subclasses of ApiError
            for error responses. The first line of its docstring is the route's summary.
        errors: errors that the handler may raise.
        query: pydantic model of the query; None for a route without query parameters.
        answer: type of the response's data; None for a DAG, NoneType for a response without data.
        plan: returns the plan for `?dryRun=true`; None if the route does not support a dry run.
        null_on_failure: `data` is null, not absent, if the business step fails (protocol 1.1);
            this always applies to routes that return a DAG.
        fleet_action: name under which the service offers this route for several clusters at once,
            as POST /fleet/v1/NAME; empty not to. Only for routes that return a DAG.
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
    fleet_action: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric.

    Attributes:
        value: the value; in seconds since 1970 for an instant.
        labels: the values of the metric's labels, in their order. /metrics needs no login, so that
            no label may contain the name of a host, a task or a person.
    """

    value: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GaugeMetric:
    """A gauge of an extension for /metrics.

    Attributes:
        name: name of the metric, such as `dagengine_server_up`.
        about: one sentence about it.
        samples: its values; a metric without samples is not exported.
        labels: names of its labels.
    """

    name: str
    about: str
    samples: tuple[Sample, ...]
    labels: tuple[str, ...] = ()


MetricSource: TypeAlias = Callable[[Engine], Awaitable[Sequence[GaugeMetric]]]
"""Returns the metrics of an extension; called at every scrape, and never contacts a host."""


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


class ObservedState(NamedTuple):
    """The last known state of a server, or of a cluster: the best of its servers (protocol 2.1).

    Attributes:
        ob_state: 0 not running, 1 running without connection, 2 restricted, 3 available.
        observed_at: time of the observation; None before the first one.
        is_known: False if `ob_state` is 0 only because a state is unknown.
    """

    ob_state: int
    observed_at: datetime | None
    is_known: bool


class ClusterView(Protocol):
    """The last known state of the cluster; reading it never contacts a host."""

    @property
    def name(self) -> str: ...

    @property
    def cluster_id(self) -> int: ...

    @property
    def flavour(self) -> str:
        """Return the name of the server program's kind, such as `seekdb`."""
        ...

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

    def state_at(self, name: str) -> ObservedState:
        """Return the state of the server of this name; without one, that of the cluster."""
        ...

    @property
    def file_digest(self) -> str:
        """Return a digest of the cluster file as it is in use."""
        ...

    def find_notices(self) -> Sequence[str]:
        """Return what users should know now, such as that the new cluster file is refused.

        Every response to a caller that has logged in contains it.
        """
        ...

    def root_password(self) -> str:
        """Return the password of root@sys; empty if root has no password by design."""
        ...

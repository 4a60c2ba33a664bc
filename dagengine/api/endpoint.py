"""Description of a route as a value: its inputs, its response and its errors."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeAlias, get_origin

from aiohttp import web
from pydantic import BaseModel

from dagengine.api.auth import CALLER, Authenticator
from dagengine.api.binding import IDEMPOTENCY_KEY, bind, bind_query, parse_key
from dagengine.api.context import ApiContext
from dagengine.api.dry_run import DryRun, render_plan
from dagengine.api.envelope import ABSENT
from dagengine.api.extension import B, Call, NoBody, Refusal, Route
from dagengine.api.middleware import ANSWER, FAILED_DATA, WebHandler
from dagengine.api.schemas.base import Contents
from dagengine.api.schemas.tasks import DagDetailDTO, PlanDto
from dagengine.errors import IdempotencyKeyReused, IllegalArgument
from dagengine.model.ids import GenericId, decode_id_at
from dagengine.model.records import DagDetail


class BoundRequest(NamedTuple, Generic[B]):
    """An authenticated request with validated inputs; `B` is the endpoint's body model.

    Attributes:
        id_text: the `{id}` of the path as given; empty for a path without an id.
        generic_id: the decoded id; None for a path without an id.
        query: an instance of the route's query model; None without a model.
        body: the validated body.
        caller: identity and address of the caller; empty if the route needs no login.
        request: the aiohttp request, for everything else, such as a header.
    """

    id_text: str
    generic_id: GenericId | None
    query: Any
    body: B
    caller: str
    request: web.Request


EndpointHandler: TypeAlias = Callable[[ApiContext, BoundRequest[B]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[B]):
    """A route. Its models validate requests and generate the OpenAPI document.

    Attributes:
        method: HTTP method in upper case.
        path: path below `/api/v1`.
        handler: the handler; the first line of its docstring is the route's summary.
        answer: type of `data`; None for a response without data.
        body: model of the body; NoBody for a route without a body.
        query: model of the query.
        errors: errors that the handler may raise, in addition to those that every route of its
            kind may raise.
        needs_login: False for a route that anyone may call.
        headers: additional request headers, with their descriptions.
        null_on_failure: `data` is null, not absent, if the business step fails (protocol 1.1).
        is_stream: the handler creates the whole response, a `text/event-stream`.
    """

    method: str
    path: str
    handler: EndpointHandler[B]
    answer: Any = None
    body: type[B] = field(kw_only=True)
    query: type[BaseModel] | None = None
    errors: tuple[Refusal, ...] = ()
    needs_login: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    null_on_failure: bool = False
    is_stream: bool = False

    @property
    def has_body(self) -> bool:
        """Whether requests have a body."""
        return self.body is not NoBody

    @property
    def failed_data(self) -> object:
        """Return the value of `data` in the response to a request whose business step failed."""
        if get_origin(self.answer) is Contents:
            return {"contents": None}
        return None if self.null_on_failure else ABSENT

    @property
    def summary(self) -> str:
        """Return the one-line description of the route."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[0].rstrip(".")


_ABOUT_KEY = "the same key and body again: the same task, also after a restart; other body: 409"


def make_handler(
    endpoint: Endpoint[B], ctx: ApiContext, authenticator: Authenticator
) -> WebHandler:
    """Return a web handler that responds with the return value of the endpoint's handler."""
    has_id, failed_data = "{id}" in endpoint.path, endpoint.failed_data
    needs_login = endpoint.needs_login

    async def handle(request: web.Request) -> web.StreamResponse:
        text = request.match_info["id"] if has_id else ""
        if "/" in text:
            raise web.HTTPNotFound  # an encoded slash: 404 even without a login
        content = await authenticator.open(request) if needs_login else b""
        bound = BoundRequest(  # in the order of protocol 3.4: id, query, body
            text,
            decode_id_at(text, ctx.engine.agent) if has_id else None,
            bind_query(request.query, endpoint.query) if endpoint.query else None,
            bind(content, endpoint.body),
            request[CALLER] if needs_login else "",
            request,
        )
        request[FAILED_DATA] = failed_data
        answer = await endpoint.handler(ctx, bound)
        return answer if endpoint.is_stream else request[ANSWER].success(answer)

    return handle


def make_endpoint(route: Route[B]) -> Endpoint[B]:
    """Return the endpoint of an operation's route; it returns a DAG unless `answer` is set."""
    creates = route.answer is None
    answer: Any = DagDetailDTO if creates else route.answer
    if route.plan is not None:
        answer = answer | PlanDto

    @functools.wraps(route.handler)
    async def handle(ctx: ApiContext, bound: BoundRequest[B]) -> Any:
        if route.plan is not None and bound.query.dryRun:
            plan = await route.plan(Call(ctx.engine, bound.body, bound.caller, bound.query))
            return await render_plan(ctx, plan)
        text = bound.request.headers.get(IDEMPOTENCY_KEY) if creates else None
        key = parse_key(text, route=f"{route.method} {route.path}", body=bound.body)
        # Look up the key before the handler runs, because the handler checks the cluster's current
        # state, which must not affect a DAG that was already created.
        if key is not None and (dag := await ctx.engine.find_submitted(key)) is not None:
            return ctx.wire.dag(dag)
        result = await route.handler(Call(ctx.engine, bound.body, bound.caller, bound.query, key))
        return ctx.wire.dag(result) if isinstance(result, DagDetail) else result

    return Endpoint(
        route.method,
        route.path,
        handle,
        answer,
        body=route.model,
        query=route.query if route.plan is None else DryRun,
        errors=(*route.errors, *((IllegalArgument, IdempotencyKeyReused) if creates else ())),
        headers={IDEMPOTENCY_KEY: _ABOUT_KEY} if creates else {},
        null_on_failure=creates or route.null_on_failure,
    )

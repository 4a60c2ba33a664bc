"""Description of a route as a value: its inputs, its response and its errors."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import NoneType
from typing import Any, Generic, NamedTuple, TypeAlias, get_origin

from aiohttp import web
from pydantic import BaseModel
from typing_extensions import TypeVar

from dagengine.api import messages
from dagengine.api.auth import BODY, Authenticator, address_of
from dagengine.api.binding import IDEMPOTENCY_KEY, bind, bind_query, parse_key
from dagengine.api.caller import Caller, Right, anyone_at, required_right
from dagengine.api.context import ApiContext
from dagengine.api.envelope import ABSENT
from dagengine.api.extension import B, Call, NoBody, NoQuery, Q, Refusal, Route
from dagengine.api.middleware import ANSWER, FAILED_DATA, NOTICES, FindNotices, WebHandler
from dagengine.api.plans.calls import make_plan, plan_changed_error, submit_planned
from dagengine.api.plans.digest import IF_PLAN_MATCHES, PlanDigest, parse_digest
from dagengine.api.plans.dry_run import DryRun, is_dry_run, render_plan
from dagengine.api.schemas.base import Contents
from dagengine.api.schemas.tasks import DagDetailDto, PlanDto
from dagengine.errors import IdempotencyKeyReused, IllegalArgument, PlanChanged
from dagengine.model.ids import GenericId, decode_id_at
from dagengine.model.records import DagDetail


class BoundRequest(NamedTuple, Generic[B, Q]):
    """An authenticated request with validated inputs; `B` and `Q` are its models of body and query.

    Attributes:
        id_text: the `{id}` of the path as given; empty for a path without an id.
        generic_id: the decoded id; None for a path without an id.
        query: the validated query; NoQuery for a route without query parameters.
        body: the validated body.
        caller: the caller; of kind ANYONE if the route needs no login.
        request: the aiohttp request, for everything else, such as a header.
    """

    id_text: str
    generic_id: GenericId | None
    query: Q
    body: B
    caller: Caller
    request: web.Request


C = TypeVar("C", default=ApiContext)

EndpointHandler: TypeAlias = Callable[[C, BoundRequest[B, Q]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[B, Q, C]):
    """A route. Its models validate requests and generate the OpenAPI document.

    `C` is the type of the context that the handler gets.

    Attributes:
        method: HTTP method in upper case.
        path: path below the root of its application, such as `/api/v1`.
        handler: the handler; the first line of its docstring is the route's summary.
        answer: type of `data`; None for a response without data.
        body: model of the body; NoBody for a route without a body.
        query: model of the query; NoQuery for a route without query parameters.
        errors: errors that the handler may raise, in addition to those that every route of its
            kind may raise.
        needs_login: False for a route that anyone may call.
        headers: additional request headers, with their descriptions.
        null_on_failure: `data` is null, not absent, if the business step fails (protocol 1.1).
        is_stream: the handler creates the whole response, a `text/event-stream`.
    """

    method: str
    path: str
    handler: EndpointHandler[C, B, Q]
    answer: Any = None
    body: type[B] = field(kw_only=True)
    query: type[Q] = field(kw_only=True)
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

_ABOUT_DIGEST = "digest of a dry run: 412, and nothing is done, if the plan is no longer the same"


def make_handler(
    endpoint: Endpoint[B, Q], ctx: ApiContext, authenticator: Authenticator
) -> WebHandler:
    """Return a web handler that responds with the return value of the endpoint's handler."""
    has_id, failed_data = "{id}" in endpoint.path, endpoint.failed_data
    needs_login, right = endpoint.needs_login, required_right(endpoint.method)
    has_dry_run = issubclass(endpoint.query, DryRun)

    async def handle(request: web.Request) -> web.StreamResponse:
        text = request.match_info["id"] if has_id else ""
        if "/" in text:
            raise web.HTTPNotFound  # an encoded slash: 404 even without a login
        if needs_login:
            caller, content = await authenticator.authenticate(request), request[BODY]
            is_plan = has_dry_run and is_dry_run(request.query)
            caller.ensure_right(Right.READ if is_plan else right)
        else:
            caller, content = anyone_at(address_of(request)), b""
        # Notices may contain paths, so only callers that have logged in receive them.
        find_notices: FindNotices = ctx.cluster.find_notices if needs_login else tuple
        request[NOTICES] = find_notices
        bound = BoundRequest(  # in the order of protocol 3.4: id, query, body
            text,
            decode_id_at(text, ctx.engine.agent) if has_id else None,
            bind_query(request.query, endpoint.query),
            bind(content, endpoint.body),
            caller,
            request,
        )
        request[FAILED_DATA] = failed_data
        answer = await endpoint.handler(ctx, bound)
        return answer if endpoint.is_stream else request[ANSWER].success(answer, find_notices())

    return handle


def make_endpoint(route: Route[B]) -> Endpoint[B, BaseModel]:
    """Return the endpoint of an operation's route; it returns a DAG unless `answer` is set."""
    creates = route.answer is None
    answer: Any = DagDetailDto if creates else route.answer
    if answer is NoneType:
        answer = None
    headers = {IDEMPOTENCY_KEY: _ABOUT_KEY} if creates else {}
    errors = (IllegalArgument, IdempotencyKeyReused) if creates else (IllegalArgument,)
    if route.plan is not None:
        answer = answer | PlanDto
        headers[IF_PLAN_MATCHES] = _ABOUT_DIGEST
        errors = (*errors, PlanChanged)

    @functools.wraps(route.handler)
    async def handle(ctx: ApiContext, bound: BoundRequest[B, BaseModel]) -> Any:
        path = bound.request.match_info
        call = Call(ctx.engine, bound.body, bound.caller, bound.query, path=path)
        if route.plan is not None and isinstance(bound.query, DryRun) and bound.query.dryRun:
            return await render_plan(ctx, await make_plan(route.plan, call, ctx.cluster))
        text = bound.request.headers.get(IDEMPOTENCY_KEY) if creates else None
        key = parse_key(text, route=f"{route.method} {route.path}", body=bound.body)
        # Look up the key before the handler runs, because the handler checks the cluster's current
        # state, which must not affect a DAG that was already created.
        if key is not None and (dag := await ctx.engine.find_submitted(key)) is not None:
            return ctx.wire.dag(dag)
        call = replace(call, key=key)
        expected = parse_digest_header(bound.request, route.plan is not None)
        if route.plan is None or expected is None:
            result = await route.handler(call)
            return ctx.wire.dag(result) if isinstance(result, DagDetail) else result
        planned = await submit_planned(route.handler, route.plan, call, ctx.cluster, expected)
        if isinstance(planned, DagDetail):
            return ctx.wire.dag(planned)
        error = plan_changed_error(planned.changes)
        error.data = {**await render_plan(ctx, planned)}
        raise error

    return Endpoint(
        route.method,
        route.path,
        handle,
        answer,
        body=route.model,
        query=(route.query or NoQuery) if route.plan is None else DryRun,
        errors=(*route.errors, *errors),
        headers=headers,
        null_on_failure=creates or route.null_on_failure,
    )


def parse_digest_header(request: web.Request, has_plan: bool) -> PlanDigest | None:
    """Return the digest in the header If-Plan-Matches; None without the header.

    Raises:
        IllegalArgument: the digest is malformed, or the route has no plans: the condition cannot be
            checked, and must not be ignored.
    """
    text = request.headers.get(IF_PLAN_MATCHES)
    if text is None:
        return None
    if not has_plan:
        raise IllegalArgument(
            messages.ROUTE_WITHOUT_PLAN(header=IF_PLAN_MATCHES), remedy=messages.OMIT_HEADER()
        )
    return parse_digest(text)

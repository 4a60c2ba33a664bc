"""The route table of the service, and the application that serves it."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from aiohttp import web
from typing_extensions import TypeVar

from dagengine.api.auth import BODY, BODY_LIMIT_BYTES, FLEET_ROOT, Authenticator
from dagengine.api.binding import IDEMPOTENCY_KEY, bind, bind_query
from dagengine.api.caller import required_right
from dagengine.api.document.openapi import DOCUMENT_PATH, render_openapi, serving
from dagengine.api.endpoint import BoundRequest, Endpoint
from dagengine.api.extension import B, NoBody, NoQuery, Q
from dagengine.api.fleet import handlers
from dagengine.api.fleet.certificates import ClientCertificates
from dagengine.api.fleet.handlers import FleetContext
from dagengine.api.fleet.monitoring import FleetMonitoring
from dagengine.api.fleet.schemas import (
    BulkBody,
    BulkResultDto,
    ClusterDto,
    ControllerDto,
    FleetDagDto,
    FleetSearch,
)
from dagengine.api.handlers import tokens
from dagengine.api.login.schemes import AUTHENTICATOR, Login
from dagengine.api.middleware import ANSWER, NOTICES, WebHandler, envelope_middleware
from dagengine.api.schemas.base import Contents, Page
from dagengine.api.schemas.tokens import NewTokenDto, TokenDto
from dagengine.errors import ClusterInUse, ClusterUnknown, IllegalArgument
from dagengine.messages_zh import TEMPLATES as CHINESE
from dagengine.runtime.clock import Clock
from dagengine.security.request_origin import OriginPolicy
from dagengine.security.tokens import SERVICE
from dagengine.translation import Translator

_READ = partial(Endpoint, body=NoBody, query=NoQuery)
_ABOUT_KEY = "the same key and body again: the same tasks, also after a restart"
_ABOUT = """\
The service of a dagengine controller: all of its clusters. Every answer has the same envelope as
that of a cluster's API.

Callers are identified by the unix socket, by a TLS client certificate, or by a service token.
Bodies are plain JSON."""

FLEET: tuple[Endpoint[Any, Any, FleetContext], ...] = (
    _READ("GET", "/clusters", handlers.list_clusters, Contents[ClusterDto]),
    _READ("DELETE", "/clusters/{name}", handlers.forget, errors=(ClusterUnknown, ClusterInUse)),
    _READ("GET", "/controllers", handlers.list_controllers, Contents[ControllerDto]),
    Endpoint(
        *("GET", "/dags", handlers.search_dags, Page[FleetDagDto]),
        body=NoBody,
        query=FleetSearch,
        errors=(IllegalArgument, ClusterUnknown),
    ),
    Endpoint(
        *("POST", "/start", handlers.start, Contents[BulkResultDto]),
        body=BulkBody,
        query=NoQuery,
        errors=(IllegalArgument, ClusterUnknown),
        headers={IDEMPOTENCY_KEY: _ABOUT_KEY},
    ),
    _READ("GET", "/tokens", tokens.list_tokens, Contents[TokenDto], errors=tokens.REFUSALS),
    Endpoint(
        "POST",
        "/tokens",
        tokens.create_service_token,
        NewTokenDto,
        body=tokens.ServiceTokenBody,
        query=NoQuery,
        errors=tokens.CREATE_REFUSALS,
    ),
    Endpoint(
        "DELETE",
        "/tokens/{name}",
        tokens.revoke_token,
        body=NoBody,
        query=tokens.RevokeQuery,
        errors=(*tokens.REVOKE_REFUSALS, IllegalArgument),
    ),
)
"""The routes of the service, below `/fleet/v1`."""

C = TypeVar("C")


def build_fleet_app(
    ctx: FleetContext,
    *,
    login: Login,
    clock: Clock,
    version: str,
    address: tuple[str, int],
    allowed_hosts: Collection[str] = (),
    accepts_certificates: bool = False,
) -> web.Application:
    """Build the application of the service.

    Args:
        ctx: the clusters and controllers.
        login: authenticates callers with the store and the key of the service.
        clock: source of time.
        version: version of this program.
        address: ip and port of the TCP listener.
        allowed_hosts: names by which clients reach the service, besides IP addresses and
            `localhost`.
        accepts_certificates: TLS client certificates identify callers.
    """
    monitoring = FleetMonitoring(ctx.fleet, clock)
    policy = OriginPolicy.create(allowed_hosts, address)
    translator = Translator(({"zh": CHINESE},))
    app = web.Application(
        middlewares=[envelope_middleware(clock, monitoring.time_request, policy, translator)],
        client_max_size=BODY_LIMIT_BYTES,
    )
    authenticator = login.install(
        app,
        cluster=SERVICE,
        passwords=None,
        replay=None,
        accepts_certificates=accepts_certificates,
    )
    if accepts_certificates:
        schemes = (*authenticator.schemes, ClientCertificates(login.body_timeout_s))
        app[AUTHENTICATOR] = authenticator = Authenticator(schemes)
    for endpoint in FLEET:
        handler = _make_handler(endpoint, ctx, authenticator)
        app.router.add_route(endpoint.method, FLEET_ROOT + endpoint.path, handler)
    document = partial(render_openapi, FLEET, version, root=FLEET_ROOT, about=_ABOUT)
    app.router.add_route("GET", DOCUMENT_PATH, serving(document))
    app.router.add_get("/healthz", monitoring.get_health)
    app.router.add_get("/readyz", monitoring.get_readiness)
    app.router.add_get("/metrics", monitoring.get_metrics)
    app.on_response_prepare.append(_drop_server_header)
    return app


def _make_handler(endpoint: Endpoint[B, Q, C], ctx: C, authenticator: Authenticator) -> WebHandler:
    """Return a web handler that responds with the return value of the endpoint's handler."""
    right = required_right(endpoint.method)

    async def handle(request: web.Request) -> web.StreamResponse:
        caller = await authenticator.authenticate(request)
        caller.ensure_right(right)
        request[NOTICES] = tuple
        bound = BoundRequest(
            "",
            None,
            bind_query(request.query, endpoint.query),
            bind(request[BODY], endpoint.body),
            caller,
            request,
        )
        return request[ANSWER].success(await endpoint.handler(ctx, bound))

    return handle


async def _drop_server_header(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)

"""The application of a cluster's listener while another controller owns the cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from dagengine.api.app import CORE, OWN_TABLES
from dagengine.api.auth import (
    API_ROOT,
    BODY_LIMIT_BYTES,
    Authenticator,
    address_of,
    read_body,
)
from dagengine.api.caller import Caller, anyone_at, required_right
from dagengine.api.forwarding.forwarder import Forwarder
from dagengine.api.forwarding.owner import OWNER_PATH, OwnershipView, OwnerStatus
from dagengine.api.handlers.controller import render_secret
from dagengine.api.login.schemes import Login
from dagengine.api.middleware import ANSWER, envelope_middleware
from dagengine.model.ids import AgentAddress
from dagengine.security.credentials import Passwords
from dagengine.security.replay import ReplayGuard
from dagengine.security.request_origin import OriginPolicy
from dagengine.translation import Tables, Translator

WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LOCAL = frozenset({"/secret"})
"""Open paths that every controller of the service answers alike."""


def build_forwarding_app(
    *,
    forwarder: Forwarder,
    view: OwnershipView,
    login: Login,
    passwords: Callable[[], Passwords],
    replay: ReplayGuard,
    agent: AgentAddress,
    allowed_hosts: Collection[str] = (),
    translations: Sequence[Tables] = (),
) -> web.Application:
    """Build the application.

    Args:
        forwarder: sends requests to the owner.
        view: what this controller knows about the owner.
        login: authenticates callers.
        passwords: returns the passwords that are valid now.
        replay: replay protection in memory; the owner makes sure that a request acts only once.
        agent: the cluster's address in ids.
        allowed_hosts: names by which clients reach the controller, besides IP addresses and
            `localhost`.
        translations: texts of errors in other languages than English.
    """
    policy = OriginPolicy.create(allowed_hosts, (agent.ip, agent.port))
    translator = Translator((OWN_TABLES, *translations))
    app = web.Application(
        middlewares=[envelope_middleware(login.clock, _ignore, policy, translator)],
        client_max_size=BODY_LIMIT_BYTES,
    )
    authenticator = login.install(app, cluster=view.cluster, passwords=passwords, replay=replay)
    forwarding = _Forwarding(forwarder, authenticator, login.body_timeout_s)

    async def get_secret(request: web.Request) -> web.StreamResponse:
        return request[ANSWER].success(render_secret(agent, login.key.public_key))

    app.router.add_get("/healthz", _get_health)
    app.router.add_get(OWNER_PATH, OwnerStatus(view).get_owner)
    app.router.add_get(f"{API_ROOT}/secret", get_secret)
    for endpoint in CORE:
        if endpoint.is_stream:
            handler = forwarding.redirect
        elif endpoint.needs_login or endpoint.path in _LOCAL:
            continue
        else:
            handler = partial(forwarding.forward, needs_login=False)
        app.router.add_route(endpoint.method, API_ROOT + endpoint.path, handler)
    app.router.add_route("*", API_ROOT + "/{path:.*}", forwarding.forward)
    return app


async def _get_health(_request: web.Request) -> web.StreamResponse:
    """Respond with 200; this only shows that the process is alive."""
    return web.Response(text="ok\n")


def _ignore(_method: str, _route: str, _status: int, _took_s: float) -> None:
    """Forwarded requests are measured by the owner."""


@dataclass(frozen=True, slots=True)
class _Forwarding:
    """The handlers that pass requests on."""

    forwarder: Forwarder
    authenticator: Authenticator
    body_timeout_s: float

    async def forward(
        self, request: web.Request, *, needs_login: bool = True
    ) -> web.StreamResponse:
        """Authenticate the caller and return the owner's response."""
        self.forwarder.refuse_second_hop(request)
        caller = await self._caller_of(request) if needs_login else anyone_at(address_of(request))
        body = await read_body(request, timeout_s=self.body_timeout_s)  # as received; kept by then
        return await self.forwarder.forward(request, caller, body)

    async def redirect(self, request: web.Request) -> web.StreamResponse:
        """Name the owner to an authenticated caller."""
        self.forwarder.refuse_second_hop(request)
        await self._caller_of(request)
        raise await self.forwarder.redirect(request)

    async def _caller_of(self, request: web.Request) -> Caller:
        caller = await self.authenticator.authenticate(request)
        caller.ensure_right(required_right(request.method))
        return caller

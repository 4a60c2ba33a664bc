"""The route table, and the application that serves it."""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from aiohttp import web

from dagengine.api.auth import API_ROOT, BODY_LIMIT_BYTES, AuthScheme
from dagengine.api.context import CONTEXT, ApiContext
from dagengine.api.document.docs_page import add_docs_page
from dagengine.api.document.openapi import DOCUMENT_PATH, render_openapi, serving
from dagengine.api.endpoint import Endpoint, make_endpoint, make_handler
from dagengine.api.event_streams import EventStreams
from dagengine.api.extension import ClusterView, MetricSource, NoBody, NoQuery, Route
from dagengine.api.forwarding.owner import (
    OWNER_PATH,
    OwnershipView,
    OwnerStatus,
    SoleOwner,
    standing_middleware,
)
from dagengine.api.handlers import controller as identity
from dagengine.api.handlers import events as follow
from dagengine.api.handlers import lists as pages
from dagengine.api.handlers import tasks, tokens
from dagengine.api.handlers.monitoring import Health
from dagengine.api.login.schemes import Login
from dagengine.api.login.token_manager import TokenManager
from dagengine.api.metrics import Counters, CounterSource, Metrics
from dagengine.api.middleware import envelope_middleware
from dagengine.api.render.records import RecordRenderer
from dagengine.api.schemas.base import Contents, Page, Time
from dagengine.api.schemas.controller import BuildDto, InfoDto, SecretDto, StatusDto
from dagengine.api.schemas.tasks import (
    AttemptDto,
    AuditDto,
    DagDetailDto,
    LockDto,
    LogDto,
    NodeDetailDto,
    SummaryDto,
    TaskDetailDto,
)
from dagengine.api.schemas.tokens import NewTokenDto, TokenDto
from dagengine.engine.engine import Engine
from dagengine.errors import IllegalArgument, InvalidId, TaskNotFound
from dagengine.messages_zh import TEMPLATES as CHINESE
from dagengine.model.changes import AuditAppended, Batch
from dagengine.model.records import AuditRecord
from dagengine.runtime.clock import Clock
from dagengine.security.credentials import Passwords
from dagengine.security.replay import ReplayGuard
from dagengine.security.request_origin import OriginPolicy
from dagengine.security.server_key import ServerKey
from dagengine.store.contract import Store
from dagengine.translation import Tables, Translator

_READ = partial(Endpoint, body=NoBody, query=NoQuery)
_OPEN = partial(_READ, needs_login=False)
_TASK = partial(_READ, errors=(InvalidId, TaskNotFound))
_DETAILED = partial(_READ, query=tasks.Details)
_FOUND = partial(_TASK, query=tasks.Details)
_HELD = partial(_DETAILED, errors=(TaskNotFound,))
_OPERATED = partial(Endpoint, body=tasks.OperatorBody, query=NoQuery)

CORE: tuple[Endpoint[Any, Any], ...] = (
    _OPEN("GET", "/time", identity.get_time, Time),
    _OPEN("GET", "/info", identity.get_info, InfoDto),
    _OPEN("GET", "/git-info", identity.get_build, BuildDto),
    _OPEN("GET", "/status", identity.get_status, StatusDto, query=identity.ObQuery),
    _OPEN("POST", "/status", identity.get_status, StatusDto, query=identity.ObQuery),
    _OPEN("GET", "/secret", identity.get_secret, SecretDto),
    _DETAILED("GET", "/task/dag/unfinish", tasks.list_unfinished, Contents[DagDetailDto]),
    _DETAILED("GET", "/task/dag/ob/unfinish", tasks.list_no_dags, Contents[DagDetailDto]),
    _DETAILED("GET", "/task/dag/agent/unfinish", tasks.list_unfinished, Contents[DagDetailDto]),
    _HELD("GET", "/task/dag/maintain/ob", tasks.get_holder, DagDetailDto),
    _HELD("GET", "/task/dag/maintain/agent", tasks.get_holder, DagDetailDto),
    _DETAILED(
        "GET",
        "/task/dag/maintain/agents",
        tasks.list_holders_as_main_dags,
        Contents[DagDetailDto],
    ),
    _DETAILED("GET", "/task/dag/agent/main_dags", tasks.list_unfinished, Contents[DagDetailDto]),
    _DETAILED("GET", "/task/dags/ob", tasks.list_no_dags, Contents[DagDetailDto]),
    _DETAILED("GET", "/task/dags/agent", tasks.list_dags, Contents[DagDetailDto]),
    _FOUND("GET", "/task/dag/{id}", tasks.get_dag, DagDetailDto),
    _OPERATED("POST", "/task/dag/{id}", tasks.operate_dag, errors=tasks.DAG_REFUSALS),
    _TASK(
        "GET",
        "/task/dag/{id}/events",
        follow.follow_dag,
        errors=(InvalidId, TaskNotFound, IllegalArgument),
        headers={follow.LAST_EVENT_ID: "number of the last event that came; only later ones then"},
        is_stream=True,
    ),
    _TASK("GET", "/task/dag/{id}/audit", pages.list_audit, Page[AuditDto], query=pages.AuditPage),
    _FOUND("GET", "/task/node/{id}", tasks.get_node, NodeDetailDto),
    _OPERATED("POST", "/task/node/{id}", tasks.operate_node, errors=tasks.NODE_REFUSALS),
    _TASK("GET", "/task/sub_task/{id}", tasks.get_sub_task, TaskDetailDto),
    _TASK("GET", "/task/sub_task/{id}/logs", tasks.list_logs, Contents[LogDto]),
    _TASK("GET", "/task/sub_task/{id}/attempts", tasks.list_attempts, Contents[AttemptDto]),
    _TASK("GET", "/task/dags", pages.search_dags, Page[DagDetailDto], query=pages.DagSearch),
    _TASK("GET", "/audit", pages.list_all_audit, Page[AuditDto], query=pages.AuditPage),
    _READ("GET", "/locks", pages.list_locks, Contents[LockDto]),
    _READ("GET", "/summary", pages.get_summary, SummaryDto),
    _READ("GET", "/tokens", tokens.list_tokens, Contents[TokenDto], errors=tokens.REFUSALS),
    Endpoint(
        "POST",
        "/tokens",
        tokens.create_token,
        NewTokenDto,
        body=tokens.TokenBody,
        query=NoQuery,
        errors=tokens.CREATE_REFUSALS,
    ),
    Endpoint(
        "DELETE",
        "/tokens/{name}",
        tokens.revoke_token,
        body=NoBody,
        query=tokens.RevokeQuery,
        errors=tokens.REVOKE_REFUSALS,
    ),
)
"""The built-in routes of a controller; operations add their own (see extension.Route)."""

METRICS = web.AppKey("metrics", Metrics)
"""The metrics of an application."""

EVENT_STREAMS = web.AppKey("event_streams", EventStreams)
"""The event streams of an application."""

OWN_TABLES: Tables = {"zh": CHINESE}
"""The texts of errors of `dagengine` in other languages than English."""


def build_app(
    *,
    engine: Engine,
    cluster: ClusterView,
    routes: Sequence[Route[Any]],
    key: ServerKey,
    replay: ReplayGuard,
    store: Store,
    clock: Clock,
    version: str,
    root_password: Callable[[], str],
    agent_password: Callable[[], str],
    before_retry: Callable[[], None],
    allowed_hosts: Collection[str] = (),
    body_timeout_s: float = 30.0,
    figures: CounterSource = Counters,
    metrics_label: str = "",
    translations: Sequence[Tables] = (),
    forwarded: AuthScheme | None = None,
    ownership: OwnershipView | None = None,
    metric_sources: Sequence[MetricSource] = (),
) -> web.Application:
    """Build the application of one controller.

    Args:
        engine: the engine, already entered.
        cluster: view of the managed cluster.
        routes: the routes that operations add.
        key: decrypts headers.
        replay: replay protection, already loaded.
        store: the opened store of the engine, for tokens and sessions.
        clock: source of time.
        version: version of this program.
        root_password: returns the password of root@sys.
        agent_password: returns the configured agent password; empty if it is not configured.
        before_retry: called before an ended DAG continues (retry, rollback, pass of a node), so
            that corrections made in the meantime take effect.
        allowed_hosts: names by which clients reach the controller, besides IP addresses and
            `localhost`.
        body_timeout_s: time limit for receiving a body, in seconds.
        figures: counters of other parts of the process, for /metrics.
        metrics_label: the label `cluster` of the metrics; empty for metrics without it.
        translations: texts of the errors of `routes` in other languages than English.
        forwarded: authenticates requests that other controllers forward; None to accept none.
        ownership: for `GET /owner`; None if this is the only controller.
        metric_sources: the metrics of operations, for /metrics.
    """

    def passwords() -> Passwords:
        return Passwords(root_password(), agent_password() or None)

    wire = RecordRenderer(engine.agent)
    feeds = EventStreams(engine, wire)
    ctx = ApiContext(
        engine=engine,
        cluster=cluster,
        wire=wire,
        feeds=feeds,
        clock=clock,
        public_key=key.public_key,
        version=version,
        pid=os.getpid(),
        machine=platform.machine(),
        has_agent_password=lambda: bool(agent_password()),
        before_retry=before_retry,
        tokens=TokenManager(
            store, cluster.name, clock, secrets.token_bytes, partial(_append_audit, store, clock)
        ),
        has_root_password=lambda: bool(root_password()),
    )
    metrics = Metrics(engine, clock, figures, metrics_label, version, metric_sources)
    translator = Translator((OWN_TABLES, *translations))
    policy = OriginPolicy.create(allowed_hosts, (engine.agent.ip, engine.agent.port))
    app = web.Application(
        middlewares=[envelope_middleware(clock, metrics.time_request, policy, translator)],
        client_max_size=BODY_LIMIT_BYTES,
    )
    app[CONTEXT] = ctx
    app[EVENT_STREAMS] = feeds
    if ownership is not None:
        app.middlewares.append(standing_middleware(ownership))
    login = Login(store, key, clock, body_timeout_s)
    authenticator = login.install(
        app, cluster=cluster.name, passwords=passwords, replay=replay, forwarded=forwarded
    )
    table = (*CORE, *map(make_endpoint, routes))
    for endpoint in table:
        handler = make_handler(endpoint, ctx, authenticator)
        app.router.add_route(endpoint.method, API_ROOT + endpoint.path, handler)
    document = partial(render_openapi, table, version)
    app.router.add_route("GET", DOCUMENT_PATH, serving(document))
    app[METRICS] = metrics
    add_docs_page(app)
    health = Health(engine, clock, metrics)
    view = SoleOwner(cluster.name) if ownership is None else ownership
    app.router.add_get(OWNER_PATH, OwnerStatus(view).get_owner)
    app.router.add_get("/healthz", health.get_health)
    app.router.add_get("/readyz", health.get_readiness)
    app.router.add_get("/metrics", health.get_metrics)
    app.on_response_prepare.append(_drop_server_header)

    async def end_streams(_app: web.Application) -> None:
        await feeds.stop()  # subscribers reconnect to the next controller

    app.on_shutdown.append(end_streams)
    return app


async def _append_audit(store: Store, clock: Clock, action: str, by: str, reason: str) -> None:
    row = AuditRecord(0, clock.now(), 0, None, action, by, reason)
    (refusal,) = await store.commit([Batch(0, None, (AuditAppended(row),))])
    if refusal is not None:
        raise refusal


async def _drop_server_header(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)

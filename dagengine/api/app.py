"""The route table, and the application that serves it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from aiohttp import web

from dagengine.api.auth import API_ROOT, BODY_LIMIT_BYTES, Authenticator
from dagengine.api.context import ApiContext
from dagengine.api.endpoint import Endpoint, make_endpoint, make_handler
from dagengine.api.event_streams import EventStreams
from dagengine.api.extension import ClusterView, NoBody, Route
from dagengine.api.handlers import controller as identity
from dagengine.api.handlers import events as follow
from dagengine.api.handlers import lists as pages
from dagengine.api.handlers import tasks
from dagengine.api.handlers.monitoring import Health
from dagengine.api.metrics import Counters, CounterSource, Metrics
from dagengine.api.middleware import envelope_middleware
from dagengine.api.openapi import DOCUMENT_PATH, render_openapi, serving
from dagengine.api.render.records import RecordRenderer
from dagengine.api.schemas.base import Contents, Page, Time
from dagengine.api.schemas.controller import BuildDto, InfoDto, SecretDto, StatusDto
from dagengine.api.schemas.tasks import (
    AttemptDto,
    AuditDto,
    DagDetailDTO,
    LockDto,
    LogDto,
    NodeDetailDTO,
    TaskDetailDTO,
)
from dagengine.engine.engine import Engine
from dagengine.errors import IllegalArgument, InvalidId, TaskNotFound
from dagengine.runtime.clock import Clock
from dagengine.security.credentials import Passwords
from dagengine.security.login_throttle import LoginBackoff, LoginLimiter
from dagengine.security.replay import ReplayGuard
from dagengine.security.server_key import ServerKey

_READ = partial(Endpoint, body=NoBody)
_OPEN = partial(_READ, needs_login=False)
_TASK = partial(_READ, errors=(InvalidId, TaskNotFound))
_DETAILED = partial(_READ, query=tasks.Details, errors=(IllegalArgument,))
_FOUND = partial(_TASK, query=tasks.Details, errors=(InvalidId, TaskNotFound, IllegalArgument))
_HELD = partial(_DETAILED, errors=(IllegalArgument, TaskNotFound))
_PAGED = partial(_READ, errors=(InvalidId, TaskNotFound, IllegalArgument))
_OPERATED = partial(Endpoint, body=tasks.OperatorBody)

CORE: tuple[Endpoint[Any], ...] = (
    _OPEN("GET", "/time", identity.get_time, Time),
    _OPEN("GET", "/info", identity.get_info, InfoDto),
    _OPEN("GET", "/git-info", identity.get_build, BuildDto),
    _OPEN("GET", "/status", identity.get_status, StatusDto, query=identity.ObQuery),
    _OPEN("POST", "/status", identity.get_status, StatusDto, query=identity.ObQuery),
    _OPEN("GET", "/secret", identity.get_secret, SecretDto),
    _DETAILED("GET", "/task/dag/unfinish", tasks.list_unfinished, Contents[DagDetailDTO]),
    _DETAILED("GET", "/task/dag/ob/unfinish", tasks.list_unfinished, Contents[DagDetailDTO]),
    _DETAILED("GET", "/task/dag/agent/unfinish", tasks.list_unfinished, Contents[DagDetailDTO]),
    _HELD("GET", "/task/dag/maintain/ob", tasks.get_holder, DagDetailDTO),
    _HELD("GET", "/task/dag/maintain/agent", tasks.get_holder, DagDetailDTO),
    _DETAILED("GET", "/task/dag/maintain/agents", tasks.list_holders, Contents[DagDetailDTO]),
    _DETAILED("GET", "/task/dag/agent/main_dags", tasks.list_main_dags, Contents[DagDetailDTO]),
    _DETAILED("GET", "/task/dags/ob", tasks.list_dags, Contents[DagDetailDTO]),
    _DETAILED("GET", "/task/dags/agent", tasks.list_dags, Contents[DagDetailDTO]),
    _FOUND("GET", "/task/dag/{id}", tasks.get_dag, DagDetailDTO),
    _OPERATED("POST", "/task/dag/{id}", tasks.operate_dag, errors=tasks.DAG_REFUSALS),
    _TASK(
        "GET",
        "/task/dag/{id}/events",
        follow.follow_dag,
        errors=(InvalidId, TaskNotFound, IllegalArgument),
        headers={follow.LAST_EVENT_ID: "number of the last event that came; only later ones then"},
        is_stream=True,
    ),
    _PAGED("GET", "/task/dag/{id}/audit", pages.list_audit, Page[AuditDto], query=pages.AuditPage),
    _FOUND("GET", "/task/node/{id}", tasks.get_node, NodeDetailDTO),
    _OPERATED("POST", "/task/node/{id}", tasks.operate_node, errors=tasks.NODE_REFUSALS),
    _TASK("GET", "/task/sub_task/{id}", tasks.get_sub_task, TaskDetailDTO),
    _TASK("GET", "/task/sub_task/{id}/logs", tasks.list_logs, Contents[LogDto]),
    _TASK("GET", "/task/sub_task/{id}/attempts", tasks.list_attempts, Contents[AttemptDto]),
    _PAGED("GET", "/task/dags", pages.search_dags, Page[DagDetailDTO], query=pages.DagSearch),
    _PAGED("GET", "/audit", pages.list_all_audit, Page[AuditDto], query=pages.AuditPage),
    _READ("GET", "/locks", pages.list_locks, Contents[LockDto]),
)
"""The built-in routes of a controller; operations add their own (see extension.Route)."""


def build_app(
    *,
    engine: Engine,
    cluster: ClusterView,
    routes: Sequence[Route[Any]],
    key: ServerKey,
    replay: ReplayGuard,
    clock: Clock,
    version: str,
    root_password: Callable[[], str],
    agent_password: Callable[[], str],
    before_retry: Callable[[], None],
    body_timeout_s: float = 30.0,
    figures: CounterSource = Counters,
) -> web.Application:
    """Build the application of one controller.

    Args:
        engine: the engine, already entered.
        cluster: view of the managed cluster.
        routes: the routes that operations add.
        key: decrypts headers.
        replay: replay protection, already loaded.
        clock: source of time.
        version: version of this program.
        root_password: returns the password of root@sys.
        agent_password: returns the configured agent password; empty if it is not configured.
        before_retry: called before an ended DAG continues (retry, rollback, pass of a node), so
            that corrections made in the meantime take effect.
        body_timeout_s: time limit for receiving a body, in seconds.
        figures: counters of other parts of the process, for /metrics.
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
    )
    authenticator = Authenticator(
        key, clock, passwords, replay, LoginBackoff(clock), LoginLimiter(), body_timeout_s
    )
    metrics = Metrics(engine, clock, figures)
    app = web.Application(
        middlewares=[envelope_middleware(clock, metrics.time_request)],
        client_max_size=BODY_LIMIT_BYTES,
    )
    table = (*CORE, *map(make_endpoint, routes))
    for endpoint in table:
        handler = make_handler(endpoint, ctx, authenticator)
        app.router.add_route(endpoint.method, API_ROOT + endpoint.path, handler)
    app.router.add_route("GET", DOCUMENT_PATH, serving(render_openapi(table, version)))
    health = Health(engine, clock, metrics)
    app.router.add_get("/healthz", health.get_health)
    app.router.add_get("/readyz", health.get_readiness)
    app.router.add_get("/metrics", health.get_metrics)
    app.on_response_prepare.append(_drop_server_header)

    async def end_streams(_app: web.Application) -> None:
        await feeds.stop()  # subscribers reconnect to the next controller

    app.on_shutdown.append(end_streams)
    return app


async def _drop_server_header(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)

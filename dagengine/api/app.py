"""All routes on one screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web

from dagengine.api.handlers import Desk
from dagengine.api.middleware import API_ROOT, Gate, Handler, answering, envelope_middleware
from dagengine.api.route import ClusterView, Route
from dagengine.api.wire import Wire
from dagengine.clock import Clock
from dagengine.engine.engine import Engine
from dagengine.security.credentials import Passwords
from dagengine.security.key import ServerKey

_BODY_LIMIT_BYTES = 1024 * 1024


def build_app(
    *,
    engine: Engine,
    cluster: ClusterView,
    routes: Sequence[Route],
    key: ServerKey,
    clock: Clock,
    version: str,
    root_password: Callable[[], str],
    agent_password: Callable[[], str],
    before_retry: Callable[[], None],
) -> web.Application:
    """The application of one controller.

    Args:
        engine: entered.
        cluster: what the controller serves.
        routes: what the operations add.
        key: decrypts headers.
        clock: where time comes from.
        version: of this program.
        root_password: of root@sys, which callers must know.
        agent_password: the configured agent password; empty for none.
        before_retry: called before an ended DAG goes on (retry, rollback, a passed node), so that
            what was mended is seen.
    """

    def passwords() -> Passwords:
        return Passwords(root_password(), agent_password() or None)

    desk = Desk(
        engine=engine,
        cluster=cluster,
        wire=Wire(engine.agent),
        clock=clock,
        public_key=key.public_key,
        version=version,
        has_agent_password=lambda: bool(agent_password()),
        before_retry=before_retry,
    )
    gate = Gate(key, clock, passwords)
    table: list[tuple[str, str, Handler, Gate | None]] = [
        ("GET", "/time", desk.time, None),
        ("GET", "/info", desk.info, None),
        ("GET", "/git-info", desk.git_info, None),
        ("GET", "/status", desk.status, None),
        ("POST", "/status", desk.status, None),
        ("GET", "/secret", desk.secret, None),
        ("GET", "/task/dag/unfinish", desk.list_unfinished, gate),
        ("GET", "/task/dag/ob/unfinish", desk.list_unfinished, gate),
        ("GET", "/task/dag/agent/unfinish", desk.list_unfinished, gate),
        ("GET", "/task/dags/ob", desk.list_dags, gate),
        ("GET", "/task/dags/agent", desk.list_dags, gate),
        ("GET", "/task/dag/{id}", desk.get_dag, gate),
        ("POST", "/task/dag/{id}", desk.operate_dag, gate),
        ("GET", "/task/dag/{id}/audit", desk.list_audit, gate),
        ("GET", "/task/node/{id}", desk.get_node, gate),
        ("POST", "/task/node/{id}", desk.operate_node, gate),
        ("GET", "/task/sub_task/{id}", desk.get_sub_task, gate),
        ("GET", "/task/sub_task/{id}/logs", desk.get_logs, gate),
        ("GET", "/task/sub_task/{id}/attempts", desk.list_attempts, gate),
        ("GET", "/audit", desk.list_all_audit, gate),
        *((route.method, route.path, desk.operation(route), gate) for route in routes),
    ]
    app = web.Application(
        middlewares=[envelope_middleware(clock)], client_max_size=_BODY_LIMIT_BYTES
    )
    for method, path, handler, door in table:
        app.router.add_route(method, API_ROOT + path, answering(handler, door))
    app.on_response_prepare.append(_drop_server_header)
    return app


async def _drop_server_header(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)

"""The API client, with one method for each call."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator
from types import TracebackType
from urllib.parse import urlencode

from dagengine.client import messages
from dagengine.client.events import Event, follow_events
from dagengine.client.tls import TlsConfig
from dagengine.client.transport import Dto, Transport
from dagengine.errors import ControllerUnreachable, InvalidId
from dagengine.runtime.backoff import Backoff

_ID = re.compile(r"[0-9A-Za-z+-]+")  # such a text cannot span several segments of a path
_REPEATS = Backoff((0.1, 0.5))  # before `create` repeats a call


class Client:
    """Client of a controller. Use it as an async context manager.

    Args:
        url: URL of the controller, such as `https://db1:2886`, or `unix:PATH` for its socket.
        password: password of root@sys; may be empty, and is not used at a socket.
        timeout_s: time limit of one call, in seconds.
        trust: TLS settings for an https URL; by default the CA certificates of the system.

    Every method can raise ControllerUnreachable and ApiRefused. Methods with an id raise InvalidId
    before sending anything if the text is not a valid id.
    """

    def __init__(
        self,
        url: str,
        password: str,
        *,
        timeout_s: float = 30.0,
        trust: TlsConfig = TlsConfig(),  # noqa: B008  # frozen
    ) -> None:
        self.url = url.rstrip("/")
        self._transport = Transport(self.url, password, timeout_s, trust)

    async def __aenter__(self) -> Client:
        await self._transport.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._transport.close()

    async def info(self) -> Dto:
        """Return the identity of the controller; does not need a password."""
        return await self._get_unsigned("/info")

    async def secret(self) -> Dto:
        """Return the public key that encrypts request headers; does not need a password."""
        return await self._get_unsigned("/secret")

    async def status(self) -> Dto:
        """Return the state of the controller; does not need a password."""
        return await self._get_unsigned("/status")

    async def post(self, path: str, body: Dto, *, key: str = "") -> Dto:
        """POST to a path below `/api/v1`; return the data of the response, or `{}` without data.

        `key` is the idempotency key of a call that creates a DAG; empty to send no key.
        """
        headers = {"Idempotency-Key": key} if key else None
        data: Dto = await self._transport.call("POST", path, body, headers)
        return data

    async def create(self, path: str, body: Dto, *, key: str = "") -> Dto:
        """POST to a path that creates a DAG, and repeat the call if the connection breaks.

        The call uses the given idempotency key or a new one, so a repetition returns the DAG that
        the controller has already created instead of creating a second one.
        """
        key = key or secrets.token_hex(16)
        for pause_s in _REPEATS.steps_s:
            try:
                return await self.post(path, body, key=key)
            except ControllerUnreachable:
                await asyncio.sleep(pause_s)
        return await self.post(path, body, key=key)

    async def get(self, path: str) -> Dto:
        """GET a path (with query) below `/api/v1`; return the data of the response."""
        data: Dto = await self._transport.call("GET", path)
        return data

    async def start(
        self,
        scope: str,
        targets: list[str] | None = None,
        force_pass: list[str] | None = None,
        skip_checks: list[str] | None = None,
        *,
        dry_run: bool = False,
    ) -> Dto:
        """Start observers and return the DAG; with `dry_run`, only return the plan."""
        body: Dto = {
            "scope": {"type": scope, "target": targets or []},
            "forcePassDag": {"id": force_pass or []},
        }
        if skip_checks:
            body["skipChecks"] = skip_checks
        if dry_run:
            return await self.post("/ob/start?dryRun=true", body)
        return await self.create("/ob/start", body)

    async def stop(
        self,
        scope: str,
        targets: list[str] | None = None,
        *,
        force: bool = False,
        terminate: bool = False,
        force_pass: list[str] | None = None,
        dry_run: bool = False,
    ) -> Dto:
        """Stop observers and return the DAG; with `dry_run`, only return the plan.

        By default, the observers are taken out of service by SQL and their processes keep running.
        `terminate` ends the processes after a minor freeze, `force` ends them immediately.
        """
        body = {
            "scope": {"type": scope, "target": targets or []},
            "force": force,
            "terminate": terminate,
            "forcePassDag": {"id": force_pass or []},
        }
        if dry_run:
            return await self.post("/ob/stop?dryRun=true", body)
        return await self.create("/ob/stop", body)

    async def get_dag(self, dag_id: str, *, details: bool = True) -> Dto:
        """Return a DAG; with `details`, including its nodes, sub-tasks and log lines."""
        return await self.get(f"{_path('dag', dag_id)}?show_details={str(details).lower()}")

    async def get_node(self, node_id: str) -> Dto:
        """Return a node with its sub-tasks, their log lines, and the reason why each waits."""
        return await self.get(_path("node", node_id))

    async def list_unfinished(self) -> list[Dto]:
        """Return every READY or RUNNING DAG with details, newest first."""
        return list((await self.get("/task/dag/unfinish?show_details=true"))["contents"] or [])

    async def list_dags(self, *, details: bool = False) -> list[Dto]:
        """Return the newest DAGs (at most 1000), newest first."""
        query = str(details).lower()
        return list((await self.get(f"/task/dags/ob?show_details={query}"))["contents"] or [])

    async def search_dags(
        self, *, state: str = "", name: str = "", page: int = 100
    ) -> AsyncGenerator[Dto]:
        """Yield all matching DAGs without details, newest first, fetching them in pages.

        Args:
            state: READY, RUNNING, FAILED or SUCCEED; empty for any.
            name: operation name such as `Start OB`; empty for any.
            page: number of DAGs per request, 1 to 1000.
        """
        query = {"state": state, "name": name, "limit": page, "cursor": ""}
        while True:
            response = await self.get(f"/task/dags?{urlencode(query)}")
            for dag in response["contents"]:
                yield dag
            if response["next_cursor"] is None:
                return
            query["cursor"] = response["next_cursor"]

    async def list_locks(self) -> list[Dto]:
        """Return every lock with its holder, its start time, and what the holder waits for."""
        return list((await self.get("/locks"))["contents"])

    async def get_logs(self, sub_task_id: str) -> list[Dto]:
        """Return the log lines of all attempts of a sub-task."""
        return list((await self.get(f"{_path('sub_task', sub_task_id)}/logs"))["contents"] or [])

    def follow(
        self, dag_id: str, *, after: int = 0, patience_s: float = 60.0
    ) -> AsyncGenerator[Event]:
        """Yield the events of a DAG, each once and in order, until the DAG has ended.

        The client reconnects if the connection breaks or the controller restarts. Use
        `contextlib.aclosing` if you may leave the loop early.

        Args:
            dag_id: id of the DAG.
            after: number of the last known event; 0 to receive all events.
            patience_s: how long the controller may be unreachable, in seconds.
        """
        return follow_events(self._transport, _path("dag", dag_id), after, patience_s)

    async def operate_dag(self, dag_id: str, operator: str, *, reason: str = "") -> None:
        """Apply RETRY, ROLLBACK, CANCEL or PASS to a DAG; the audit records the reason."""
        await self.post(_path("dag", dag_id), {"operator": operator, "reason": reason})

    async def pass_node(self, node_id: str, *, reason: str = "") -> None:
        """PASS a FAILED node; its DAG continues with the next node."""
        await self.post(_path("node", node_id), {"operator": "PASS", "reason": reason})

    async def list_audit(self, dag_id: str = "") -> list[Dto]:
        """Return the audit rows of a DAG, or of all DAGs, newest first."""
        path = f"{_path('dag', dag_id)}/audit" if dag_id else "/audit"
        return list((await self.get(path))["contents"])

    async def list_attempts(self, sub_task_id: str) -> list[Dto]:
        """Return the attempts of a sub-task with their log lines, oldest first."""
        return list((await self.get(f"{_path('sub_task', sub_task_id)}/attempts"))["contents"])

    async def _get_unsigned(self, path: str) -> Dto:
        data: Dto = await self._transport.get_unsigned(path)
        return data


def _path(kind: str, generic_id: str) -> str:
    """Return the path of a DAG, node or sub-task; does not check that it exists."""
    if not _ID.fullmatch(generic_id):
        raise InvalidId(generic_id or "''", messages.ID_CHARACTERS())
    return f"/task/{kind}/{generic_id}"

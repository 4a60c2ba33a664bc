"""The calls of the API, one method each."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator
from types import TracebackType
from urllib.parse import urlencode

from dagengine.client.events import Event, follow_events
from dagengine.client.tls import TlsConfig
from dagengine.client.transport import Dto, Transport
from dagengine.errors import ControllerUnreachable, InvalidId

_ID = re.compile(r"[0-9A-Za-z+-]+")  # whatever else it says, it stays one part of a path
_REPEATS_S = (0.1, 0.5)  # pauses before a call that creates is made again


class Client:
    """Signs and sends calls. Use it as an async context manager.

    Args:
        url: of the controller, such as `https://db1:2886`, or `unix:PATH` of its socket.
        password: of root@sys; may be empty, and is not used at a socket.
        timeout_s: bound on one call, in seconds.
        trust: whom to believe at an https URL; by default what the system does.

    Every method raises ControllerUnreachable or ApiRefused; one that is given an id raises
    InvalidId, before anything is sent, for a text that cannot be one.
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
        self._door = Transport(self.url, password, timeout_s, trust)

    async def __aenter__(self) -> Client:
        await self._door.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._door.close()

    async def info(self) -> Dto:
        """Who the controller is; needs no password."""
        return await self._ask_openly("/info")

    async def secret(self) -> Dto:
        """The key that requests are signed for; needs no password."""
        return await self._ask_openly("/secret")

    async def status(self) -> Dto:
        """The controller's state; needs no password."""
        return await self._ask_openly("/status")

    async def post(self, path: str, body: Dto, *, key: str = "") -> Dto:
        """POST to a path below `/api/v1`; the answer's data, `{}` when there is none.

        `key` is the idempotency key of a call that creates a DAG; empty for none.
        """
        headers = {"Idempotency-Key": key} if key else None
        data: Dto = await self._door.call("POST", path, body, headers)
        return data

    async def create(self, path: str, body: Dto, *, key: str = "") -> Dto:
        """POST to a path that creates a DAG, so that it creates one.

        Every call has an idempotency key of its own (or the given one), so it can be repeated when
        the connection breaks: what the controller has already made is found again.
        """
        key = key or secrets.token_hex(16)
        for pause_s in _REPEATS_S:
            try:
                return await self.post(path, body, key=key)
            except ControllerUnreachable:
                await asyncio.sleep(pause_s)
        return await self.post(path, body, key=key)

    async def get(self, path: str) -> Dto:
        """GET a path (with its query) below `/api/v1`."""
        data: Dto = await self._door.call("GET", path)
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
        """Start observers; returns the DAG, or (`dry_run`) only what would be done."""
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
        """Stop observers, out of service by SQL or (force, terminate) for good; returns the DAG.

        With `dry_run` nothing is changed; returns what would be done.
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
        """A DAG; with its nodes, sub-tasks and lines when `details`."""
        return await self.get(f"{_path('dag', dag_id)}?show_details={str(details).lower()}")

    async def get_node(self, node_id: str) -> Dto:
        """A stage of a DAG, with its sub-tasks, their lines, and what each of them waits for."""
        return await self.get(_path("node", node_id))

    async def list_unfinished(self) -> list[Dto]:
        """Every READY or RUNNING DAG with details, newest first."""
        return list((await self.get("/task/dag/unfinish?show_details=true"))["contents"] or [])

    async def list_dags(self, *, details: bool = False) -> list[Dto]:
        """Every DAG, newest first."""
        query = str(details).lower()
        return list((await self.get(f"/task/dags/ob?show_details={query}"))["contents"] or [])

    async def search_dags(
        self, *, state: str = "", name: str = "", page: int = 100
    ) -> AsyncGenerator[Dto]:
        """DAGs without details, newest first, however many there are.

        Args:
            state: READY, RUNNING, FAILED or SUCCEED; empty for any.
            name: such as `Start OB`; empty for any.
            page: how many to fetch at once, 1 to 1000.
        """
        asked = {"state": state, "name": name, "limit": page, "cursor": ""}
        while True:
            found = await self.get(f"/task/dags?{urlencode(asked)}")
            for dag in found["contents"]:
                yield dag
            if found["next_cursor"] is None:
                return
            asked["cursor"] = found["next_cursor"]

    async def list_locks(self) -> list[Dto]:
        """Every lock: who holds it, since when, and what the holder waits for."""
        return list((await self.get("/locks"))["contents"])

    async def get_logs(self, sub_task_id: str) -> list[Dto]:
        """A sub-task's log rows of all attempts."""
        return list((await self.get(f"{_path('sub_task', sub_task_id)}/logs"))["contents"] or [])

    def follow(
        self, dag_id: str, *, after: int = 0, patience_s: float = 60.0
    ) -> AsyncGenerator[Event]:
        """A DAG's events, each once and in order, until the DAG has ended.

        Goes on by itself when the connection breaks or the controller is restarted. Leave it with
        `contextlib.aclosing` when you break out of it.

        Args:
            dag_id: which DAG.
            after: number of the last event that you know; 0 for all of them.
            patience_s: how long a controller may be away, in seconds.
        """
        return follow_events(self._door, _path("dag", dag_id), after, patience_s)

    async def operate_dag(self, dag_id: str, operator: str, *, reason: str = "") -> None:
        """Ask RETRY, ROLLBACK, CANCEL or PASS of a DAG; the reason goes to the audit."""
        await self.post(_path("dag", dag_id), {"operator": operator, "reason": reason})

    async def pass_node(self, node_id: str, *, reason: str = "") -> None:
        """PASS a FAILED node: its DAG goes on behind it."""
        await self.post(_path("node", node_id), {"operator": "PASS", "reason": reason})

    async def list_audit(self, dag_id: str = "") -> list[Dto]:
        """What was done to a DAG, or to all of them, newest first."""
        path = f"{_path('dag', dag_id)}/audit" if dag_id else "/audit"
        return list((await self.get(path))["contents"])

    async def list_attempts(self, sub_task_id: str) -> list[Dto]:
        """A sub-task's attempts with their lines, oldest first."""
        return list((await self.get(f"{_path('sub_task', sub_task_id)}/attempts"))["contents"])

    async def _ask_openly(self, path: str) -> Dto:
        data: Dto = await self._door.ask_openly(path)
        return data


def _path(kind: str, generic_id: str) -> str:
    """Where that DAG, node or sub-task is. Whether there is one is for the controller to say."""
    if not _ID.fullmatch(generic_id):
        raise InvalidId(generic_id or "''", "an id has letters and digits only")
    return f"/task/{kind}/{generic_id}"

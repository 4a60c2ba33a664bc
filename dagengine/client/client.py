"""The API client, with one method for each call."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from urllib.parse import quote, urlencode

from dagengine.client import forms, messages
from dagengine.client.events import StreamEvent, follow_events
from dagengine.client.tls import TlsConfig
from dagengine.client.transport import FLEET_ROOT, ROOT, Dto, Transport
from dagengine.errors import ApiRefused, ControllerUnreachable, InvalidId
from dagengine.runtime.backoff import Backoff

_ID = re.compile(r"[0-9A-Za-z+-]+")  # such a text cannot span several segments of a path
_REPEATS = Backoff((0.1, 0.5))  # before `create` repeats a call whose connection broke
_OWNER_REPEATS = Backoff((0.1, 0.5, 1.0, 2.0, 3.0))  # and a call while the cluster has no owner


class Client:
    """Client of a controller. Use it as an async context manager.

    Args:
        url: URL of the controller, such as `https://db1:2886`, or `unix:PATH` for its socket.
        password: password of root@sys; may be empty, and is not used at a socket.
        timeout_s: time limit of one call, in seconds.
        trust: TLS settings for an https URL; by default the CA certificates of the system.
        claim: who the caller is, such as `user@host`; the audit records it as not verified.
        token: an API token, which is sent in place of the password: over TLS, loopback or a socket
            only. Entering the context raises ConfigError for another URL.

    Every method can raise ControllerUnreachable and ApiRefused, and ResponseMalformed if the server
    at the URL is not a controller of this version; `get` and `post` do not check the data. Methods
    with an id raise InvalidId before sending anything if the text is not a valid id.
    """

    def __init__(
        self,
        url: str,
        password: str,
        *,
        timeout_s: float = 30.0,
        trust: TlsConfig = TlsConfig(),  # noqa: B008  # frozen
        claim: str = "",
        token: str = "",
    ) -> None:
        self.url = url.rstrip("/")
        self._transport = Transport(self.url, password, timeout_s, trust, claim, token)

    @property
    def notices(self) -> tuple[str, ...]:
        """What users should know, according to the last response to a call with a password.

        For example, that the controller refuses the new cluster file and uses the previous one.
        """
        return self._transport.notices

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
        return await self._get_unsigned("/info", forms.INFO)

    async def secret(self) -> Dto:
        """Return the public key that encrypts request headers; does not need a password."""
        return await self._get_unsigned("/secret", forms.SECRET)

    async def status(self) -> Dto:
        """Return the state of the controller; does not need a password."""
        return await self._get_unsigned("/status", forms.STATUS)

    async def post(self, path: str, body: Dto, *, key: str = "", if_plan: str = "") -> Dto:
        """POST to a path below `/api/v1`; return the data of the response, or `{}` without data.

        `key` is the idempotency key of a call that creates a DAG; empty to send no key. `if_plan`
        is the digest of the only plan with which the call is to be executed; empty for any plan.
        """
        headers = {"Idempotency-Key": key} if key else {}
        if if_plan:
            headers["If-Plan-Matches"] = if_plan
        data: Dto = await self._transport.call("POST", path, body, headers)
        return data

    async def create(self, path: str, body: Dto, *, key: str = "", if_plan: str = "") -> Dto:
        """POST to a path that creates a DAG; repeat the call if the connection breaks.

        It is also repeated, for some seconds, while no controller owns the cluster.

        The call uses the given idempotency key or a new one, so a repetition returns the DAG that
        the controller has already created instead of creating a second one.
        """
        key = key or secrets.token_hex(16)
        pauses, owner_pauses = iter(_REPEATS.steps_s), iter(_OWNER_REPEATS.steps_s)
        while True:
            try:
                return await self.post(path, body, key=key, if_plan=if_plan)
            except ControllerUnreachable:
                if (pause_s := next(pauses, None)) is None:
                    raise
            except ApiRefused as exc:
                if not exc.is_temporary or (pause_s := next(owner_pauses, None)) is None:
                    raise
            await asyncio.sleep(pause_s)

    async def get(self, path: str) -> Dto:
        """GET a path (with query) below `/api/v1`; return the data of the response.

        The call is repeated, for some seconds, while no controller owns the cluster.
        """
        for pause_s in _OWNER_REPEATS.steps_s:
            try:
                data: Dto = await self._transport.call("GET", path)
            except ApiRefused as exc:
                if not exc.is_temporary:
                    raise
            else:
                return data
            await asyncio.sleep(pause_s)
        last: Dto = await self._transport.call("GET", path)
        return last

    async def start(
        self,
        scope: str,
        targets: list[str] | None = None,
        force_pass: list[str] | None = None,
        skip_checks: list[str] | None = None,
        *,
        dry_run: bool = False,
        if_plan: str = "",
        key: str = "",
        reason: str = "",
    ) -> Dto:
        """Start servers and return the DAG; with `dry_run`, only return the plan.

        Args:
            scope: GLOBAL, ZONE or SERVER.
            targets: zones or servers.
            force_pass: ids of DAGs to pass if they hold the lock.
            skip_checks: names of checks that must not block.
            dry_run: only return the plan.
            if_plan: `digest` of a plan; if the plan is different now, nothing is done.
            key: idempotency key; empty for a new one.
            reason: reason for the audit.

        Raises:
            ApiRefused: with `if_plan`, the status 412 means that the plan has changed; `data` of
                the error is the new plan.
        """
        body: Dto = {
            "scope": {"type": scope, "target": targets or []},
            "forcePassDag": {"id": force_pass or []},
        }
        if skip_checks:
            body["skipChecks"] = skip_checks
        if reason:
            body["reason"] = reason
        if dry_run:
            return self._checked(await self.post("/ob/start?dryRun=true", body), forms.PLAN)
        created = await self.create("/ob/start", body, key=key, if_plan=if_plan)
        return self._checked(created, forms.DAG)

    async def stop(
        self,
        scope: str,
        targets: list[str] | None = None,
        *,
        force: bool = False,
        terminate: bool = False,
        force_pass: list[str] | None = None,
        dry_run: bool = False,
        if_plan: str = "",
        key: str = "",
        reason: str = "",
    ) -> Dto:
        """Stop servers and return the DAG; with `dry_run`, only return the plan.

        By default, the servers are taken out of service by SQL and their processes keep running.
        `terminate` ends the processes after a minor freeze, `force` ends them immediately.
        The other arguments and the errors are those of `start`.
        """
        body: Dto = {
            "scope": {"type": scope, "target": targets or []},
            "force": force,
            "terminate": terminate,
            "forcePassDag": {"id": force_pass or []},
        }
        if reason:
            body["reason"] = reason
        if dry_run:
            return self._checked(await self.post("/ob/stop?dryRun=true", body), forms.PLAN)
        created = await self.create("/ob/stop", body, key=key, if_plan=if_plan)
        return self._checked(created, forms.DAG)

    async def get_dag(self, dag_id: str, *, details: bool = True) -> Dto:
        """Return a DAG; with `details`, including its nodes, sub-tasks and log lines."""
        query = f"show_details={str(details).lower()}"
        return await self._read(f"{_path('dag', dag_id)}?{query}", forms.DAG)

    async def get_node(self, node_id: str) -> Dto:
        """Return a node with its sub-tasks, their log lines, and the reason why each waits."""
        return await self._read(_path("node", node_id), forms.NODE)

    async def get_topology(self, *, probe_now: bool = False) -> Dto:
        """Return the zones with their servers; `probe_now` probes every server first."""
        query = "?probe=now" if probe_now else ""
        return await self._read(f"/obcluster/topology/info{query}", forms.TOPOLOGY)

    async def list_servers(self) -> list[Dto]:
        """Return the address and the zone of every server."""
        return list((await self._read("/ob/info", forms.SERVERS))["agent_info"])

    async def list_unfinished(self) -> list[Dto]:
        """Return every READY or RUNNING DAG with details, newest first."""
        path = "/task/dag/unfinish?show_details=true"
        return list((await self._read(path, forms.DAGS))["contents"] or [])

    async def list_dags(self, *, details: bool = False) -> list[Dto]:
        """Return the newest DAGs (at most 1000), newest first."""
        path = f"/task/dags/agent?show_details={str(details).lower()}"
        return list((await self._read(path, forms.DAGS))["contents"] or [])

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
            response = await self._read(f"/task/dags?{urlencode(query)}", forms.DAG_PAGE)
            for dag in response["contents"]:
                yield dag
            if response["next_cursor"] is None:
                return
            query["cursor"] = response["next_cursor"]

    async def list_locks(self) -> list[Dto]:
        """Return every lock with its holder, its start time, and what the holder waits for."""
        return list((await self._read("/locks", forms.LOCKS))["contents"])

    async def get_logs(self, sub_task_id: str) -> list[Dto]:
        """Return the log lines of all attempts of a sub-task."""
        path = f"{_path('sub_task', sub_task_id)}/logs"
        return list((await self._read(path, forms.LOGS))["contents"] or [])

    def follow(
        self, dag_id: str, *, after: int = 0, patience_s: float = 60.0
    ) -> AsyncGenerator[StreamEvent]:
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
        return list((await self._read(path, forms.AUDIT))["contents"])

    async def list_attempts(self, sub_task_id: str) -> list[Dto]:
        """Return the attempts of a sub-task with their log lines, oldest first."""
        path = f"{_path('sub_task', sub_task_id)}/attempts"
        return list((await self._read(path, forms.ATTEMPTS))["contents"])

    async def create_token(
        self,
        name: str,
        *,
        read_only: bool = False,
        expires_s: int | None = None,
        service: bool = False,
        clusters: Sequence[str] | None = None,
    ) -> Dto:
        """Create an API token; only this response has its text, in `token`.

        Needs the password of root@sys, or the unix socket.

        Args:
            name: unique name, which the audit shows.
            read_only: the token may read and plan, not change.
            expires_s: seconds until it expires; None if it does not expire.
            service: a token of the service at this URL, not of a cluster.
            clusters: the clusters that a token of the service may use; None for all.
        """
        body: Dto = {"name": name, "rights": "read" if read_only else "act"}
        body["expires_s"] = expires_s
        if service:
            body["clusters"] = None if clusters is None else list(clusters)
        data: Dto = await self._transport.call("POST", "/tokens", body, root=_token_root(service))
        return data

    async def list_tokens(self, *, service: bool = False) -> list[Dto]:
        """Return all API tokens, without their texts, ordered by name."""
        data: Dto = await self._transport.call("GET", "/tokens", root=_token_root(service))
        return list(data["contents"])

    async def revoke_token(self, name: str, *, reason: str = "", service: bool = False) -> None:
        """Revoke an API token; it is refused from the next request on."""
        query = f"?{urlencode({'reason': reason})}" if reason else ""
        path = f"/tokens/{quote(name, safe='')}{query}"
        await self._transport.call("DELETE", path, root=_token_root(service))

    async def _read(self, path: str, form: forms.Form) -> Dto:
        return self._checked(await self.get(path), form)

    async def _get_unsigned(self, path: str, form: forms.Form) -> Dto:
        return self._checked(await self._transport.get_unsigned(path), form)

    def _checked(self, data: Dto, form: forms.Form) -> Dto:
        """Return the data of a response that has the form of a controller's."""
        self._transport.check(data, form)
        return data


def _token_root(service: bool) -> str:
    return FLEET_ROOT if service else ROOT


def _path(kind: str, generic_id: str) -> str:
    """Return the path of a DAG, node or sub-task; does not check that it exists."""
    if not _ID.fullmatch(generic_id):
        raise InvalidId(generic_id or "''", messages.ID_CHARACTERS())
    return f"/task/{kind}/{generic_id}"

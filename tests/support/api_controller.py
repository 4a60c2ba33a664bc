"""A controller whose operation contacts no host, and a caller that uses the wire only."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import ClientSession, web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from pydantic import BaseModel
from yarl import URL

from dagengine import (
    AgentAddress,
    DagDetail,
    Engine,
    Failed,
    Flags,
    Operation,
    Outcome,
    Problem,
    SqliteStore,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.api.app import build_app
from dagengine.api.forwarding.owner import OwnershipView
from dagengine.api.forwarding.scheme import ForwardedRequests
from dagengine.extension import Call, Route
from dagengine.remote.ssh.pool import SshPool
from dagengine.security.forwarded_header import KEY_PURPOSE, NonceLog
from dagengine.security.replay import ReplayGuard
from dagengine.security.server_key import ServerKey
from dagengine.testing import FakeClock, Latch
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.demo.hosts import free_port
from tasks.flavours.select import FLAVOURS
from tasks.messages_zh import TEMPLATES as CHINESE
from tasks.monitoring.monitor import ClusterMonitor
from tasks.operations.names import START_OB
from tasks.routes.cluster_info import read_routes
from tasks.routes.start_stop import start_route

VECTORS = json.loads((Path(__file__).parents[1] / "vectors.json").read_text(encoding="utf-8"))


def load_key(bits: str) -> rsa.RSAPrivateKey:
    pem = VECTORS["rsa_keys"][bits]["private_key_pkcs1_pem"].encode()
    private = serialization.load_pem_private_key(pem, None)
    assert isinstance(private, rsa.RSAPrivateKey)
    return private


KEY, OTHER_KEY = load_key("2048"), load_key("1024")

PASSWORD, AGENT_PASSWORD = "r00t-p@ss", "agent-p@ss"
AGENT = AgentAddress("10.10.10.1", 2886)
FIRST, SECOND = "10.0.0.1:2886", "[fe80::1]:2887"
KEYS = bytes(range(32))

ROOT_HEADER, AGENT_HEADER = "X-OCS-Header", "X-OCS-Agent-Header"
START = {"scope": {"type": "GLOBAL", "target": []}, "forcePassDag": {"id": []}}

CLUSTER = """
name: wire
id: 1
flavour: seekdb
root_password_env: WIRE_PASSWORD
defaults: {home: /home/admin/seekdb}
ssh: {host: 127.0.0.1, port: 1, known_hosts: /dev/null}  # no process listens there
zones:
  zone1: [{ip: 10.0.0.1}]
  zone2: [{ip: "fe80::1", agent_port: 2887, sql_port: 2891, home: /home/admin/seekdb2}]
"""

ENVELOPE = ["successful", "timestamp", "duration", "status", "traceId"]
DAG = [
    *("id", "dag_id", "name", "stage", "max_stage", "maintenance_type", "maintenance_key"),
    *("state", "operator", "start_time", "end_time", "additional_data", "nodes"),
]
NODE = [
    *("id", "node_id", "name", "state", "operator", "start_time", "end_time"),
    *("additional_data", "sub_tasks"),
]
SUB_TASK = [
    *("id", "task_id", "name", "state", "operator", "start_time", "end_time"),
    *("additional_data", "execute_times", "execute_agent", "task_logs"),
]
LOG = [
    *("id", "sub_task_id", "execute_times", "log_content", "is_sync", "create_time"),
    "update_time",
]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?(Z|[+-]\d\d:\d\d)")


# --- a client that knows nothing of dagengine --------------------------------------------------


def encrypt_header(plain: bytes, key: rsa.RSAPrivateKey = KEY, *, chunk: int = 53) -> str:
    public = key.public_key()
    blocks = (plain[at : at + chunk] for at in range(0, len(plain), chunk))
    cipher = b"".join(public.encrypt(block, padding.PKCS1v15()) for block in blocks)
    return base64.b64encode(cipher).decode()


def encrypt_body(plain: bytes, keys: bytes = KEYS) -> str:
    fill = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(keys[:16]), modes.CBC(keys[16:])).encryptor()
    cipher = encryptor.update(plain + bytes([fill]) * fill) + encryptor.finalize()
    return base64.b64encode(cipher).decode()


@dataclass(frozen=True)
class ApiResponse:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.text)
        return body

    @property
    def data(self) -> Any:
        assert self.status == 200, self.text
        return self.body["data"]

    @property
    def refusal(self) -> tuple[int, str, int | None]:
        """Status, errCode and integer code."""
        error = self.body["error"]
        return self.status, error["errCode"], error.get("code")


class OddBody(BaseModel):
    """Body of a route that breaks."""


@dataclass
class ApiController:
    """A controller, the script of its steps, and a caller."""

    directory: Path
    session: ClientSession
    clock: FakeClock = field(default_factory=FakeClock)
    port: int = field(default_factory=free_port)
    agent: AgentAddress = AGENT
    agent_password: str = ""
    broken: set[str] = field(default_factory=set)
    flags: Flags = Flags()  # noqa: RUF009  # frozen
    latch: Latch | None = None
    reloads: int = 0
    ownership: OwnershipView | None = None
    root_password: str | None = None  # None: as in the cluster file

    def __post_init__(self) -> None:
        path = self.directory / "cluster.yaml"
        path.write_text(CLUSTER)
        self.cluster = ClusterFile(path, FLAVOURS)
        self.pool = SshPool(self.clock, Random(1))
        self.monitor = ClusterMonitor(ClusterAccess(self.cluster, self.pool, self.clock))
        stages = (
            Stage("Prepare", StageKind.NORMAL, self._prepare),
            Stage("Work", StageKind.PARALLEL, self._work),
            Stage("Finish", StageKind.NORMAL, self._finish),
        )
        fixed = (Stage("Stay", StageKind.NORMAL, self._stay, flags=Flags(*[False] * 5)),)
        self.engine_store = SqliteStore(self.directory / "store.sqlite")
        self.engine = Engine(
            store=self.engine_store,
            operations=[
                Operation(START_OB, stages, lock_key="cluster", takes_lock="Prepare"),
                Operation("Fixed", fixed),
            ],
            advertise=self.agent,
            clock=self.clock,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # --- the caller ------------------------------------------------------------------------

    async def send(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: str | io.BytesIO | None = None,
    ) -> ApiResponse:
        """Send one request, exactly as given."""
        async with self.session.request(
            method,
            URL(self.url + target, encoded=True),
            headers=headers,
            data=body,
            allow_redirects=False,
        ) as response:
            return ApiResponse(response.status, response.headers, await response.text())

    def sign(
        self, target: str, *, name: str = ROOT_HEADER, auth: str = PASSWORD, **changes: Any
    ) -> dict[str, str]:
        """A header for a request; `changes` replaces parts of its plain text."""
        plain = {
            "auth": auth,
            "ts": str(int(self.clock.now().timestamp()) + 60),
            "uri": target,
            "keys": base64.b64encode(KEYS).decode(),
        } | changes
        return {name: encrypt_header(json.dumps(plain).encode())}

    async def send_signed(
        self, method: str, path: str, body: Any = None, **header: Any
    ) -> ApiResponse:
        """Send a signed request below `/api/v1`, as the SDK does."""
        target = f"/api/v1{path}"
        plain = body if isinstance(body, bytes | None) else dump(body)
        keys = secrets.token_bytes(32)
        text = None if plain is None else encrypt_body(plain, keys)
        header = {"keys": base64.b64encode(keys).decode()} | header
        return await self.send(method, target, headers=self.sign(target, **header), body=text)

    async def get(self, path: str, **header: Any) -> Any:
        return (await self.send_signed("GET", path, **header)).data

    async def start(self, body: Any = START) -> dict[str, Any]:
        dag: dict[str, Any] = (await self.send_signed("POST", "/ob/start", body)).data
        return dag

    async def wait_for_end(self, dag: Mapping[str, Any]) -> dict[str, Any]:
        """Wait until a DAG has ended; return it with its details."""
        async with asyncio.timeout(20):
            await self.engine.wait(dag["dag_id"])
        dag: dict[str, Any] = await self.get(f"/task/dag/{dag['id']}")
        return dag

    async def start_held(self) -> dict[str, Any]:
        """Start a DAG whose second stage waits at the latch."""
        self.latch = Latch()
        dag = await self.start()
        async with asyncio.timeout(20):
            await self.latch.reached.wait()
        dag: dict[str, Any] = await self.get(f"/task/dag/{dag['id']}")
        return dag

    async def start_failing(self) -> dict[str, Any]:
        """Start a DAG that fails on the second server, and wait for its end."""
        self.broken = {SECOND}
        return await self.wait_for_end(await self.start())

    # --- the operation -----------------------------------------------------------------------

    async def _prepare(self, context: StepContext) -> Outcome:
        await context.acquire_lock(context.params.get("force_pass", ()))
        return Succeeded()

    async def _work(self, context: StepContext) -> Outcome:
        target = context.target
        assert target is not None
        await context.log(f"{target}: at work")
        if self.latch is not None:
            await self.latch.wait()
        self.clock.advance(1)
        if target in self.broken:
            return Failed(
                Problem("Wire.Broken", f"{target} is broken", "repair it"), {"level": "no"}
            )
        return Succeeded(evidence={"z": 1, "level": "sql", "a": {"y": 1, "x": 2}})

    async def _finish(self, context: StepContext) -> Outcome:
        self.clock.advance(1)
        return Succeeded(summary="all done")

    async def _stay(self, context: StepContext) -> Outcome:
        if self.latch is not None:
            await self.latch.wait()
        return Failed(Problem("Wire.Broken", "it never works"))

    # --- the application ---------------------------------------------------------------------

    def _root_password(self) -> str:
        return self.cluster.root_password() if self.root_password is None else self.root_password

    def app(self, key: ServerKey) -> web.Application:
        async def fixed(call: Call[OddBody]) -> DagDetail:
            return await call.engine.submit(Submission("Fixed"))

        async def odd(call: Call[OddBody]) -> DagDetail:
            raise RuntimeError("a defect inside")

        def count() -> None:
            self.reloads += 1

        replay = ReplayGuard(self.clock, self.engine_store)
        forwarded = self.ownership and ForwardedRequests(
            key.derive_key(KEY_PURPOSE), key, self.ownership, self.clock, replay, NonceLog(), 30.0
        )
        return build_app(
            engine=self.engine,
            cluster=self.cluster,
            routes=[
                start_route(self.cluster),
                *read_routes(self.cluster, self.monitor),
                Route("POST", "/fixed", OddBody, fixed),
                Route("POST", "/odd", OddBody, odd),
            ],
            key=key,
            replay=replay,
            store=self.engine_store,
            clock=self.clock,
            version="1.2.3-4",
            root_password=self._root_password,
            agent_password=lambda: self.agent_password,
            before_retry=count,
            translations=[{"zh": CHINESE}],
            forwarded=forwarded,
            ownership=self.ownership,
        )


def dump(body: Any) -> bytes:
    return json.dumps(body).encode()


@asynccontextmanager
async def open_api_controller(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    agent: AgentAddress = AGENT,
    ownership: OwnershipView | None = None,
) -> AsyncIterator[ApiController]:
    """Open a controller; it answers within the context."""
    monkeypatch.setenv("WIRE_PASSWORD", PASSWORD)
    key = ServerKey(KEY)
    async with ClientSession() as session:
        controller = ApiController(directory, session, agent=agent, ownership=ownership)
        async with controller.engine:
            runner = web.AppRunner(controller.app(key), access_log=None, shutdown_timeout=1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", controller.port).start()
            yield controller
            await runner.cleanup()
            await controller.monitor.close()
            await controller.pool.close()
    key.close()


# --- its refusals ---------------------------------------------------------------------------------

NO_HEADER = (400, "Request.Header.NotFound", None)
GARBAGE = (401, "Security.Authentication.Header.DecryptFailed", 1)
WRONG_ROOT = (401, "Security.Authentication.IncorrectOceanbasePassword", 10008)
WRONG_AGENT = (401, "Security.Authentication.IncorrectAgentPassword", 10008)
NOT_AGENT = (401, "Security.Authentication.WithOceanBasePassword", 10008)
EXPIRED = (401, "Security.Authentication.Expired", 10008)
BAD_TIME = (401, "Security.Authentication.Timestamp.Invalid", 10008)
FOREIGN = (401, "Security.Authentication.Header.UriMismatch", 10008)
BAD_KEYS = (500, "Request.Body.Decrypt.AES.KeyAndIv.Invalid", None)
BAD_LENGTH = (500, "Request.Body.Decrypt.AES.ContentLength.Invalid", None)
BAD_BODY = (500, "Common.Unexpected", None)

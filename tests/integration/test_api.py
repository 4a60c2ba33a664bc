"""The wire: every rule of protocol sections 1 to 4 that the application serves, over real HTTP.

The engine and its store are real; the operation does nothing to any host.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import os
import platform
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio
import structlog
from aiohttp import ClientSession, web
from aiohttp.test_utils import unused_port
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from pydantic import BaseModel
from yarl import URL

import dagengine
from dagengine import (
    AgentAddress,
    Call,
    DagDetail,
    Engine,
    Failed,
    Flags,
    Operation,
    Outcome,
    Problem,
    Route,
    SqliteStore,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.api import envelope
from dagengine.api.app import build_app
from dagengine.client import Client
from dagengine.errors import ApiRefused, StoreUnusable
from dagengine.logs import configure_logs
from dagengine.remote.pool import SshPool
from dagengine.security.key import ServerKey
from dagengine.security.replay import ReplayGuard
from dagengine.testing import FakeClock, Gate, eventually
from tasks.api import START_OB, start_route
from tasks.observation import AVAILABLE, Observation, TableRow
from tasks.observe import Lookout
from tasks.reads import read_routes
from tasks.topology import ClusterFile

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
ssh: {host: 127.0.0.1, port: 1, known_hosts: /dev/null}  # nobody listens there
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
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found

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
class World:
    """A controller, what its steps shall do, and a caller."""

    directory: Path
    session: ClientSession
    clock: FakeClock = field(default_factory=FakeClock)
    port: int = field(default_factory=unused_port)
    agent: AgentAddress = AGENT
    agent_password: str = ""
    broken: set[str] = field(default_factory=set)
    flags: Flags = Flags()  # noqa: RUF009  # frozen
    gate: Gate | None = None
    reloads: int = 0

    def __post_init__(self) -> None:
        path = self.directory / "cluster.yaml"
        path.write_text(CLUSTER)
        self.cluster = ClusterFile(path)
        self.pool = SshPool(self.clock, Random(1))
        self.lookout = Lookout(self.cluster, self.pool, self.clock)
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
                Operation(START_OB, stages, lock_key="cluster"),
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
    ) -> Answer:
        """One request, exactly as it is given."""
        async with self.session.request(
            method,
            URL(self.url + target, encoded=True),
            headers=headers,
            data=body,
            allow_redirects=False,
        ) as response:
            return Answer(response.status, response.headers, await response.text())

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

    async def ask(self, method: str, path: str, body: Any = None, **header: Any) -> Answer:
        """A signed request below `/api/v1`, as the SDK sends it."""
        target = f"/api/v1{path}"
        plain = body if isinstance(body, bytes | None) else dump(body)
        keys = secrets.token_bytes(32)
        text = None if plain is None else encrypt_body(plain, keys)
        header = {"keys": base64.b64encode(keys).decode()} | header
        return await self.send(method, target, headers=self.sign(target, **header), body=text)

    async def get(self, path: str, **header: Any) -> Any:
        return (await self.ask("GET", path, **header)).data

    async def start(self, body: Any = START) -> dict[str, Any]:
        found: dict[str, Any] = (await self.ask("POST", "/ob/start", body)).data
        return found

    async def ended(self, dag: Mapping[str, Any]) -> dict[str, Any]:
        """The DAG with details, once it has ended."""
        async with asyncio.timeout(20):
            await self.engine.wait(dag["dag_id"])
        found: dict[str, Any] = await self.get(f"/task/dag/{dag['id']}")
        return found

    async def running(self) -> dict[str, Any]:
        """A DAG whose second stage waits at the gate."""
        self.gate = Gate()
        dag = await self.start()
        async with asyncio.timeout(20):
            await self.gate.reached.wait()
        found: dict[str, Any] = await self.get(f"/task/dag/{dag['id']}")
        return found

    async def failed(self) -> dict[str, Any]:
        """A DAG that has failed on the second server."""
        self.broken = {SECOND}
        return await self.ended(await self.start())

    # --- the operation -----------------------------------------------------------------------

    async def _prepare(self, context: StepContext) -> Outcome:
        await context.acquire_lock(context.params.get("force_pass", ()))
        return Succeeded()

    async def _work(self, context: StepContext) -> Outcome:
        target = context.target
        assert target is not None
        await context.log(f"{target}: at work")
        if self.gate is not None:
            await self.gate.wait()
        self.clock.advance(1)
        if target in self.broken:
            return Failed(Problem("Wire.Broken", f"{target} is broken", "mend it"), {"level": "no"})
        return Succeeded(evidence={"z": 1, "level": "sql", "a": {"y": 1, "x": 2}})

    async def _finish(self, context: StepContext) -> Outcome:
        self.clock.advance(1)
        return Succeeded(summary="all done")

    async def _stay(self, context: StepContext) -> Outcome:
        if self.gate is not None:
            await self.gate.wait()
        return Failed(Problem("Wire.Broken", "it never works"))

    # --- the application ---------------------------------------------------------------------

    def app(self, key: ServerKey) -> web.Application:
        async def fixed(call: Call) -> DagDetail:
            return await call.engine.submit(Submission("Fixed"))

        async def odd(call: Call) -> DagDetail:
            raise RuntimeError("what is wrong inside")

        def count() -> None:
            self.reloads += 1

        return build_app(
            engine=self.engine,
            cluster=self.cluster,
            routes=[
                start_route(self.cluster),
                *read_routes(self.cluster, self.lookout),
                Route("POST", "/fixed", OddBody, fixed),
                Route("POST", "/odd", OddBody, odd),
            ],
            key=key,
            replay=ReplayGuard(self.clock, self.engine_store),
            clock=self.clock,
            version="1.2.3-4",
            root_password=self.cluster.root_password,
            agent_password=lambda: self.agent_password,
            before_retry=count,
        )


def dump(body: Any) -> bytes:
    return json.dumps(body).encode()


@asynccontextmanager
async def open_world(
    directory: Path, monkeypatch: pytest.MonkeyPatch, agent: AgentAddress = AGENT
) -> AsyncIterator[World]:
    """A controller that answers within the context."""
    monkeypatch.setenv("WIRE_PASSWORD", PASSWORD)
    key = ServerKey(KEY)
    async with ClientSession() as session:
        found = World(directory, session, agent=agent)
        async with found.engine:
            runner = web.AppRunner(found.app(key), access_log=None, shutdown_timeout=1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", found.port).start()
            yield found
            await runner.cleanup()
            await found.lookout.close()
            await found.pool.close()
    key.close()


@pytest_asyncio.fixture
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """A controller at AGENT, or at the address that a test asks for."""
    async with open_world(tmp_path, monkeypatch, getattr(request, "param", AGENT)) as found:
        yield found


# --- 1.1 the envelope --------------------------------------------------------------------------


async def test_an_answer_has_the_envelope_in_its_order_and_types(world: World) -> None:
    answer = await world.ask("GET", "/task/dags/ob")
    body = answer.body
    assert list(body) == [*ENVELOPE, "data"]
    assert (body["successful"], body["status"], answer.status) == (True, 200, 200)
    assert TIME.fullmatch(body["timestamp"])
    assert type(body["duration"]) is int
    assert body["duration"] >= 0
    assert re.fullmatch("[0-9a-f]{16}", body["traceId"])


async def test_a_refusal_has_an_error_and_no_data(world: World) -> None:
    answer = await world.ask("GET", "/task/dag/ob")
    body = answer.body
    assert list(body) == [*ENVELOPE, "error"]
    assert (body["successful"], body["status"], answer.status) == (False, 400, 400)
    assert list(body["error"]) == ["errCode", "message"]
    body = (await world.ask("GET", "/task/dag/ob", auth="x")).body
    assert list(body["error"]) == ["code", "errCode", "message"]


async def test_json_is_compact_and_escapes_what_html_would_read(world: World) -> None:
    answer = await world.ask("POST", "/ob/start", {"scope": {"type": "ZONE", "target": ["<&> ä"]}})
    assert answer.refusal == (400, "OB.Zone.NotExist", None)
    assert "\\u003c\\u0026\\u003e ä" in answer.text
    assert not set("<>&") & set(answer.text)
    assert answer.text == answer.text.strip()
    assert '": ' not in answer.text


async def test_an_answer_tells_its_type_and_nothing_of_the_server(world: World) -> None:
    answer = await world.send("GET", "/api/v1/time", headers={"X-OBSHELL-Trace-ID": "t"})
    assert set(answer.headers) == {"Content-Type", "Content-Length", "Date"}
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/api/v1/time"), ("GET", "/api/v1/none"), ("GET", "/api/v1/task/dags/ob")],
)
async def test_the_trace_id_of_the_request_is_the_one_of_the_answer(
    world: World, method: str, target: str
) -> None:
    answer = await world.send(method, target, headers={"X-OBSHELL-Trace-ID": "trace <1>"})
    assert answer.body["traceId"] == "trace <1>"
    assert answer.body["traceId"] not in answer.headers.values()
    made = {(await world.send(method, target)).body["traceId"] for _ in range(3)}
    assert len(made) == 3
    empty = await world.send(method, target, headers={"X-OBSHELL-Trace-ID": ""})
    assert re.fullmatch("[0-9a-f]{16}", empty.body["traceId"])


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_status_alone_has_no_trace_id(world: World, method: str) -> None:
    trace = {"X-OBSHELL-Trace-ID": "t"}
    assert (await world.send(method, "/api/v1/status", headers=trace)).body["traceId"] == ""
    asked = await world.send(method, "/api/v1/status?ob_query_timeout=1", headers=trace)
    assert asked.body["traceId"] == "t"


async def test_what_cannot_be_deciphered_has_no_trace_id_and_another_type(world: World) -> None:
    target = "/api/v1/ob/start"
    trace = {"X-OBSHELL-Trace-ID": "t"}
    garbage = await world.send("POST", target, headers=trace | {ROOT_HEADER: "AAAA"})
    plain = await world.send("POST", target, headers=trace | world.sign(target), body="{}")
    for answer in (garbage, plain):
        assert answer.body["traceId"] == ""
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    wrong = await world.send("POST", target, headers=trace | world.sign(target, auth="x"))
    assert wrong.body["traceId"] == "t"
    assert wrong.headers["Content-Type"] == "application/json"


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The time zone of this process."""

    def read_zone() -> None:
        time.tzset()
        envelope.render_second.cache_clear()  # a process has one zone, but for this test

    monkeypatch.setenv("TZ", request.param)
    read_zone()
    yield request.param
    monkeypatch.undo()
    read_zone()


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC0", "2024-01-10T03:24:44.513664Z"),
        ("CST-8", "2024-01-10T11:24:44.513664+08:00"),
        ("NST3:30", "2024-01-09T23:54:44.513664-03:30"),
    ],
    indirect=["zone"],
)
async def test_times_carry_the_local_offset(world: World, zone: str, expected: str) -> None:
    body = (await world.send("GET", "/api/v1/time")).body
    assert (body["data"], body["timestamp"]) == (expected, expected)
    world.clock.advance(1 - 0.513664)
    assert "." not in (await world.send("GET", "/api/v1/time")).data
    world.clock.advance(0.5)
    assert ":45.5" in (await world.send("GET", "/api/v1/time")).data


# --- 1.3 routing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/v1"),
        ("GET", "/api/v1/"),
        ("GET", "/api/v1/none"),
        ("GET", "/api/v1/none/"),
        ("GET", "/api/v1x"),
        ("GET", "/api/v1/task/dag"),
        ("GET", "/api/v1/task/dag/"),
        ("GET", "/api/v1/task/dag/1/2"),
        ("GET", "/api/v1/task/dag/1%2F2"),
        ("POST", "/api/v1/task/dag/1%2f2"),
        ("GET", "/api/v1/task/sub_task/4%2F5/logs"),
        ("GET", "/rpc/v1/ob/start"),
        # known, with another method
        ("GET", "/api/v1/ob/start"),
        ("GET", "/api/v1/ob/start/"),
        ("POST", "/api/v1/info"),
        ("DELETE", "/api/v1/task/dag/1"),
        ("PATCH", "/api/v1/task/dag/unfinish"),
        ("OPTIONS", "/api/v1/info"),
        ("OPTIONS", "/api/v1/ob/start"),
        ("TRACE", "/api/v1/info"),
    ],
)
async def test_an_unknown_path_or_method_is_404_for_everybody(
    world: World, method: str, target: str
) -> None:
    answer = await world.send(method, target)
    assert answer.refusal == (404, "Common.NotFound", None)
    assert answer.headers["Content-Type"] == "application/json"
    assert "Allow" not in answer.headers


@pytest.mark.parametrize("target", ["/api/v1/info", "/api/v1/ob/start", "/api/v1/none"])
async def test_head_is_404_without_a_body(world: World, target: str) -> None:
    answer = await world.send("HEAD", target)
    assert (answer.status, answer.text) == (404, "")


@pytest.mark.parametrize(
    "target", ["/", "/index.html", "/api", "/api/v2/info", "/x/api/v1/info", "/API/v1/info"]
)
async def test_outside_of_the_api_there_is_only_a_text(world: World, target: str) -> None:
    answer = await world.send("GET", target)
    assert (answer.status, answer.text) == (404, "404 page not found")
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("method", "target", "status", "location"),
    [
        ("GET", "/api/v1/info/", 301, "/api/v1/info"),
        ("GET", "/api/v1/status/?a=%26&b=1", 301, "/api/v1/status?a=%26&b=1"),
        ("GET", "/api/v1/task/dag/12/", 301, "/api/v1/task/dag/12"),
        ("POST", "/api/v1/ob/start/", 307, "/api/v1/ob/start"),
        ("POST", "/api/v1/status/", 307, "/api/v1/status"),
        # what is escaped stays so
        ("GET", "/api/v1/task/dag/a%0D%0AX-Evil:1/", 301, "/api/v1/task/dag/a%0D%0AX-Evil:1"),
        ("GET", "/api/v1/task/dag/a%3Fb%C3%A4/", 301, "/api/v1/task/dag/a%3Fb%C3%A4"),
    ],
)
async def test_a_slash_at_the_end_of_a_known_path_leads_to_the_path_without_it(
    world: World, method: str, target: str, status: int, location: str
) -> None:
    answer = await world.send(method, target)
    assert (answer.status, answer.headers["Location"], answer.text) == (status, location, "")


async def test_the_lists_win_over_ids(world: World) -> None:
    assert await world.get("/task/dag/unfinish") == {"contents": []}
    assert (await world.ask("GET", "/task/dag/ob")).refusal == (400, "Task.GenericID.Invalid", None)


async def test_what_breaks_inside_is_one_answer_that_shows_nothing_of_it(world: World) -> None:
    answer = await world.ask("POST", "/odd")
    assert answer.refusal == (500, "Common.Unexpected", None)
    assert list(answer.body) == [*ENVELOPE, "error"]
    assert "inside" not in answer.text
    assert (await world.send("GET", "/api/v1/time")).status == 200


# --- 1.4 bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [None, b"", b"null", b" null ", b"{}", dump({"other": 1})])
async def test_no_body_null_and_an_empty_object_give_no_field(
    world: World, body: bytes | None
) -> None:
    answer = await world.ask("POST", "/ob/start", body)
    assert answer.refusal == (400, "OB.Cluster.Scope.Invalid", None)


@pytest.mark.parametrize("body", [b"{", b"[]", b"{} {}", b"7", b"\xff", b'{"scope": 7}'])
async def test_a_body_that_is_no_object_of_the_right_types_cannot_be_bound(
    world: World, body: bytes
) -> None:
    answer = await world.ask("POST", "/ob/start", body)
    assert answer.refusal == (400, "Common.BindJsonFailed", None)
    assert answer.body["error"]["message"].startswith("Bind JSON failed: ")


async def test_names_are_matched_in_any_case_and_unknown_ones_ignored(world: World) -> None:
    body = {"SCOPE": {"Type": "zone", "TARGET": ["zone1"], "x": 1}, "FORCEPASSDAG": {"ID": []}}
    dag = await world.start(body)
    assert [
        t["execute_agent"]["ip"] for t in (await world.ended(dag))["nodes"][1]["sub_tasks"]
    ] == ["10.0.0.1"]


async def test_a_body_may_be_broken_into_lines(world: World) -> None:
    target = "/api/v1/ob/start"
    text = encrypt_body(dump(START))
    lines = "\r\n".join(text[at : at + 20] for at in range(0, len(text), 20)) + "\n"
    answer = await world.send("POST", target, headers=world.sign(target), body=lines)
    assert answer.data["state"] == "READY"


async def test_a_body_that_is_too_large_is_refused_in_the_envelope(world: World) -> None:
    target = "/api/v1/ob/start"
    body = io.BytesIO(b"A" * (1024 * 1024 + 1))
    answer = await world.send("POST", target, headers=world.sign(target), body=body)
    assert answer.refusal == (413, "Common.BadRequest", None)
    assert (await world.start())["state"] == "READY"


# --- 2.1 without a login -------------------------------------------------------------------------


async def test_anybody_may_ask_who_the_controller_is(world: World) -> None:
    info = (await world.send("GET", "/api/v1/info")).data
    started = int(world.engine.started_at.timestamp() * 1_000_000) * 1000
    assert info == {
        "pid": os.getpid(),
        "state": 2,
        "startAt": started,
        "homePath": "",
        "obVersion": "",
        "architecture": platform.machine(),
        "ip": "10.10.10.1",
        "port": 2886,
        "zone": "",
        "identity": "CLUSTER AGENT",
        "version": "1.2.3-4",
        "isObproxyAgent": False,
        "security": False,
        "supportedAuth": ["v2"],
    }
    world.agent_password = AGENT_PASSWORD
    assert (await world.send("GET", "/api/v1/info")).data["security"] is True


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_anybody_may_ask_for_its_state(world: World, method: str) -> None:
    world.cluster.saw(FIRST, Observation(world.clock.now(), AVAILABLE, version="1.4.0"))
    status = (await world.send(method, "/api/v1/status")).data
    assert {name: status[name] for name in ("agent", "state", "port", "obState", "pid")} == {
        "agent": {"ip": "10.10.10.1", "port": 2886, "identity": "CLUSTER AGENT"},
        "state": 2,
        "port": 2886,
        "obState": 3,
        "pid": os.getpid(),
    }
    assert (status["version"], status["underMaintenance"]) == ("1.2.3-4", False)
    assert type(status["startAt"]) is int
    assert "sqlPort" not in status


async def test_anybody_may_ask_for_its_key_and_its_build(world: World) -> None:
    secret = (await world.send("GET", "/api/v1/secret")).data
    served = VECTORS["rsa_keys"]["2048"]["public_key_pkcs1_der_base64_as_served_by_secret"]
    assert secret == {"ip": "10.10.10.1", "port": 2886, "public_key": served}
    build = (await world.send("GET", "/api/v1/git-info")).data
    assert list(build) == ["branch", "commitId", "shortCommitId", "commitTime"]
    assert all(isinstance(value, str) for value in build.values())


async def test_anybody_may_read_the_openapi_document(world: World) -> None:
    answer = await world.send("GET", "/openapi.json")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert "/api/v1/fixed" in answer.body["paths"]


# --- 2.3 to 2.6 who may come in ------------------------------------------------------------------

PROTECTED = [
    ("POST", "/ob/start"),
    ("GET", "/ob/info"),
    ("GET", "/ob/agents"),
    ("GET", "/agents/status"),
    ("GET", "/obcluster/info"),
    ("GET", "/obcluster/topology/info"),
    ("GET", "/task/dag/maintain/ob"),
    ("GET", "/task/dag/maintain/agent"),
    ("GET", "/task/dag/maintain/agents"),
    ("GET", "/task/dag/agent/main_dags"),
    ("GET", "/task/dag/unfinish"),
    ("GET", "/task/dag/ob/unfinish"),
    ("GET", "/task/dag/agent/unfinish"),
    ("GET", "/task/dags/ob"),
    ("GET", "/task/dags/agent"),
    ("GET", "/task/dag/201684300810288611"),
    ("POST", "/task/dag/201684300810288611"),
    ("GET", "/task/node/201684300810288611"),
    ("GET", "/task/sub_task/201684300810288611"),
    ("GET", "/task/sub_task/201684300810288611/logs"),
    ("POST", "/task/node/201684300810288611"),
]

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


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_nothing_else_is_told_to_who_does_not_know_the_password(
    world: World, method: str, path: str
) -> None:
    assert (await world.send(method, f"/api/v1{path}")).refusal == NO_HEADER
    assert (await world.ask(method, path, auth="wrong")).refusal == WRONG_ROOT
    assert (await world.ask(method, path, auth="")).refusal == WRONG_ROOT
    assert await world.engine.list_dags(limit=9, details=False) == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"auth": PASSWORD + " "}, WRONG_ROOT),
        ({"auth": PASSWORD.upper()}, WRONG_ROOT),
        ({"auth": None}, WRONG_ROOT),
        ({"auth": "", "ts": "never"}, WRONG_ROOT),  # no password, so the time is not looked at
        ({"ts": "1704857083"}, EXPIRED),  # the second before
        ({"ts": "0"}, EXPIRED),
        ({"ts": "-5"}, EXPIRED),
        ({"ts": ""}, BAD_TIME),
        ({"ts": "soon"}, BAD_TIME),
        ({"ts": "1704857084.5"}, BAD_TIME),
        ({"ts": " 4102444740"}, BAD_TIME),
        ({"ts": str(2**63)}, BAD_TIME),
        ({"ts": 4102444740}, GARBAGE),
        ({"uri": "/api/v1/task/dags/agent"}, FOREIGN),
        ({"uri": "/api/v1/task/dags/ob/"}, FOREIGN),
        ({"uri": "/api/v1/task/dags/ob?"}, FOREIGN),
        ({"uri": "/API/v1/task/dags/ob"}, FOREIGN),
        ({"uri": "http://127.0.0.1/api/v1/task/dags/ob"}, FOREIGN),
        ({"uri": ""}, FOREIGN),
        ({"uri": None}, FOREIGN),
        ({"keys": "!"}, GARBAGE),
        ({"keys": 5}, GARBAGE),
        # which of two is told
        ({"uri": "/x", "auth": "wrong", "ts": "0"}, FOREIGN),
        ({"auth": "wrong", "ts": "0"}, EXPIRED),
        ({"keys": "!", "auth": "wrong"}, GARBAGE),
    ],
)
async def test_a_header_that_does_not_fit_says_what_does_not(
    world: World, changes: dict[str, Any], expected: tuple[int, str, int | None]
) -> None:
    answer = await world.ask("GET", "/task/dags/ob", **changes)
    assert answer.refusal == expected
    assert PASSWORD not in answer.text


@pytest.mark.parametrize(
    "changes",
    [
        {"ts": "1704857084"},  # this very second
        {"ts": "+1704857084"},
        {"ts": "9223372036854775807"},
        {"keys": None},  # a GET needs none
        {"keys": ""},
        {"token": None, "forwardtype": 0, "unknown": [1]},
    ],
)
async def test_a_header_that_fits_passes(world: World, changes: dict[str, Any]) -> None:
    assert await world.get("/task/dags/ob", **changes) == {"contents": []}


async def test_the_names_of_the_header_are_matched_in_any_case_and_its_end_is_ignored(
    world: World,
) -> None:
    target = "/api/v1/task/dags/ob"
    plain = json.dumps({"AUTH": PASSWORD, "Ts": "4102444740", "uRI": target, "Keys": None})
    for text in (plain, f" \n{plain}", f"{plain} and more {{"):
        headers = {ROOT_HEADER: encrypt_header(text.encode())}
        assert (await world.send("GET", target, headers=headers)).status == 200


@pytest.mark.parametrize(
    "value",
    [
        "garbage",
        "AAAA",
        "=",
        "%",
        "ä",
        base64.b64encode(bytes(255)).decode(),
        base64.b64encode(bytes(256)).decode(),
        base64.b64encode(b"\xff" * 512).decode(),
        base64.b64encode(bytes(256 * 17)).decode(),
        pytest.param(encrypt_header(b"{"), id="half an object"),
        pytest.param(encrypt_header(b"[1]"), id="array"),
        pytest.param(encrypt_header(b"null"), id="null"),
        pytest.param(encrypt_header(b"\xff\xfe"), id="no text"),
        pytest.param(encrypt_header(b"[" * 3000, chunk=245), id="deep"),
        pytest.param(encrypt_header(b'{"auth": {}}'), id="no text inside"),
        pytest.param(encrypt_header(b"{}")[:-4], id="cut"),
        pytest.param(
            encrypt_header(b"{}", OTHER_KEY),
            id="of another key",
        ),
    ],
)
async def test_a_garbage_header_always_gets_the_same_answer(world: World, value: str) -> None:
    target = "/api/v1/ob/start"
    expected = None
    for name in (ROOT_HEADER, AGENT_HEADER):
        for body in (None, "garbage", encrypt_body(dump(START))):
            answer = await world.send("POST", target, headers={name: value}, body=body)
            assert answer.refusal == GARBAGE
            expected = expected or answer.body["error"]
            assert answer.body["error"] == expected


async def test_an_empty_header_is_none(world: World) -> None:
    headers = {ROOT_HEADER: "", AGENT_HEADER: ""}
    assert (await world.send("GET", "/api/v1/task/dags/ob", headers=headers)).refusal == NO_HEADER


@pytest.mark.parametrize(
    ("keys", "body", "expected"),
    [
        (KEYS, "{}", BAD_BODY),
        (KEYS, json.dumps(START), BAD_BODY),
        (KEYS, "!", BAD_BODY),
        (KEYS, "\r\n", BAD_BODY),
        (KEYS, "AAAA", BAD_LENGTH),
        (KEYS, base64.b64encode(bytes(17)).decode(), BAD_LENGTH),
        (KEYS, base64.b64encode(bytes(16)).decode(), BAD_BODY),
        (KEYS, encrypt_body(b"{}", bytes(32)), BAD_BODY),
        (KEYS[:31], encrypt_body(b"{}"), BAD_BODY),
        (KEYS[:16], encrypt_body(b"{}"), BAD_BODY),
        (KEYS + b"1", encrypt_body(b"{}"), BAD_BODY),
        (KEYS[:15], encrypt_body(b"{}"), BAD_KEYS),
        (b"", encrypt_body(b"{}"), BAD_KEYS),
        (b"", "garbage", BAD_KEYS),
    ],
)
@pytest.mark.parametrize("auth", [PASSWORD, "wrong"])
async def test_a_body_that_cannot_be_deciphered_is_told_before_the_password(
    world: World, auth: str, keys: bytes, body: str, expected: tuple[int, str, int | None]
) -> None:
    target = "/api/v1/ob/start"
    headers = world.sign(target, auth=auth, keys=base64.b64encode(keys).decode())
    assert (await world.send("POST", target, headers=headers, body=body)).refusal == expected


async def test_an_empty_root_password_lets_in_who_sends_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIRE_PASSWORD", "")
    assert await world.get("/task/dags/ob", auth="", ts="never") == {"contents": []}
    assert (await world.ask("GET", "/task/dags/ob", auth="x")).refusal == WRONG_ROOT


async def test_a_changed_root_password_counts_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIRE_PASSWORD", "pässwört")
    assert (await world.ask("GET", "/task/dags/ob")).refusal == WRONG_ROOT
    assert await world.get("/task/dags/ob", auth="pässwört") == {"contents": []}


async def test_the_agent_header_needs_an_agent_password(world: World) -> None:
    path, agent = "/task/dags/ob", {"name": AGENT_HEADER, "auth": AGENT_PASSWORD}
    assert (await world.ask("GET", path, **agent)).refusal == NOT_AGENT
    assert (await world.ask("GET", path, name=AGENT_HEADER, auth="")).refusal == NOT_AGENT
    world.agent_password = AGENT_PASSWORD
    assert await world.get(path, **agent) == {"contents": []}
    assert (await world.ask("GET", path, name=AGENT_HEADER)).refusal == WRONG_AGENT
    assert (await world.ask("GET", path, auth=AGENT_PASSWORD)).refusal == WRONG_ROOT
    assert await world.get(path) == {"contents": []}


async def test_of_both_headers_the_agent_header_counts(world: World) -> None:
    world.agent_password = AGENT_PASSWORD
    target = "/api/v1/task/dags/ob"
    root = world.sign(target)
    right = world.sign(target, name=AGENT_HEADER, auth=AGENT_PASSWORD)
    wrong = world.sign(target, name=AGENT_HEADER, auth="wrong")
    assert (await world.send("GET", target, headers=root | wrong)).refusal == WRONG_AGENT
    garbage = {ROOT_HEADER: "garbage"}
    assert (await world.send("GET", target, headers=right | garbage)).status == 200


async def test_the_uri_is_compared_as_it_stands_on_the_request_line(world: World) -> None:
    path = "/task/dag/unfinish?show_details=%74rue&x=a%20b+c"
    assert await world.get(path) == {"contents": []}
    answer = await world.ask("GET", path, uri="/api/v1/task/dag/unfinish?show_details=true&x=a b c")
    assert answer.refusal == FOREIGN


# --- 3.1 POST ob/start ---------------------------------------------------------------------------


async def test_a_start_answers_with_a_ready_dag_without_details(world: World) -> None:
    world.clock.advance(7)
    dag = await world.start()
    at = dag["start_time"]
    assert list(dag) == DAG
    assert dag == {
        "id": "20168430081028861",
        "dag_id": 1,
        "name": "Start OB",
        "stage": 1,
        "max_stage": 3,
        "maintenance_type": 1,
        "maintenance_key": "",
        "state": "READY",
        "operator": "RUN",
        "start_time": at,
        "end_time": at,
        "additional_data": None,
        "nodes": None,
    }
    assert datetime.fromisoformat(at) >= world.engine.started_at


@pytest.mark.parametrize(
    ("kind", "target", "expected"),
    [
        ("", [], "OB.Cluster.Scope.Invalid"),
        (None, None, "OB.Cluster.Scope.Invalid"),
        ("CLUSTER", ["zone1"], "OB.Cluster.Scope.Invalid"),
        ("ZONE", [], "Common.IllegalArgument"),
        ("SERVER", None, "Common.IllegalArgument"),
        ("ZONE", ["zone9"], "OB.Zone.NotExist"),
        ("ZONE", ["ZONE1"], "OB.Zone.NotExist"),
        ("SERVER", ["10.0.0.9"], "Agent.NotExist"),
        ("SERVER", ["10.0.0.1:2887"], "Agent.NotExist"),
        ("SERVER", ["[FE80::1]:2887"], "Agent.NotExist"),
        ("SERVER", ["10.0.0.1:80"], "Common.InvalidPort"),
        ("SERVER", ["a.b:2886"], "Common.InvalidIp"),
        ("SERVER", ["host"], "Common.InvalidAddress"),
        ("SERVER", [""], "Common.InvalidAddress"),
    ],
)
async def test_a_scope_that_is_wrong_starts_nothing(
    world: World, kind: str | None, target: list[str] | None, expected: str
) -> None:
    answer = await world.ask("POST", "/ob/start", {"scope": {"type": kind, "target": target}})
    assert answer.refusal == (400, expected, None)
    assert await world.get("/task/dags/ob") == {"contents": []}


@pytest.mark.parametrize(
    ("kind", "target", "servers"),
    [
        ("global", None, [FIRST, SECOND]),
        ("GLOBAL", ["ignored"], [FIRST, SECOND]),
        ("zone", ["zone2", "zone2"], [SECOND]),
        ("Server", ["[fe80::1]:2887", "10.0.0.1"], [FIRST, SECOND]),
    ],
)
async def test_a_scope_has_a_sub_task_for_each_of_its_servers(
    world: World, kind: str, target: list[str] | None, servers: list[str]
) -> None:
    dag = await world.ended(await world.start({"scope": {"type": kind, "target": target}}))
    agents = [AgentAddress(**task["execute_agent"]) for task in dag["nodes"][1]["sub_tasks"]]
    assert [str(agent) for agent in agents] == servers


async def test_the_same_start_within_a_second_answers_with_the_same_dag(world: World) -> None:
    first = await world.running()
    again = await world.start({"scope": {"type": "global"}})
    assert (again["id"], again["nodes"]) == (first["id"], None)
    other = {"scope": {"type": "ZONE", "target": ["zone1"]}}
    assert (await world.start(other))["id"] != first["id"]
    for force in ({"id": ["1"]}, ["1"]):
        assert (await world.start(START | {"forcePassDag": force}))["id"] != first["id"]
    world.clock.advance(1)
    assert (await world.start())["id"] != first["id"]
    assert world.gate is not None
    world.gate.open()


async def test_the_same_start_after_its_end_is_a_new_dag(world: World) -> None:
    first = await world.ended(await world.start())
    assert (await world.start())["id"] != first["id"]


# --- 3.3 reading the cluster --------------------------------------------------------------------


def see(world: World, name: str, ob_state: int, **more: Any) -> None:
    """What a look at the server has just seen; no host is asked for a while."""
    world.cluster.saw(name, Observation(world.clock.now(), ob_state, **more))


@pytest_asyncio.fixture
async def seen(world: World) -> World:
    """A world that has just been looked at: nobody answered."""
    await world.lookout.refresh()
    return world


async def test_what_was_seen_has_an_age(world: World) -> None:
    for path in ("info", "status"):
        assert "observedAt" not in (await world.send("GET", f"/api/v1/{path}")).data
    see(world, FIRST, 3, version="1.4.0")
    at = (await world.send("GET", "/api/v1/time")).data
    world.clock.advance(2.5)
    for path in ("info", "status"):
        data = (await world.send("GET", f"/api/v1/{path}")).data
        assert (data["observedAt"], data["observedAgeMs"]) == (at, 2500)
    assert (await world.send("GET", "/api/v1/info")).data["obVersion"] == "1.4.0"


async def test_a_controller_at_a_servers_address_tells_its_home_and_ports(world: World) -> None:
    path = world.cluster.path
    path.write_text(path.read_text().replace("10.0.0.1", AGENT.ip))
    world.cluster.reload()
    info = (await world.send("GET", "/api/v1/info")).data
    assert (info["homePath"], info["zone"]) == ("/home/admin/seekdb", "zone1")
    assert (await world.send("GET", "/api/v1/status")).data["sqlPort"] == 2881


async def test_status_says_whether_a_task_holds_the_lock(world: World) -> None:
    dag = await world.running()
    assert (await world.send("GET", "/api/v1/status")).data["underMaintenance"] is True
    assert world.gate is not None
    world.gate.open()
    await world.ended(dag)
    assert (await world.send("GET", "/api/v1/status")).data["underMaintenance"] is False


@pytest.mark.parametrize("text", ["1", "-1", "", "1) */ drop", "x" * 300, "%27%3B--"])
async def test_no_query_timeout_goes_anywhere(world: World, text: str) -> None:
    target = f"/api/v1/status?ob_query_timeout={text.replace(' ', '%20')}"
    for method in ("GET", "POST"):
        assert (await world.send(method, target)).data["state"] == 2
    status = await world.get(f"/agents/status?ob_query_timeout={text.replace(' ', '%20')}")
    assert str(AGENT) in status


async def test_ob_info_without_a_server_that_answers_has_no_topology(seen: World) -> None:
    info = await seen.get("/ob/info")
    assert list(info) == ["agent_info", "obcluster_info"]
    agent = {"zone": "zone1", "identity": "CLUSTER AGENT", "version": dagengine.__version__}
    assert info["agent_info"] == [
        {"ip": "10.0.0.1", "port": 2886} | agent,
        {"ip": "fe80::1", "port": 2887} | agent | {"zone": "zone2"},
    ]
    assert info["obcluster_info"] == {
        "id": 1,
        "name": "wire",
        "version": "",
        "topology": None,
        "is_shared_storage": False,
    }


async def test_ob_info_tells_every_server_once_one_answers(seen: World) -> None:
    see(seen, FIRST, 3, version="4.3.1.0-12")
    cluster = (await seen.get("/ob/info"))["obcluster_info"]
    assert cluster["version"] == "4.3.1.0-12"
    first, second = cluster["topology"]["zone1"][0], cluster["topology"]["zone2"][0]
    assert first == {
        "svr_ip": "10.0.0.1",
        "svr_port": 2882,
        "sql_port": 2881,
        "agent_port": 2886,
        "with_rootserver": False,
        "status": "ACTIVE",
        "build_version": "4.3.1.0",
    }
    assert (second["status"], second["build_version"]) == ("UNKNOWN", "")
    rows = {("10.0.0.1", 2882): TableRow("ACTIVE", is_stopped=True, with_rootserver=True)}
    seen.cluster.saw_table(rows)
    stopped = (await seen.get("/ob/info"))["obcluster_info"]["topology"]["zone1"][0]
    assert (stopped["status"], stopped["with_rootserver"]) == ("STOPPED", True)


async def test_ob_agents_are_the_servers(world: World) -> None:
    agents = [{"ip": "10.0.0.1", "port": 2886}, {"ip": "fe80::1", "port": 2887}]
    assert await world.get("/ob/agents") == {"contents": agents}


async def test_agents_status_leaves_out_whose_host_is_silent(seen: World) -> None:
    assert list(await seen.get("/agents/status")) == [str(AGENT)]
    see(seen, SECOND, 1)
    found = await seen.get("/agents/status")
    assert set(found) == {str(AGENT), SECOND}
    assert found[SECOND] | {"pid": 0, "startAt": 0, "version": ""} == {
        "agent": {"ip": "fe80::1", "port": 2887, "identity": "CLUSTER AGENT"},
        "state": 2,
        "version": "",
        "pid": 0,
        "startAt": 0,
        "port": 2887,
        "obState": 1,
        "underMaintenance": False,
        "sqlPort": 2891,
    }


async def test_obcluster_info_tells_what_a_controller_knows(seen: World) -> None:
    see(seen, FIRST, 3, version="4.3.1.0-12")
    info = await seen.get("/obcluster/info")
    assert list(info) == [
        *("cluster_name", "cluster_id", "status", "is_community_edition", "is_standalone"),
        *("ob_version", "dead_lock_detection_enabled", "startup_mode", "is_shared_storage"),
        *("stats", "zones", "tenants", "tenant_stats"),
    ]
    assert (info["cluster_name"], info["cluster_id"], info["ob_version"]) == ("wire", 1, "4.3.1.0")
    assert info["status"] == "UNAVAILABLE"  # one zone of two
    assert [(z["name"], z["status"]) for z in info["zones"]] == [
        ("zone1", "RUNNING"),
        ("zone2", "UNKNOWN"),
    ]
    first, second = (zone["servers"][0] for zone in info["zones"])
    assert (first["status"], first["obshell_port"]) == ("RUNNING", 2886)
    assert (second["status"], second["ob_status"]) == ("UNAVAILABLE", "UNKNOWN")
    assert "127.0.0.1:1" in second["why"]
    assert await seen.get("/obcluster/topology/info") == {"zones": info["zones"]}


async def test_the_targets_of_a_start_are_starting(seen: World) -> None:
    seen.gate = Gate()
    dag = await seen.start({"scope": {"type": "ZONE", "target": ["zone2"]}})
    async with asyncio.timeout(20):
        await seen.gate.reached.wait()
    info = await seen.get("/obcluster/info")
    assert info["local_task_id"] == dag["id"]
    first, second = info["zones"]
    assert "local_task_id" not in first
    assert (second["status"], second["local_task_id"]) == ("STARTING", dag["id"])
    (server,) = second["servers"]
    assert (server["status"], server["local_task_id"]) == ("STARTING", dag["id"])
    seen.gate.open()
    await seen.ended(dag)
    assert "local_task_id" not in await seen.get("/obcluster/info")


async def test_maintain_shows_who_holds_the_lock(world: World) -> None:
    for path, whose in (("ob", "Cluster"), ("agent", "Agent")):
        answer = await world.ask("GET", f"/task/dag/maintain/{path}")
        assert answer.refusal == (404, "Task.NotFound", None)
        expected = f"Task not found: {whose} is not under maintenance"
        assert answer.body["error"]["message"] == expected
    assert await world.get("/task/dag/maintain/agents") == {"contents": []}
    dag = await world.running()
    for path in ("ob", "agent"):
        assert await world.get(f"/task/dag/maintain/{path}") == dag
        short = await world.get(f"/task/dag/maintain/{path}?show_details=false")
        assert (short["id"], short["nodes"]) == (dag["id"], None)
    assert await world.get("/task/dag/maintain/agents") == {"contents": [dag]}
    assert world.gate is not None
    world.gate.open()
    await world.ended(dag)
    assert (await world.ask("GET", "/task/dag/maintain/ob")).status == 404


async def test_there_are_no_main_dags_of_sub_dags(world: World) -> None:
    dag = await world.running()
    assert await world.get("/task/dag/agent/main_dags") == {"contents": []}
    assert world.gate is not None
    world.gate.open()
    await world.ended(dag)


# --- 3.4 reading tasks ---------------------------------------------------------------------------


async def test_details_have_every_field_in_order_and_every_node(world: World) -> None:
    dag = await world.running()
    assert list(dag) == DAG
    assert [list(node) for node in dag["nodes"]] == [NODE] * 3
    tasks = [task for node in dag["nodes"] for task in node["sub_tasks"]]
    assert [list(task) for task in tasks] == [SUB_TASK] * 4
    assert [node["name"] for node in dag["nodes"]] == ["Prepare", "Work", "Finish"]
    assert [node["state"] for node in dag["nodes"]] == ["SUCCEED", "RUNNING", "PENDING"]
    assert (dag["state"], dag["stage"], dag["max_stage"]) == ("RUNNING", 2, 3)
    assert {thing["operator"] for thing in (dag, *dag["nodes"], *tasks)} == {"RUN"}
    assert world.gate is not None
    world.gate.open()


async def test_a_normal_node_runs_in_the_controller_and_a_parallel_one_on_each_server(
    world: World,
) -> None:
    dag = await world.ended(await world.start())
    where = [[task["execute_agent"] for task in node["sub_tasks"]] for node in dag["nodes"]]
    here = {"ip": "10.10.10.1", "port": 2886}
    first, second = {"ip": "10.0.0.1", "port": 2886}, {"ip": "fe80::1", "port": 2887}
    assert where == [[here], [first, second], [here]]
    names = [{task["name"] for task in node["sub_tasks"]} for node in dag["nodes"]]
    assert names == [{"Prepare"}, {"Work"}, {"Finish"}]


async def test_times_end_where_they_began_until_the_end(world: World) -> None:
    dag = await world.running()
    _, work, finish = dag["nodes"]
    for thing in (dag, work, finish, *work["sub_tasks"], *finish["sub_tasks"]):
        assert thing["end_time"] == thing["start_time"]
        assert TIME.fullmatch(thing["start_time"])
    assert world.gate is not None
    world.gate.open()
    dag = await world.ended(dag)
    _, work, finish = dag["nodes"]
    for thing in (dag, work, finish, *work["sub_tasks"], *finish["sub_tasks"]):
        begun, ended = map(datetime.fromisoformat, (thing["start_time"], thing["end_time"]))
        assert ended > begun


async def test_log_lines_are_null_until_a_sub_task_runs(world: World) -> None:
    dag = await world.running()
    prepare, work, finish = dag["nodes"]
    assert prepare["sub_tasks"][0]["task_logs"] == []
    assert [task["task_logs"] for task in work["sub_tasks"]] == [
        [f"{FIRST}: at work"],
        [f"{SECOND}: at work"],
    ]
    (waiting,) = finish["sub_tasks"]
    assert (waiting["state"], waiting["task_logs"]) == ("PENDING", None)
    assert (waiting["execute_times"], work["sub_tasks"][0]["execute_times"]) == (0, 1)
    assert world.gate is not None
    world.gate.open()


async def test_a_failed_sub_task_says_why_in_its_last_line(world: World) -> None:
    dag = await world.failed()
    assert (dag["state"], dag["stage"]) == ("FAILED", 2)
    good, bad = dag["nodes"][1]["sub_tasks"]
    assert (good["state"], bad["state"], dag["nodes"][1]["state"]) == (
        "SUCCEED",
        "FAILED",
        "FAILED",
    )
    assert bad["task_logs"][-1] == f"ERROR: [Wire.Broken]: {SECOND} is broken; mend it"


async def test_the_lock_shows_only_while_it_is_held(world: World) -> None:
    dag = await world.running()
    assert dag["maintenance_type"] == 2
    assert world.gate is not None
    world.gate.open()
    assert (await world.ended(dag))["maintenance_type"] == 1


async def test_additional_data_is_merged_in_the_dag_or_in_the_node_that_is_asked_for(
    world: World,
) -> None:
    dag = await world.ended(await world.start())
    evidence = {"a": {"x": 2, "y": 1}, "level": "sql", "z": 1}
    both = {"evidence": {FIRST: evidence, SECOND: evidence}}
    assert dag["additional_data"] == both | {"summary": "all done"}
    tasks = [task for node in dag["nodes"] for task in node["sub_tasks"]]
    assert {str(thing["additional_data"]) for thing in (*dag["nodes"], *tasks)} == {"None"}
    prepare, work, finish = [await world.get(f"/task/node/{n['id']}") for n in dag["nodes"]]
    assert prepare["additional_data"] is None  # of one part: its value
    assert work["additional_data"] == both
    assert finish["additional_data"] == {"summary": "all done"}
    assert [task["additional_data"] for task in work["sub_tasks"]] == [None, None]
    one = await world.get(f"/task/sub_task/{work['sub_tasks'][1]['id']}")
    assert one["additional_data"] == {"evidence": {SECOND: evidence}}


async def test_the_keys_of_additional_data_are_sorted(world: World) -> None:
    dag = await world.ended(await world.start())
    text = (await world.ask("GET", f"/task/dag/{dag['id']}")).text
    assert '{"a":{"x":2,"y":1},"level":"sql","z":1}' in text
    assert text.index(f'"{FIRST}":') < text.index(f'"{SECOND}":')


async def test_a_node_and_a_sub_task_read_alone_are_the_ones_in_the_dag(world: World) -> None:
    dag = await world.ended(await world.start())
    for node in dag["nodes"]:
        alone = await world.get(f"/task/node/{node['id']}")
        assert list(alone) == NODE
        assert alone | {"additional_data": None} == node
        for task in node["sub_tasks"]:
            alone = await world.get(f"/task/sub_task/{task['id']}")
            assert list(alone) == SUB_TASK
            assert alone | {"additional_data": None} == task


@pytest.mark.parametrize(
    ("query", "details"),
    [
        ("", True),
        *((f"?show_details={text}", True) for text in ("1", "t", "T", "TRUE", "true", "True")),
        *((f"?show_details={text}", False) for text in ("0", "f", "F", "FALSE", "false", "False")),
        ("?show_details=", False),
        ("?show_details", False),
        ("?other=false", True),
    ],
)
async def test_details_are_shown_unless_they_are_declined(
    world: World, query: str, details: bool
) -> None:
    dag = await world.ended(await world.start())
    found = await world.get(f"/task/dag/{dag['id']}{query}")
    assert (found["nodes"] is not None) is details
    assert (found["additional_data"] is not None) is details
    assert found | {"nodes": 0, "additional_data": 0} == dag | {"nodes": 0, "additional_data": 0}
    node = await world.get(f"/task/node/{dag['nodes'][1]['id']}{query}")
    assert (node["sub_tasks"] is not None) is details
    assert (node["additional_data"] is not None) is details
    for path in ("/task/dags/ob", "/task/dags/agent"):
        (listed,) = (await world.get(path + query))["contents"]
        assert listed == found


@pytest.mark.parametrize("text", ["yes", "TrUe", "2", "-", "%20true", "null"])
async def test_a_show_details_that_is_neither_is_refused(world: World, text: str) -> None:
    dag = await world.ended(await world.start())
    for path in (f"/task/dag/{dag['id']}", f"/task/node/{dag['nodes'][0]['id']}", "/task/dags/ob"):
        answer = await world.ask("GET", f"{path}?show_details={text}")
        assert answer.refusal == (400, "Common.IllegalArgument", None)


async def test_log_rows_name_their_attempt_and_their_time(world: World) -> None:
    dag = await world.failed()
    bad = dag["nodes"][1]["sub_tasks"][1]
    await world.ask("POST", f"/task/dag/{dag['id']}", {"operator": "RETRY"})
    await world.ended(dag)
    rows = (await world.get(f"/task/sub_task/{bad['id']}/logs"))["contents"]
    assert [list(row) for row in rows] == [LOG] * 4
    assert [row["log_content"] for row in rows][:1] == [f"{SECOND}: at work"]
    assert [row["execute_times"] for row in rows] == sorted(row["execute_times"] for row in rows)
    assert len({row["id"] for row in rows}) == 4
    for row in rows:
        assert row["sub_task_id"] == bad["task_id"]
        assert row["is_sync"] is False
        assert TIME.fullmatch(row["create_time"])
        assert row["update_time"] == row["create_time"]


async def test_an_unknown_sub_task_has_no_log_rows(world: World) -> None:
    assert await world.get("/task/sub_task/201684300810288619/logs") == {"contents": []}


async def test_the_lists_of_unfinished_tasks_hold_what_runs(world: World) -> None:
    failed = await world.failed()
    running = await world.running()
    for path in ("/task/dag/unfinish", "/task/dag/ob/unfinish", "/task/dag/agent/unfinish"):
        (listed,) = (await world.get(path))["contents"]
        assert listed == running
        (listed,) = (await world.get(f"{path}?show_details=false"))["contents"]
        assert (listed["id"], listed["nodes"]) == (running["id"], None)
    everything = (await world.get("/task/dags/ob?show_details=false"))["contents"]
    assert [dag["id"] for dag in everything] == [running["id"], failed["id"]]
    assert world.gate is not None
    world.gate.open()
    await world.ended(running)
    assert await world.get("/task/dag/unfinish") == {"contents": []}


# --- 3.4 and 4.5 ids -----------------------------------------------------------------------------

ID_ROUTES = [
    ("GET", "/task/dag/{}"),
    ("POST", "/task/dag/{}"),
    ("GET", "/task/node/{}"),
    ("POST", "/task/node/{}"),
    ("GET", "/task/sub_task/{}"),
    ("GET", "/task/sub_task/{}/logs"),
]
OPERATOR = {"operator": "PASS"}


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "x",
        "7",
        "0201684300810288611",
        "2",
        "2016843008102886",
        "3" + "0" * 44,
        "2x168430081028861",
        "2999999999902886" + "1",
        "2000000000102886" + "1",
        "2016843008102x861",
        "201684300810288x1x",
        "20168430081028861.5",
        "20168430081028869223372036854775808",
        "1e5",
        "1%20",
        "%00",
        "%C3%A4",
    ],
)
async def test_a_garbage_id_is_refused(world: World, text: str) -> None:
    for method, path in ID_ROUTES:
        answer = await world.ask(method, path.format(text), OPERATOR if method == "POST" else None)
        assert answer.refusal == (400, "Task.GenericID.Invalid", None)
        assert answer.body["error"]["message"].startswith("Invalid ID: ")


@pytest.mark.parametrize(
    "text",
    [
        "201684300810288699",  # nothing there yet
        "20168430081028860",
        "2016843008102886-5",
        "20168430081028869223372036854775807",
        "11",  # of the cluster's own database
        "201684300820288611",  # 10.10.10.2
        "201684300810288711",  # another port
        "3" + "338288524927261089654018896841347694593" + "02886" + "1",
    ],
)
async def test_an_id_of_nothing_here_is_not_found(world: World, text: str) -> None:
    await world.ended(await world.start())
    for method, path in ID_ROUTES[:-1]:
        answer = await world.ask(method, path.format(text), OPERATOR if method == "POST" else None)
        assert answer.refusal == (404, "Task.NotFound", None)
        assert answer.body["error"]["message"].startswith("Task not found")


async def test_an_id_of_another_agent_has_no_log_rows_here(world: World) -> None:
    answer = await world.ask("GET", "/task/sub_task/201684300820288611/logs")
    assert answer.refusal == (404, "Task.NotFound", None)


@pytest.mark.parametrize(
    "world",
    [
        AgentAddress(ip, 2886)
        for ip in ("::1", "0.0.0.9", "::ffff:10.10.10.1", "64:ff9b::1", "FE80::1", "fe80::1", "::")
    ],
    indirect=True,
    ids=str,
)
async def test_an_id_that_this_controller_issues_leads_back_to_its_row(world: World) -> None:
    dag = await world.ended(await world.start())
    assert dag["state"] == "SUCCEED"
    node = await world.get(f"/task/node/{dag['nodes'][1]['id']}")
    task = await world.get(f"/task/sub_task/{node['sub_tasks'][0]['id']}")
    assert task["name"] == "Work"
    running = await world.running()
    forced = {"scope": {"type": "GLOBAL"}, "forcePassDag": {"id": [running["id"]]}}
    heir = await world.start(forced)
    assert world.gate is not None
    world.gate.open()
    assert (await world.ended(running))["operator"] == "PASS"
    assert (await world.ended(heir))["state"] == "SUCCEED"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_id_that_is_written_otherwise_is_not_the_one_of_the_dag(
    world: World, method: str
) -> None:
    dag = await world.ended(await world.start())
    body = OPERATOR if method == "POST" else None
    for text in ("2016843008102886001", "2016843008102886+1"):
        answer = await world.ask(method, f"/task/dag/{text}", body)
        assert answer.refusal == (404, "Task.NotFound", None)
        assert "dag id not match" in answer.body["error"]["message"]
    assert dag["id"] == "20168430081028861"


@pytest.mark.parametrize(("method", "path"), ID_ROUTES)
@pytest.mark.parametrize("text", ["40168430081028861", "5x"])
async def test_an_id_of_an_obproxy_task_needs_the_agent_password(
    world: World, method: str, path: str, text: str
) -> None:
    path, body = path.format(text), OPERATOR if method == "POST" else None
    unset = (401, "Security.Authentication.AgentPasswordNotInitialized", 10008)
    for name in (ROOT_HEADER, AGENT_HEADER):
        assert (await world.ask(method, path, body, name=name)).refusal == unset
    world.agent_password = AGENT_PASSWORD
    needed = (401, "Security.Authentication.WithAgentPassword", 10008)
    assert (await world.ask(method, path, body)).refusal == needed
    agent = {"name": AGENT_HEADER, "auth": AGENT_PASSWORD}
    expected = (400, "Task.GenericID.Invalid") if text == "5x" else (404, "Task.NotFound")
    assert (await world.ask(method, path, body, **agent)).refusal == (*expected, None)


# --- 3.4 and 5.3 operators -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, "Common.BindJsonFailed"),
        ({}, "Common.BindJsonFailed"),
        ({"operator": None}, "Common.BindJsonFailed"),
        ({"operator": ""}, "Common.BindJsonFailed"),
        ({"operator": 5}, "Common.BindJsonFailed"),
        ([], "Common.BindJsonFailed"),
        ({"operator": "RUN"}, "Task.Dag.Operator.NotSupport"),
        ({"operator": "STOP"}, "Task.Dag.Operator.NotSupport"),
        ({"operator": " PASS"}, "Task.Dag.Operator.NotSupport"),
        ({"operator": "CANCEL"}, "Task.Dag.Operator.CancelFinishedDag"),
        ({"operator": "retry"}, "Task.Dag.Operator.RetryNotFailedDag"),
        ({"OPERATOR": "Pass"}, "Task.Dag.Operator.PassNotFailedDag"),
    ],
)
async def test_what_may_not_be_done_to_a_dag_that_succeeded(
    world: World, body: Any, expected: str
) -> None:
    dag = await world.ended(await world.start())
    answer = await world.ask("POST", f"/task/dag/{dag['id']}", body)
    assert answer.refusal == (400, expected, None)
    assert await world.get(f"/task/dag/{dag['id']}") == dag


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("RETRY", "Task.Dag.Operator.RetryNotFailedDag"),
        ("PASS", "Task.Dag.Operator.PassNotFailedDag"),
    ],
)
async def test_what_may_not_be_done_to_a_running_dag(
    world: World, operator: str, expected: str
) -> None:
    dag = await world.running()
    answer = await world.ask("POST", f"/task/dag/{dag['id']}", {"operator": operator})
    assert answer.refusal == (400, expected, None)
    assert world.gate is not None
    world.gate.open()
    assert (await world.ended(dag))["state"] == "SUCCEED"


async def test_a_stage_says_what_may_not_be_done_to_it(world: World) -> None:
    world.gate = Gate()
    dag = (await world.ask("POST", "/fixed")).data
    path = f"/task/dag/{dag['id']}"
    refusal = (400, "Task.Dag.Operator.CancelNotAllowed", None)
    assert (await world.ask("POST", path, {"operator": "CANCEL"})).refusal == refusal
    world.gate.open()
    await world.ended(dag)
    for operator in ("RETRY", "PASS"):
        answer = await world.ask("POST", path, {"operator": operator})
        code = f"Task.Dag.Operator.{operator.title()}NotAllowed"
        assert answer.refusal == (400, code, None)
        assert "'Stay'" in answer.body["error"]["message"]


async def test_an_operator_answers_without_data(world: World) -> None:
    dag = await world.failed()
    answer = await world.ask("POST", f"/task/dag/{dag['id']}", {"operator": "pass"})
    assert (answer.status, list(answer.body)) == (200, ENVELOPE)


async def test_a_passed_dag_has_succeeded_at_its_stage(world: World) -> None:
    world.broken = {FIRST, SECOND}
    failed = await world.ended(await world.start())
    world.clock.advance(5)
    await world.ask("POST", f"/task/dag/{failed['id']}", {"operator": "PASS"})
    dag = await world.ended(failed)
    assert (dag["state"], dag["operator"], dag["stage"]) == ("SUCCEED", "PASS", 2)
    assert dag["start_time"] == failed["start_time"]
    prepare, *passed = dag["nodes"]
    assert (prepare["state"], prepare["operator"]) == ("SUCCEED", "RUN")
    passed += [task for node in passed for task in node["sub_tasks"]]
    assert [(t["state"], t["operator"]) for t in passed] == [("SUCCEED", "PASS")] * 5
    assert {thing["end_time"] for thing in passed} == {dag["end_time"]}
    assert dag["end_time"] > failed["end_time"]


async def test_a_retried_dag_shows_run_and_ends_well_once_it_is_mended(world: World) -> None:
    failed = await world.failed()
    world.broken = set()
    for operator in ("PASS ", "CANCEL"):
        await world.ask("POST", f"/task/dag/{failed['id']}", {"operator": operator})
    assert world.reloads == 0
    await world.ask("POST", f"/task/dag/{failed['id']}", {"operator": "RETRY"})
    assert world.reloads == 1
    dag = await world.ended(failed)
    assert (dag["state"], dag["operator"], dag["id"]) == ("SUCCEED", "RUN", failed["id"])
    good, bad = dag["nodes"][1]["sub_tasks"]
    assert (good["execute_times"], bad["execute_times"]) == (1, 2)


async def test_a_cancelled_dag_has_failed_and_keeps_the_operator(world: World) -> None:
    running = await world.running()
    await world.ask("POST", f"/task/dag/{running['id']}", {"operator": "CANCEL"})
    dag = await world.ended(running)
    assert (dag["state"], dag["operator"], dag["stage"]) == ("FAILED", "CANCEL", 2)
    assert (dag["nodes"][1]["state"], dag["nodes"][1]["operator"]) == ("FAILED", "CANCEL")
    assert all(task["task_logs"] for task in dag["nodes"][1]["sub_tasks"])
    assert dag["nodes"][2]["state"] == "PENDING"


async def test_an_id_in_the_body_must_be_the_one_of_the_dag(world: World) -> None:
    dag = await world.failed()
    path = f"/task/dag/{dag['id']}"
    other = await world.ask("POST", path, {"operator": "PASS", "id": dag["id"] + "9"})
    assert other.refusal == (404, "Task.NotFound", None)
    assert (await world.get(path))["state"] == "FAILED"
    same = await world.ask("POST", path, {"operator": "PASS", "id": dag["id"]})
    assert same.status == 200


@pytest.mark.parametrize(
    ("text", "body", "expected"),
    [
        ("x", {}, (400, "Task.GenericID.Invalid")),
        ("201684300820288611", {}, (400, "Common.BindJsonFailed")),
        ("201684300810288699", {}, (400, "Common.BindJsonFailed")),
        ("201684300810288699", {"operator": "STOP"}, (404, "Task.NotFound")),
        ("2016843008102886001", {"operator": "STOP"}, (404, "Task.NotFound")),
        ("20168430081028861", {"operator": "STOP"}, (400, "Task.Dag.Operator.NotSupport")),
    ],
)
async def test_of_several_things_wrong_with_an_operator_the_first_is_told(
    world: World, text: str, body: Any, expected: tuple[int, str]
) -> None:
    await world.ended(await world.start())
    answer = await world.ask("POST", f"/task/dag/{text}", body)
    assert answer.refusal == (*expected, None)


async def test_a_passed_node_lets_the_dag_go_on(world: World) -> None:
    world.broken = {FIRST, SECOND}
    failed = await world.ended(await world.start())
    path = f"/task/node/{failed['nodes'][1]['id']}"
    answer = await world.ask("POST", path, {"operator": "pass"})
    assert (answer.status, list(answer.body)) == (200, ENVELOPE)
    dag = await world.ended(failed)
    assert (dag["state"], dag["operator"], dag["stage"]) == ("SUCCEED", "RUN", 3)
    _, work, finish = dag["nodes"]
    passed = (work, *work["sub_tasks"])
    assert {(thing["state"], thing["operator"]) for thing in passed} == {("SUCCEED", "PASS")}
    assert (finish["state"], finish["operator"]) == ("SUCCEED", "RUN")


@pytest.mark.parametrize(
    ("node", "body", "expected"),
    [
        (1, {}, "Common.BindJsonFailed"),
        (1, {"operator": "RETRY"}, "Task.Node.Operator.NotSupport"),
        (1, {"operator": "x"}, "Task.Node.Operator.NotSupport"),
        (0, {"operator": "PASS"}, "Task.Node.Operator.PassNotFailedNode"),
    ],
)
async def test_what_may_not_be_done_to_a_node(
    world: World, node: int, body: Any, expected: str
) -> None:
    dag = await world.failed()
    answer = await world.ask("POST", f"/task/node/{dag['nodes'][node]['id']}", body)
    assert answer.refusal == (400, expected, None)
    assert await world.get(f"/task/dag/{dag['id']}") == dag


async def test_a_node_of_a_dag_that_has_not_failed_cannot_be_passed(world: World) -> None:
    dag = await world.ended(await world.start())
    answer = await world.ask("POST", f"/task/node/{dag['nodes'][1]['id']}", OPERATOR)
    assert answer.refusal == (400, "Task.Node.Operator.PassNotFailedDag", None)


# --- the client of this package, and the logs ----------------------------------------------------


async def test_the_client_of_this_package_starts_follows_and_operates(world: World) -> None:
    world.broken = {SECOND}
    # It signs by the real clock, and what acts must not be signed for years.
    world.clock.jump((datetime.now(UTC) - world.clock.now()).total_seconds())
    async with Client(world.url, PASSWORD) as client:
        assert (await client.info())["identity"] == "CLUSTER AGENT"
        dag = await client.start("ZONE", ["zone2"], ["1"])

        async def has_failed() -> bool:
            return bool((await client.get_dag(dag["id"]))["state"] == "FAILED")

        await eventually(has_failed, what="the failure")
        assert await client.list_unfinished() == []
        with pytest.raises(ApiRefused) as caught:
            await client.operate_dag(dag["id"], "CANCEL")
        assert (caught.value.status, caught.value.legacy) == (400, 0)
        assert caught.value.code == "Task.Dag.Operator.CancelFinishedDag"
        await client.operate_dag(dag["id"], "PASS")
        (listed,) = await client.list_dags()
        assert (listed["state"], listed["operator"]) == ("SUCCEED", "PASS")


async def test_the_client_says_that_its_password_is_wrong(world: World) -> None:
    async with Client(world.url, "wrong") as client:
        with pytest.raises(ApiRefused, match="password is incorrect") as caught:
            await client.list_dags()
    assert (caught.value.status, caught.value.legacy) == (401, 10008)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged, at every level; puts the process's logging back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs(stream, level=logging.DEBUG)
    yield stream
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


async def test_no_secret_is_logged_whatever_is_sent(
    logged: io.StringIO, world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    world.agent_password = AGENT_PASSWORD
    target = "/api/v1/ob/start"
    body = dump({"scope": {"type": "s3cret-scope"}})
    plain = "s3cret-plain"
    garbage = "czNjcmV0LWdhcmJhZ2U="  # base64 of s3cret-garbage
    used = []

    def signed(body: bytes, **header: Any) -> tuple[dict[str, str], str]:
        keys = secrets.token_bytes(32)
        used.append(base64.b64encode(keys).decode())
        return world.sign(target, keys=used[-1], **header), encrypt_body(body, keys)

    tries = [
        signed(body, auth="s3cret-wrong"),
        signed(body, auth="s3cret-agent", name=AGENT_HEADER),
        signed(body, auth="s3cret-old", ts="1"),
        signed(body, ts="s3cret-ts"),
        signed(body, uri="/s3cret-uri"),
        signed(body, session_id="s3cret-session", auth="s3cret-x"),
        ({ROOT_HEADER: garbage}, encrypt_body(body)),
        ({AGENT_HEADER: garbage}, plain),
        ({ROOT_HEADER: "s3cret-header"}, encrypt_body(body)),
        (signed(b"")[0], plain),
        signed(b'{"scope": "s3cret-json"}'),
        signed(b"s3cret-text"),
        signed(body),
    ]
    answers = [await world.send("POST", target, headers=h, body=b) for h, b in tries]
    assert all(answer.status >= 400 for answer in answers)
    assert (await world.ask("POST", "/odd", {"password": "s3cret-odd"})).status == 500
    await world.ended(await world.start())
    written = logged.getvalue()
    said = capfd.readouterr()
    lines = [json.loads(line) for line in written.splitlines()]
    events = [line["event"] for line in lines]
    assert events.count("request_refused") == len(tries)
    assert {"request_failed", "dag_submitted"} <= set(events)
    assert (said.out, said.err) == ("", "")
    sent = [value for headers, _ in tries for value in headers.values()]
    bodies = [body for _, body in tries]
    for secret in (PASSWORD, AGENT_PASSWORD, "s3cret", garbage, *used, *bodies, *sent):
        assert secret not in written, secret
    refused = [line for line in lines if line["event"] == "request_refused"]
    assert {line["err_code"] for line in refused} >= {WRONG_ROOT[1], WRONG_AGENT[1], GARBAGE[1]}
    assert {line["path"] for line in refused} == {target}


# --- what `data` is when something failed (protocol 1.1) -----------------------------------------


async def test_a_list_that_cannot_be_read_has_null_contents(world: World) -> None:
    await world.engine_store.close()
    for path in ("/task/dag/unfinish", "/task/dags/ob"):
        answer = await world.ask("GET", path)
        assert (answer.status, answer.body["data"]) == (500, {"contents": None})


async def test_a_start_that_was_tried_and_failed_has_null_data(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise StoreUnusable("the disk is full")

    monkeypatch.setattr(world.engine, "submit", refuse)
    failed = await world.ask("POST", "/ob/start", START)
    assert (failed.status, failed.body["data"]) == (500, None)
    assert failed.body["error"]["errCode"] == StoreUnusable.err_code
    found_earlier = await world.ask("POST", "/ob/start", {"scope": {"type": "NOWHERE"}})
    assert found_earlier.status == 400
    assert "data" not in found_earlier.body


async def test_one_thing_that_cannot_be_read_has_no_data(world: World) -> None:
    await world.engine_store.close()
    answer = await world.ask("GET", f"/task/dag/{world.engine.generic_id(1)}")
    assert answer.status == 500
    assert "data" not in answer.body

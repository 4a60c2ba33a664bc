"""Requests at a controller that does not own the cluster: forwarded, redirected or refused."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from dagengine.api.forwarding.app import build_forwarding_app
from dagengine.api.forwarding.forwarder import Forwarder
from dagengine.api.forwarding.owner import Owner
from dagengine.api.login.schemes import Login
from dagengine.client import Client
from dagengine.security.credentials import Passwords
from dagengine.security.forwarded_header import (
    KEY_PURPOSE,
    ForwardedHeader,
    digest_request,
    render_forwarded,
)
from dagengine.security.replay import ReplayGuard
from dagengine.security.server_key import ServerKey
from tasks.demo.hosts import free_port
from tests.support.api_controller import (
    AGENT,
    KEY,
    NO_HEADER,
    PASSWORD,
    START,
    WRONG_ROOT,
    ApiController,
    ApiResponse,
    dump,
    encrypt_body,
    open_api_controller,
)

UNKNOWN_RESULT = (503, "Agent.RPC.RequestFailed", None)
NOT_OWNER = (421, "Agent.RPC.RequestFailed", None)
FORGED = (401, "Security.Authentication.Unauthorized", 10008)


SILENCE_S = 3.0


@dataclass
class Ownership:
    """What a controller knows about the owner; tests change it."""

    controller_id: int
    own_epoch: int | None
    other: Owner | None = None
    cluster: str = "wire"
    next_owners: list[Owner | None] = field(default_factory=list)
    on_find: Callable[[], None] = lambda: None

    async def find_other_owner(self) -> Owner | None:
        self.on_find()
        if self.next_owners:
            self.other = self.next_owners.pop(0)
        return self.other


@dataclass
class Pair:
    """The owner, another controller, and callers of both."""

    owner: ApiController
    other: ApiController
    owner_view: Ownership
    other_view: Ownership
    key: bytes
    session: aiohttp.ClientSession

    def header(self, **changes: Any) -> ForwardedHeader:
        header = ForwardedHeader(
            *(2, "wire", 5, self.owner.clock.now(), secrets.token_hex(16)),
            *("token ci", "change,read", "root", "192.0.2.9"),
        )
        return replace(header, **changes)

    async def send_forwarded(self, header: ForwardedHeader, target: str) -> ApiResponse:
        """Send a GET request to the owner, as another controller does."""
        digest = digest_request("GET", target, b"")
        value = render_forwarded(self.key, header, digest)
        headers = {**self.owner.sign(target), "Dagengine-Forwarded": value}
        return await self.owner.send("GET", target, headers=headers)

    async def read_callers(self) -> list[str]:
        return [row["by"] for row in (await self.owner.get("/audit"))["contents"]]


@asynccontextmanager
async def serving(app: web.Application, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield
    await runner.cleanup()


@pytest_asyncio.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    """Yield an owner and a controller that forwards to it."""
    owner_view, other_view = Ownership(1, 5), Ownership(2, None)
    async with AsyncExitStack() as stack:
        key = ServerKey(KEY)
        stack.callback(key.close)
        owner = await stack.enter_async_context(
            open_api_controller(tmp_path, monkeypatch, ownership=owner_view)
        )
        other_view.other = Owner(1, owner.url, 5)
        connector = aiohttp.TCPConnector(force_close=True)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, auto_decompress=False)
        )
        clock, mac_key = owner.clock, key.derive_key(KEY_PURPOSE)
        app = build_forwarding_app(
            forwarder=Forwarder(
                *(other_view, mac_key, clock, lambda: secrets.token_hex(16), session),
                silence_s=SILENCE_S,
            ),
            view=other_view,
            login=Login(owner.engine_store, key, clock, 30.0),
            passwords=lambda: Passwords(PASSWORD, None),
            replay=ReplayGuard(clock),
            agent=AGENT,
        )
        port = free_port()
        await stack.enter_async_context(serving(app, port))
        other = replace_port(owner, port)
        yield Pair(owner, other, owner_view, other_view, mac_key, session)


def replace_port(controller: ApiController, port: int) -> ApiController:
    """Return a caller like that of the controller, for another port."""
    caller = ApiController.__new__(ApiController)
    caller.__dict__.update(controller.__dict__, port=port)
    return caller


async def test_forwarded_start_runs_at_the_owner(pair: Pair) -> None:
    dag = await pair.other.wait_for_end(await pair.other.start())
    assert dag["state"] == "SUCCEED"
    assert await pair.read_callers() == ["root@sys from 127.0.0.1"]


async def test_forwarded_claim_is_in_the_audit(pair: Pair) -> None:
    target = "/api/v1/ob/start"
    headers = {**pair.other.sign(target), "X-Dagengine-Caller": "ann@laptop"}
    response = await pair.other.send(
        "POST", target, headers=headers, body=encrypt_body(dump(START))
    )
    assert response.status == 200
    assert "ann@laptop" in (await pair.read_callers())[0]


async def test_forwarded_response_equals_the_owners(pair: Pair) -> None:
    dag = await pair.owner.wait_for_end(await pair.owner.start())
    for path in (f"/task/dag/{dag['id']}", "/task/dags/agent", "/task/dag/nonsense", "/nothing"):
        responses = [await c.send_signed("GET", path) for c in (pair.owner, pair.other)]
        (status, data), (other_status, other_data) = (
            (r.status, r.body.get("data", r.body.get("error"))) for r in responses
        )
        assert (other_status, other_data) == (status, data)


async def test_forwarded_open_routes_need_no_login(pair: Pair) -> None:
    assert (await pair.other.send("GET", "/api/v1/status")).data["pid"]
    assert (await pair.other.send("GET", "/api/v1/time")).status == 200


async def test_secret_is_answered_without_an_owner(pair: Pair) -> None:
    pair.other_view.other = None
    secret = [(await c.send("GET", "/api/v1/secret")).data for c in (pair.owner, pair.other)]
    assert secret[0] == secret[1]


async def test_owner_route_tells_who_owns_the_cluster(pair: Pair) -> None:
    assert (await pair.owner.send("GET", "/owner")).status == 200
    assert (await pair.other.send("GET", "/owner")).status == 503
    pair.owner_view.own_epoch = None
    assert (await pair.owner.send("GET", "/owner")).status == 503


async def test_receiver_refuses_wrong_credentials_itself(pair: Pair) -> None:
    pair.other_view.other = None  # a forwarded request would be answered with 503
    assert (await pair.other.send("GET", "/api/v1/task/dags/agent")).refusal == NO_HEADER
    wrong = await pair.other.send_signed("GET", "/task/dags/agent", auth="guess")
    assert wrong.refusal == WRONG_ROOT


async def test_replayed_request_is_refused_at_the_owner(pair: Pair) -> None:
    """The receiver that accepted it first, another one and the owner share no memory."""
    target, body = "/api/v1/ob/start", encrypt_body(dump(START))
    headers = pair.other.sign(target)
    assert (await pair.other.send("POST", target, headers=headers, body=body)).status == 200
    replay = await pair.owner.send("POST", target, headers=headers, body=body)
    assert "was used before" in replay.text
    assert len(await pair.read_callers()) == 1


async def test_idempotency_key_holds_across_controllers(pair: Pair) -> None:
    dags, target = set(), "/api/v1/ob/start"
    for controller in (pair.other, pair.owner):
        keys = secrets.token_bytes(32)
        signed = controller.sign(target, keys=base64.b64encode(keys).decode())
        headers = {**signed, "Idempotency-Key": "once"}
        body = encrypt_body(dump(START), keys)
        response = await controller.send("POST", target, headers=headers, body=body)
        dags.add(response.data["dag_id"])
    assert len(dags) == 1


async def test_forged_header_is_refused(pair: Pair) -> None:
    target = "/api/v1/task/dags/agent"
    headers = {"Dagengine-Forwarded": f"2 wire 5 0 {'0' * 32} root change root - {'0' * 64}"}
    assert (await pair.owner.send("GET", target, headers=headers)).refusal == FORGED


async def test_forwarded_header_is_accepted_once(pair: Pair) -> None:
    header, target = pair.header(), "/api/v1/task/dags/agent"
    assert (await pair.send_forwarded(header, target)).status == 200
    assert (await pair.send_forwarded(header, target)).refusal == FORGED


@pytest.mark.parametrize("changes", [{"epoch": 4}, {"epoch": 6}, {"cluster": "prod"}])
async def test_header_of_another_epoch_is_refused(pair: Pair, changes: dict[str, Any]) -> None:
    response = await pair.send_forwarded(pair.header(**changes), "/api/v1/task/dags/agent")
    assert response.refusal == NOT_OWNER


async def test_caller_with_read_right_cannot_change(pair: Pair) -> None:
    target = "/api/v1/ob/start"
    body = encrypt_body(dump(START))
    value = render_forwarded(
        pair.key, pair.header(rights="read"), digest_request("POST", target, body.encode())
    )
    headers = {**pair.owner.sign(target), "Dagengine-Forwarded": value}
    response = await pair.owner.send("POST", target, headers=headers, body=body)
    assert (response.status, await pair.read_callers()) == (403, [])


async def test_second_hop_is_refused(pair: Pair) -> None:
    target = "/api/v1/task/dags/agent"
    headers = {**pair.other.sign(target), "Dagengine-Forwarded": "anything"}
    assert (await pair.other.send("GET", target, headers=headers)).refusal == NOT_OWNER


async def test_stream_is_redirected_and_the_client_follows(pair: Pair) -> None:
    dag = await pair.owner.wait_for_end(await pair.owner.start())
    response = await pair.other.send_signed("GET", f"/task/dag/{dag['id']}/events")
    assert response.refusal == NOT_OWNER
    assert response.headers["Dagengine-Owner"] == pair.owner.url
    async with asyncio.timeout(20), Client(pair.other.url, PASSWORD) as client:
        kinds = [event.kind async for event in client.follow(dag["id"])]
    assert kinds[-1] == "dag"


async def test_owner_that_is_not_reached_means_nothing_was_done(pair: Pair) -> None:
    pair.other_view.other = Owner(1, f"http://127.0.0.1:{free_port()}", 5)
    pair.other_view.on_find = lambda: pair.owner.clock.advance(0.5)
    response = await pair.other.send_signed("POST", "/ob/start", START)
    assert response.refusal == UNKNOWN_RESULT
    assert "nothing was done" in response.text
    assert response.headers["Retry-After"] == "3"


async def test_request_waits_for_the_next_owner(pair: Pair) -> None:
    gone = Owner(3, f"http://127.0.0.1:{free_port()}", 4)
    pair.other_view.next_owners = [gone, None, Owner(1, pair.owner.url, 5)]
    assert (await pair.other.start())["state"] in ("READY", "RUNNING")


@asynccontextmanager
async def broken_owner(answer: bytes = b"") -> AsyncIterator[Owner]:
    """Run a server that reads a request and then closes the connection."""

    async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(answer_and_close, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Owner(3, f"http://127.0.0.1:{port}", 4)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
async def test_lost_owner_makes_the_result_unknown(pair: Pair, answer: bytes) -> None:
    async with broken_owner(answer) as broken:
        pair.other_view.next_owners = [broken, Owner(1, pair.owner.url, 5)]
        response = await pair.other.send_signed("POST", "/ob/start", START)
    assert response.refusal == UNKNOWN_RESULT
    assert "the result is unknown" in response.text
    assert "Idempotency-Key" in response.text
    assert response.headers["Retry-After"] == "3"
    assert await pair.read_callers() == []  # it was not repeated


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
async def test_lost_owner_read_is_repeated(pair: Pair, answer: bytes) -> None:
    async with broken_owner(answer) as broken:
        pair.other_view.next_owners = [broken, Owner(1, pair.owner.url, 5)]
        assert (await pair.other.send_signed("GET", "/task/dags/agent")).status == 200


async def test_silent_owner_without_successor_is_given_up(pair: Pair) -> None:
    async def read_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(read_all, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        port = server.sockets[0].getsockname()[1]
        pair.other_view.other = Owner(3, f"http://127.0.0.1:{port}", 4)
        response = await pair.other.send_signed("POST", "/ob/start", START)
        assert response.refusal == UNKNOWN_RESULT
        assert "the result is unknown" in response.text


async def test_owner_that_does_not_accept_has_received_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that is down answers no connection request, unlike a port without a listener."""

    def time_out(*_arguments: object, **_options: object) -> None:
        raise aiohttp.ConnectionTimeoutError

    monkeypatch.setattr(pair.session, "request", time_out)
    pair.other_view.on_find = lambda: pair.owner.clock.advance(0.5)
    response = await pair.other.send_signed("POST", "/ob/start", START)
    assert "nothing was done" in response.text


async def test_frozen_owner_is_given_up_when_it_changes(pair: Pair) -> None:
    """It accepts the connection and never answers; the table names another owner."""
    frozen = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        frozen.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        port = server.sockets[0].getsockname()[1]
        pair.other_view.other = Owner(3, f"http://127.0.0.1:{port}", 4)
        reading = asyncio.create_task(
            pair.other.send_signed("GET", "/task/dags/agent"), name="a read"
        )
        await frozen.wait()
        pair.other_view.other = Owner(1, pair.owner.url, 5)
        assert (await reading).status == 200

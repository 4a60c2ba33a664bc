"""Clients that reset their connection at any moment of a request: no error, no traceback."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from structlog.testing import capture_logs

from dagengine.client import Client
from dagengine.client.signing import load_key, sign
from dagengine.client.transport import ROOT, Transport
from dagengine.testing import Latch
from tests.support.event_controller import EventController
from tests.support.fake_cluster import PASSWORD

CLIENT_COUNT = 50
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@pytest_asyncio.fixture
async def controller(tmp_path: Path) -> AsyncIterator[EventController]:
    controller = EventController(tmp_path, lines=tuple("abcdefgh"))
    async with controller.running():
        yield controller


async def public_key(controller: EventController) -> rsa.RSAPublicKey:
    transport = Transport(controller.url, PASSWORD, 30)
    await transport.open()
    try:
        return load_key((await transport.get_unsigned("/secret"))["public_key"])
    finally:
        await transport.close()


async def loop_passes(count: int) -> None:
    """Let the event loop run a number of passes."""
    for _ in range(count):
        await asyncio.sleep(0)


def render(
    key: rsa.RSAPublicKey, method: str, path: str, body: object = None, missing_bytes: int = 0
) -> bytes:
    """Return a signed request, without the last bytes of its body if some are missing."""
    signed = sign(key, PASSWORD, ROOT + path, body)
    content = signed.body or b""
    head = (
        f"{method} {ROOT}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"X-OCS-Header: {signed.header}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content[: len(content) - missing_bytes]


@pytest.mark.parametrize(
    ("method", "path", "body", "missing_bytes"),
    [
        ("GET", "/task/dag/{running}/events", None, 0),
        ("GET", "/task/dag/{ended}/events", None, 0),
        ("GET", "/task/dag/{ended}", None, 0),
        ("GET", "/task/dags/ob", None, 0),
        ("POST", "/ob/start", {}, 0),
        ("POST", "/ob/start", {"scope": {"type": "GLOBAL"}}, 10),
    ],
    ids=["running stream", "ended stream", "read", "list", "submission", "incomplete body"],
)
async def test_client_that_resets_causes_no_error(
    controller: EventController, method: str, path: str, body: object, missing_bytes: int
) -> None:
    key = await public_key(controller)
    async with controller.client() as client:
        ended_id, _ = await controller.run_to_end(client)
        latch = controller.latch = Latch()
        running_id = (await client.start("GLOBAL"))["id"]
        target = path.format(running=running_id, ended=ended_id)
        with capture_logs() as lines:
            for number in range(CLIENT_COUNT):
                request = render(key, method, target, body, missing_bytes)
                with socket.create_connection(("127.0.0.1", controller.port)) as connection:
                    connection.sendall(request)
                    await loop_passes(8 * number)
                    option = (socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    connection.setsockopt(*option)
            latch.open()
            await follow_to_end(client, running_id)
    # Of the tasks that are submitted at once, one gets the lock; the others decide again.
    expected = ("debug", "info", "decision_was_stale")
    errors = [each for each in lines if not {each["log_level"], each["event"]} & {*expected}]
    assert errors == []


async def follow_to_end(client: Client, dag_id: str) -> None:
    async with asyncio.timeout(60), aclosing(client.follow(dag_id)) as events:
        async for _ in events:
            pass

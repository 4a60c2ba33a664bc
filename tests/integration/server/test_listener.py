"""Limits of the listener of the API on connections, headers and bodies."""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import pytest

from dagengine.api.connections import Connections, Limits
from dagengine.testing import FakeClock, eventually
from tests.support.listening_controller import open_controller
from tests.support.raw_connection import RawConnection
from tests.support.signed_requests import public_key, sign

TIME = b"GET /api/v1/time HTTP/1.1\r\nHost: localhost\r\n\r\n"


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET /api/v1/ti", TIME[:-2], TIME[:-2] + b"X-A: b\r\n"])
async def test_connections_incomplete_request_is_closed(tmp_path: Path, sent: bytes) -> None:
    async with open_controller(tmp_path, header_timeout_s=0.2) as controller:
        line = await RawConnection.open(controller)
        await line.write(sent)
        assert await line.is_closed()


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"FOO /api/v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "Common.NotFound"),
        (TIME + b"FOO /api/v1/info HTTP/1.1\r\n\r\n", 404, "Common.NotFound"),
        (b"PROPFIND /api/v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "Common.NotFound"),
        (b"GET /api/v1/info HTTP/9.9\r\n\r\n", 400, "Common.BadRequest"),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "Common.BadRequest"),
    ],
    ids=["method", "second request", "other method", "version", "length"],
)
async def test_listener_rejects_without_server_header(
    tmp_path: Path, sent: bytes, status: int, code: str
) -> None:
    async with open_controller(tmp_path) as controller:
        line = await RawConnection.open(controller)
        if sent.startswith(TIME):
            await line.write(TIME)
            assert (await line.answer())[0] == 200
        await line.write(sent.removeprefix(TIME))
        head, content = await line.response()
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nserver:" not in head.lower()
        assert (content["successful"], content["error"]["errCode"]) == (False, code)
        at = parsedate_to_datetime(re.search(rb"\r\nDate: (.*?)\r\n", head)[1].decode())  # type: ignore[index]
        assert abs(datetime.fromisoformat(content["timestamp"]) - at) < timedelta(seconds=2)
        assert re.fullmatch("[0-9a-f]{16}", content["traceId"])


async def test_connections_trickled_header_is_closed(tmp_path: Path) -> None:
    async with open_controller(tmp_path, header_timeout_s=0.2) as controller:
        line = await RawConnection.open(controller)
        await line.write(TIME)
        assert (await line.answer())[0] == 200

        async def trickle() -> None:
            await line.write(b"GET /")
            while True:
                await line.write(b"a")
                await asyncio.sleep(0.05)  # a client that sends its header slowly

        writing = asyncio.create_task(trickle(), name="trickle")
        assert await line.is_closed()
        writing.cancel()
        await asyncio.wait([writing])
        if not writing.cancelled():
            writing.exception()


async def test_connections_idle_connection_is_closed(tmp_path: Path) -> None:
    async with open_controller(tmp_path, header_timeout_s=60, idle_timeout_s=0.2) as controller:
        line = await RawConnection.open(controller)
        for _ in range(3):
            await line.write(TIME)
            assert (await line.answer())[0] == 200
        assert await line.is_closed()


async def test_connections_pipelined_requests_are_answered(tmp_path: Path) -> None:
    async with open_controller(tmp_path) as controller:
        line = await RawConnection.open(controller)
        await line.write(TIME * 20)
        assert [(await line.answer())[0] for _ in range(20)] == [200] * 20


async def test_connections_header_in_single_bytes_is_read(tmp_path: Path) -> None:
    async with open_controller(tmp_path) as controller:
        line = await RawConnection.open(controller)
        for at in range(len(TIME)):
            await line.write(TIME[at : at + 1])
            await asyncio.sleep(0)
        assert (await line.answer())[0] == 200


async def test_connections_oversized_headers_are_refused_unread(tmp_path: Path) -> None:
    async with open_controller(tmp_path) as controller:
        for filler in (b"X-A: " + b"a" * 200_000, b"X-A: a\r\n" * 30_000):
            line = await RawConnection.open(controller)
            await line.write(TIME[:-2] + filler)
            head, content = await line.response()
            assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
            assert b"\r\nDate: " in head
            assert (content["error"]["errCode"], len(content["traceId"])) == (
                "Common.BadRequest",
                16,
            )
            assert await line.is_closed()
        line = await RawConnection.open(controller)
        await line.write(TIME[:-2] + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n")
        assert (await line.answer())[0] == 200


async def test_connections_limit_per_address_spares_others(
    tmp_path: Path,
) -> None:
    async with open_controller(tmp_path, max_connections_per_address=3) as controller:
        raw_connections = [await RawConnection.open(controller, "127.0.0.2") for _ in range(3)]
        for line in raw_connections:
            await line.write(TIME)
            assert (await line.answer())[0] == 200
        assert await (await RawConnection.open(controller, "127.0.0.2")).is_closed()
        other = await RawConnection.open(controller)
        await other.write(TIME)
        assert (await other.answer())[0] == 200
        await raw_connections[0].close()

        async def has_room() -> bool:
            line = await RawConnection.open(controller, "127.0.0.2")
            try:
                await line.write(TIME)
                return (await line.answer())[0] == 200
            except (ConnectionError, asyncio.IncompleteReadError):
                return False

        await eventually(has_room, what="room for another connection")


async def test_connections_total_limit_closes_excess(tmp_path: Path) -> None:
    async with open_controller(tmp_path, max_connections=3) as controller:
        raw_connections = [await RawConnection.open(controller, f"127.0.0.{n}") for n in (2, 3, 4)]
        for line in raw_connections:
            await line.write(TIME)
            assert (await line.answer())[0] == 200
        assert await (await RawConnection.open(controller, "127.0.0.5")).is_closed()


class Flood(asyncio.Protocol):
    """Responds with more data than any buffer holds."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(bytes(64 * 2**20))


async def test_connections_unread_response_is_aborted() -> None:
    clock = FakeClock()
    limits = Limits(header_timeout_s=1000, write_timeout_s=60)
    connections = Connections(clock, limits, lambda: b"")
    server = await asyncio.get_running_loop().create_server(
        connections.guard(Flood), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        writer.write(TIME)
        assert await reader.readexactly(1000)  # so it is being answered
        clock.advance(59)
        assert connections.sweep() == 0
        clock.advance(2)
        assert connections.sweep() == 1
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(65 * 2**20)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        server.close()


# --- bodies --------------------------------------------------------------------------------------


CHUNKED = "Transfer-Encoding: chunked"
CHUNK = b"10000\r\n" + b"A" * 65536 + b"\r\n"
READ_FAILED, TOO_LARGE = (400, "Request.Body.ReadFailed"), (413, "Common.BadRequest")


@pytest.mark.parametrize(
    ("length_header", "sent", "expected"),
    [
        ("Content-Length: 64", b"AAAA", READ_FAILED),
        ("Content-Length: 1073741824", b"A" * 1000, TOO_LARGE),
        (CHUNKED, CHUNK, READ_FAILED),
        (CHUNKED, CHUNK * 40, TOO_LARGE),
    ],
    ids=["short", "declared large", "without an end", "large"],
)
async def test_body_incomplete_or_oversized_is_refused_and_closed(
    tmp_path: Path, length_header: str, sent: bytes, expected: tuple[int, str]
) -> None:
    target = "/api/v1/ob/start"
    async with (
        open_controller(tmp_path, body_timeout_s=1) as controller,
        aiohttp.ClientSession() as session,
    ):
        signed = sign(await public_key(session, controller.url), target, secrets.token_bytes(32))
        line = await RawConnection.open(controller)
        head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nX-OCS-Header: {signed}\r\n"
        head += f"{length_header}\r\n\r\n"
        await line.write(head.encode())
        await line.write(sent)
        status, content = await line.answer()
        assert (status, content["error"]["errCode"]) == expected
        assert await line.is_closed()


async def test_header_undecipherable_is_refused_before_body(
    tmp_path: Path,
) -> None:
    async with open_controller(tmp_path) as controller:
        line = await RawConnection.open(controller)
        await line.write(
            b"POST /api/v1/ob/start HTTP/1.1\r\nHost: localhost\r\nX-OCS-Header: AAAA\r\n"
            b"Content-Length: 1000000\r\n\r\n"
        )
        status, content = await line.answer()
        assert (status, content["error"]["code"]) == (401, 1)
        assert await line.is_closed()

"""dagengine.client: repeated calls, and the example of docs/howto/client.md."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dagengine.client import ApiRefused, Client, ControllerUnreachable, InvalidId, TlsConfig
from dagengine.testing import Latch
from tests.support.authority import Authority
from tests.support.event_controller import EventController, collect
from tests.support.fake_cluster import PASSWORD
from tests.support.listening_controller import PASSWORD as LISTENING_PASSWORD
from tests.support.listening_controller import open_controller

EXAMPLE = Path(__file__).parents[3] / "docs" / "howto" / "client.py"


async def run_example(url: str) -> tuple[int, list[str], str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(EXAMPLE), url),
        env={**os.environ, "DAGENGINE_PASSWORD": PASSWORD},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().splitlines(), err.decode()


async def test_client_example_prints_documented_output(running_controller: EventController) -> None:
    running_controller.takes_lock = True
    code, output, err = await run_example(running_controller.url)
    assert (code, err) == (0, "")
    assert output[0] == "Start OB is READY"
    assert output.count("  Look: inspected") == 2
    assert output[-5:] == [
        "Start OB is SUCCEED",
        "2 stages, SUCCEED",
        "succeeded: Start OB",
        "lock cluster: free",
        "audit: START by root@sys",
    ]


async def test_client_example_without_controller_names_url() -> None:
    code, output, err = await run_example("http://127.0.0.1:9")
    assert (code, output) == (1, [])
    assert "the controller at http://127.0.0.1:9 does not respond" in err


def test_client_page_documents_every_call_and_error() -> None:
    page = EXAMPLE.with_suffix(".md").read_text(encoding="utf-8")
    calls = {name for name, _ in inspect.getmembers(Client, inspect.isfunction)}
    public = {name for name in calls if not name.startswith("_")}
    errors = {"ControllerUnreachable", "ResponseMalformed", "ApiRefused", "InvalidId"}
    assert {name for name in public | errors if f"`{name}" not in page} == set()


def test_client_example_imports_only_dagengine_client() -> None:
    imported = re.findall(r"^from (dagengine\S*) import", EXAMPLE.read_text(), re.MULTILINE)
    assert set(imported) == {"dagengine.client"}


@pytest.mark.parametrize("text", ["", "..", "../../x", "1/2", "1?x=y", "1#x", "%2e", "1 2", "é"])
async def test_client_invalid_id_raises_before_request(text: str) -> None:
    async with Client("http://127.0.0.1:9", "") as unconnected:
        for call in (
            unconnected.get_dag,
            unconnected.get_logs,
            unconnected.list_attempts,
            unconnected.pass_node,
        ):
            with pytest.raises(InvalidId, match="Invalid ID"):
                await call(text)
        with pytest.raises(InvalidId):
            await unconnected.operate_dag(text, "RETRY")
        with pytest.raises(InvalidId):
            unconnected.follow(text)
        if text:  # an empty one selects all DAGs
            with pytest.raises(InvalidId):
                await unconnected.list_audit(text)


# --- repeating -------------------------------------------------------------------------------


@asynccontextmanager
async def open_lossy_relay(port: int, losses: int) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Run a relay that loses the first responses to POST; yield its URL and the POSTs."""
    posts: list[bytes] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                outer.write(head + body)
                answer = await inner.readuntil(b"\r\n\r\n")
                size = re.search(rb"(?i)content-length: (\d+)", answer)
                answer += await inner.readexactly(int(size[1])) if size else b""
                if head.startswith(b"POST"):
                    posts.append(head)
                    if len(posts) <= losses:
                        return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            outer.close()
            writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", posts


async def test_client_start_lost_response_is_repeated_as_same_dag(
    running_controller: EventController,
    client: Client,
) -> None:
    running_controller.latch = Latch()
    async with (
        open_lossy_relay(running_controller.port, 2) as (url, posts),
        Client(url, PASSWORD) as relayed,
    ):
        dag = await relayed.start("GLOBAL")
    assert len(posts) == 3
    keys = {re.search(rb"(?i)idempotency-key: (\w+)", head)[1] for head in posts}  # type: ignore[index]
    assert len(keys) == 1
    assert [entry["id"] for entry in await client.list_dags()] == [dag["id"]]
    running_controller.latch.open()


async def test_client_start_uses_new_idempotency_key_per_call(client: Client) -> None:
    first, second = await client.start("GLOBAL"), await client.start("GLOBAL")
    assert first["id"] != second["id"]


async def test_client_start_never_answered_raises_unreachable(
    running_controller: EventController,
) -> None:
    async with (
        open_lossy_relay(running_controller.port, 99) as (url, posts),
        Client(url, PASSWORD) as relayed,
    ):
        with pytest.raises(ControllerUnreachable, match=url):
            await relayed.start("GLOBAL")
    assert len(posts) == 3


async def test_client_refused_request_is_not_repeated(running_controller: EventController) -> None:
    async with (
        open_lossy_relay(running_controller.port, 0) as (url, posts),
        Client(url, "wrong") as relayed,
    ):
        with pytest.raises(ApiRefused) as refused:
            await relayed.start("GLOBAL")
    assert refused.value.status == 401
    assert len(posts) == 1


# --- reading ---------------------------------------------------------------------------------


async def test_client_search_dags_fetches_every_page(client: Client) -> None:
    ids = []
    for _ in range(5):
        ids.append((await client.start("GLOBAL"))["id"])
        await collect(client, ids[-1])
    ids_found = [dag["id"] async for dag in client.search_dags(state="SUCCEED", page=2)]
    assert ids_found == ids[::-1]
    assert [dag async for dag in client.search_dags(name="Stop OB")] == []


# --- other ways in ---------------------------------------------------------------------------


async def test_client_https_trusts_only_named_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    cert, key = authority.issue("server")
    async with open_controller(
        tmp_path, tls_cert_file=str(cert), tls_key_file=str(key)
    ) as controller:
        trust = TlsConfig(ca_file=authority.file)
        async with Client(controller.url, LISTENING_PASSWORD, trust=trust) as client:
            assert await client.list_dags() == []
        async with Client(controller.url, LISTENING_PASSWORD) as client:
            with pytest.raises(ControllerUnreachable, match="certificate"):
                await client.list_dags()


async def test_client_unix_socket_needs_no_password(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with open_controller(tmp_path, socket=str(path)), Client(f"unix:{path}", "") as client:
        assert await client.list_dags() == []
        with pytest.raises(ApiRefused, match=r"OB\.Zone\.NotExist"):
            await client.start("ZONE", ["none"])


@asynccontextmanager
async def open_foreign_server(status: int, body: bytes) -> AsyncIterator[str]:
    """Give the URL of a server that is not a controller."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    "error",
    [
        b'{"message": "\\u001b[2J\\nFORGED\\u009b", "errCode": "\\u001b", "code": "x"}',
        b'"\\u001b[2J\\nFORGED"',
        b'["\\u001b"]',
        b'{"message": {"\\u001b": 1}, "errCode": 5}',
        b"null",
    ],
)
async def test_client_error_of_foreign_server_is_one_clean_line(error: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"status": "\\u001b", "error": %s}' % error
        writer.write(b"HTTP/1.1 500 X\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1")
    async with (
        server,
        Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "") as client,
    ):
        with pytest.raises(ApiRefused) as caught:
            await client.info()
    assert str(caught.value).isprintable()
    assert caught.value.status == 500

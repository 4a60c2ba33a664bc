"""The unix socket of the listener: users, headers and stale files."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from dagengine.errors import ConfigError
from dagengine.server.listener import listen_at
from tests.support.listening_controller import open_controller
from tests.support.signed_requests import encrypt, public_key, sign


@asynccontextmanager
async def at_socket(path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(path))
    async with aiohttp.ClientSession("http://any", connector=connector) as session:
        yield session


async def test_unix_socket_needs_no_header_and_audits_peer_uid(
    tmp_path: Path,
) -> None:
    async with (
        open_controller(tmp_path, socket="run/x.sock") as controller,
        at_socket(tmp_path / "run" / "x.sock") as session,
    ):
        answer = await session.post("/api/v1/ob/start", json={"scope": {"type": "GLOBAL"}})
        dag = (await answer.json())["data"]
        assert dag["state"] == "READY"
        audit = await (await session.get(f"/api/v1/task/dag/{dag['id']}/audit")).json()
        peer = f"uid {os.geteuid()} (pid {os.getpid()}) at the socket"
        assert audit["data"]["contents"][0]["by"] == peer
        over_tcp = await session.get(f"{controller.url}/api/v1/info")
        assert over_tcp.status in (200, 400)


async def test_unix_socket_header_is_used_for_body_only(tmp_path: Path) -> None:
    target = "/api/v1/ob/start"
    async with (
        open_controller(tmp_path, socket="x.sock"),
        at_socket(tmp_path / "x.sock") as session,
    ):
        key = await public_key(session, "")
        keys = secrets.token_bytes(32)
        signed = sign(key, "/elsewhere", keys, auth="not the password")
        for _ in range(2):
            answer = await session.post(
                target, headers={"X-OCS-Header": signed}, data=encrypt(b"{}", keys)
            )
            assert (await answer.json())["error"]["errCode"] == "OB.Cluster.Scope.Invalid"
        answer = await session.post(target, headers={"X-OCS-Header": signed}, data=b"{}")
        assert (await answer.json())["error"]["errCode"] == "Common.Unexpected"
        answer = await session.post(target, headers={"X-OCS-Header": "AAAA"}, data=b"{}")
        assert (answer.status, (await answer.json())["error"]["code"]) == (401, 1)


async def test_unix_socket_path_outside_api_returns_plain_text(tmp_path: Path) -> None:
    async with (
        open_controller(tmp_path, socket="x.sock"),
        at_socket(tmp_path / "x.sock") as session,
    ):
        for path in ("/index.html", "/x/api/v1/info"):
            answer = await session.get(path)
            assert (answer.status, await answer.text()) == (404, "404 page not found")
            assert answer.content_type == "text/plain"
        assert (await session.get("/api/v1/none")).content_type == "application/json"


OTHER_USER = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for target in ("/api/v1/info", "/api/v1/task/dags/ob", "/api/v1/none"):
    line = socket.socket(socket.AF_UNIX)
    line.connect(sys.argv[1])
    line.sendall(f"GET {target} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
    answer = b""
    while part := line.recv(65536):
        answer += part
    print(answer.decode().replace("\\r\\n", "|"))
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_unix_socket_other_user_is_refused(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    for directory in (tmp_path, *tmp_path.parents):
        if directory.name.startswith(("test_", "popen-", "pytest-")):
            directory.chmod(0o755)  # pytest keeps its directories to itself
    async with open_controller(tmp_path, socket="x.sock"):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", OTHER_USER, str(tmp_path / "x.sock")],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    answers = done.stdout.splitlines()
    assert len(answers) == 3
    for answer in answers:
        head, _, content = answer.partition("||")
        assert head.startswith("HTTP/1.1 401 ")
        assert "Content-Type: application/json; charset=utf-8" in head
        envelope = json.loads(content)
        assert envelope["error"]["errCode"] == "Security.User.PermissionDenied"
        assert (envelope["traceId"], envelope["duration"]) == ("", 0)
        assert "uid 65534" in envelope["error"]["message"]


def test_listen_at_replaces_stale_socket_and_removes_own(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    stale = listen_at(path)
    stale.__enter__().close()  # as a killed controller leaves it
    assert path.is_socket()
    with listen_at(path):
        assert path.stat().st_mode & 0o777 == 0o666
        with pytest.raises(ConfigError, match="another process listens there"), listen_at(path):
            pass
        assert path.is_socket()
    assert not path.exists()


def test_listen_at_refuses_to_replace_other_file(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ConfigError, match="is not a socket"), listen_at(path):
        pass
    assert path.read_text() == "data"
    with pytest.raises(ConfigError, match="107 bytes"), listen_at(tmp_path / ("x" * 200)):
        pass

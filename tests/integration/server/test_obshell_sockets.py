"""The unix socket at the paths where OBShell's command line looks for its agent."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.listening_controller import open_controller


def request(
    path: Path, method: str, target: str, body: object = None, *, host: str = "obshell"
) -> tuple[int, dict[str, Any]]:
    """Send a request as Go's HTTP client does over a unix socket; return status and envelope."""
    connection = http.client.HTTPConnection(host)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(30)
    try:
        connection.sock.connect(str(path))
        content = None if body is None else json.dumps(body)
        connection.request(method, target, content, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()


@pytest.mark.parametrize("host", ["obshell", "unix", "localhost"])
async def test_obshell_sockets_below_home_serve_the_api(tmp_path: Path, host: str) -> None:
    run = tmp_path / "home" / "run"
    run.mkdir(parents=True)
    (run / "daemon.sock").symlink_to("obshell.sock")
    async with open_controller(tmp_path, socket=str(run / "obshell.sock")):
        for name in ("daemon.sock", "obshell.sock"):
            status, envelope = await asyncio.to_thread(
                request, run / name, "GET", "/api/v1/status", host=host
            )
            assert (status, envelope["data"]["pid"]) == (200, os.getpid())
        scope = {"scope": {"type": "ZONE", "target": ["none"]}}
        status, envelope = await asyncio.to_thread(
            request, run / "obshell.sock", "POST", "/api/v1/ob/start", scope, host=host
        )
        assert (status, envelope["error"]["errCode"]) == (400, "OB.Zone.NotExist")
    assert not (run / "obshell.sock").exists()
    assert (run / "daemon.sock").is_symlink()


async def test_obshell_daemon_socket_of_ended_controller_refuses(tmp_path: Path) -> None:
    (tmp_path / "daemon.sock").symlink_to("obshell.sock")
    with pytest.raises(FileNotFoundError):
        request(tmp_path / "daemon.sock", "GET", "/api/v1/status")

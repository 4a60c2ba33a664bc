"""What a controller does about its own passwords and about headers that are too long."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from dagengine.client import Client
from dagengine.errors import ApiRefused, ConfigError
from dagengine.server.config import load_config
from dagengine.server.controller import run_controller
from tasks import EXTENSION
from tasks.demo.hosts import free_port
from tests.support.quick_cases import first_quick

CLUSTER = """
name: x
id: 1
flavour: seekdb
%s
zones: {z1: [{ip: 10.0.0.1, home: /srv/seekdb}]}
"""

PLAINTEXT_CONSENT = "whoever listens on the way can come in"
NO_PASSWORD_CONSENT = "anybody can start and stop servers"


@asynccontextmanager
async def controller(
    tmp_path: Path,
    *,
    host: str = "127.0.0.1",
    more: str = "",
    password: str = "root_password_file: password",
) -> AsyncIterator[str]:
    (tmp_path / "password").write_text("root's own\n")
    (tmp_path / "cluster.yaml").write_text(CLUSTER % password)
    port = free_port()
    (tmp_path / "engine.yaml").write_text(
        f"api: {{host: {host}, port: {port}, advertise: '127.0.0.1:{port}', {more}}}\n"
        "store: {path: store.sqlite}\ncluster: cluster.yaml\n"
    )
    async with run_controller(load_config(tmp_path / "engine.yaml", {}), [EXTENSION]):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("host", "more"),
    [
        ("127.0.0.1", ""),
        ("0.0.0.0", f"without_tls: {PLAINTEXT_CONSENT}"),
        ("0.0.0.0", f"without_tls: {PLAINTEXT_CONSENT}, without_password: {NO_PASSWORD_CONSENT}"),
    ],
)
@pytest.mark.parametrize("content", ["", "\n", " \n"])
async def test_controller_refuses_while_password_file_is_empty(
    tmp_path: Path, host: str, more: str, content: str
) -> None:
    with capture_logs() as logs:
        async with controller(tmp_path, host=host, more=more) as url:
            async with Client(url, "root's own") as client:
                assert await client.list_dags() == []
                (tmp_path / "password").write_text(content)
                with pytest.raises(ApiRefused, match="cannot read its password"):
                    await client.list_dags()
            async with Client(url, "") as client:
                with pytest.raises(ApiRefused, match="cannot read its password") as caught:
                    await client.list_dags()
                assert caught.value.status == 500
            (tmp_path / "password").write_text("root's new\n")
            async with Client(url, "root's new") as client:
                assert await client.list_dags() == []
    errors = [line["error"] for line in logs if line["event"] == "password_unavailable"]
    assert all("root_password_file" in error and "is empty" in error for error in errors)
    assert len(errors) == 2


@pytest.mark.parametrize(
    ("password", "named"),
    [
        ("", "root_password_env, root_password_file and root_password are missing"),
        ("root_password_env: DOOR_NOT_SET", "DOOR_NOT_SET, which is not set"),
        ("root_password_file: empty", "is empty"),
        ("root_password_file: gone", "No such file"),
        ("root_password: none\nroot_password_file: password", "contradict each other"),
    ],
)
async def test_controller_without_password_does_not_start(
    tmp_path: Path, password: str, named: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError) as caught:
        async with controller(tmp_path, password=password):
            pytest.fail("it opened")
    assert named in str(caught.value)
    assert not (tmp_path / "store.sqlite").exists()


@pytest.mark.parametrize("value", first_quick([None, "", " "]))
async def test_serve_without_password_exits_with_2(tmp_path: Path, value: str | None) -> None:
    (tmp_path / "cluster.yaml").write_text(CLUSTER % "root_password_env: DOOR_PASSWORD")
    (tmp_path / "engine.yaml").write_text(
        f"api: {{port: {free_port()}}}\nstore: {{path: s}}\ncluster: cluster.yaml\n"
    )
    environ = {name: text for name, text in os.environ.items() if name != "DOOR_PASSWORD"}
    if value is not None:
        environ["DOOR_PASSWORD"] = value
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dagengine", "serve", "-c", str(tmp_path / "engine.yaml")),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    for part in (b"root_password_env", b"DOOR_PASSWORD", b"`root_password: none`"):
        assert part in err


@pytest.mark.parametrize("content", ["", "\n", " \n"])
async def test_controller_empty_agent_password_does_not_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "agent").write_text(content)
    with pytest.raises(ConfigError, match=r"api\.agent_password_file .* is empty; write"):
        async with controller(tmp_path, more="agent_password_file: agent"):
            pytest.fail("it opened")


@pytest.mark.parametrize(
    ("password", "warned"), [("root_password_file: password", 0), ("root_password: none", 1)]
)
async def test_controller_without_root_password_logs_warning(
    tmp_path: Path, password: str, warned: int
) -> None:
    with capture_logs() as logs:
        async with controller(tmp_path, password=password) as url:
            pass
    warnings = [line for line in logs if line["event"] == "no_password_needed"]
    assert [line["url"] for line in warnings] == [url] * warned


async def test_controller_missing_password_file_hides_its_path(tmp_path: Path) -> None:
    async with controller(tmp_path) as url:
        (tmp_path / "password").unlink()
        async with Client(url, "root's own") as client:
            with pytest.raises(ApiRefused) as caught:
                await client.list_dags()
        assert str(tmp_path) not in str(caught.value)


async def test_controller_oversized_header_is_refused_in_envelope(
    tmp_path: Path,
) -> None:
    garbage = base64.b64encode(b"x" * 60_000).decode()
    async with controller(tmp_path) as url, aiohttp.ClientSession() as session:
        answer = await session.get(
            f"{url}/api/v1/task/dag/unfinish", headers={"X-OCS-Header": garbage}
        )
        body = await answer.json()
        assert (answer.status, body["error"]["code"]) == (401, 1)

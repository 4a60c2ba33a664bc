"""What a controller does about its own passwords and about headers that are too long."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from dagengine.client import Client
from dagengine.config import load_config
from dagengine.errors import ApiRefused
from dagengine.wiring import run_controller
from tasks import EXTENSION
from tasks.demo_hosts import free_port

CLUSTER = """
name: x
id: 1
flavour: seekdb
root_password_file: password
zones: {z1: [{ip: 10.0.0.1, home: /srv/seekdb}]}
"""

MAY_BE_READ = "whoever listens on the way can come in"


@asynccontextmanager
async def controller(
    tmp_path: Path, *, host: str = "127.0.0.1", more: str = "", password: str = "root's own"
) -> AsyncIterator[str]:
    (tmp_path / "password").write_text(f"{password}\n")
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    port = free_port()
    (tmp_path / "engine.yaml").write_text(
        f"api: {{host: {host}, port: {port}, advertise: '127.0.0.1:{port}', {more}}}\n"
        "store: {path: store.sqlite}\ncluster: cluster.yaml\n"
    )
    async with run_controller(load_config(tmp_path / "engine.yaml", {}), [EXTENSION]):
        yield f"http://127.0.0.1:{port}"


async def test_a_password_file_that_is_emptied_closes_the_door_instead_of_opening_it(
    tmp_path: Path,
) -> None:
    async with controller(tmp_path, host="0.0.0.0", more=f"without_tls: {MAY_BE_READ}") as url:
        async with Client(url, "root's own") as client:
            assert await client.list_dags() == []
        (tmp_path / "password").write_text("")
        async with Client(url, "") as client:
            with pytest.raises(ApiRefused, match="cannot read its password") as caught:
                await client.list_dags()
            assert caught.value.status == 500


@pytest.mark.parametrize(("password", "warned"), [("root's own", 0), ("", 1)])
async def test_that_no_password_is_needed_is_said_when_it_starts(
    tmp_path: Path, password: str, warned: int
) -> None:
    with capture_logs() as said:
        async with controller(tmp_path, password=password) as url:
            pass
    found = [line for line in said if line["event"] == "no_password_needed"]
    assert [line["url"] for line in found] == [url] * warned


async def test_a_password_file_that_is_gone_is_named_in_the_log_alone(tmp_path: Path) -> None:
    async with controller(tmp_path) as url:
        (tmp_path / "password").unlink()
        async with Client(url, "root's own") as client:
            with pytest.raises(ApiRefused) as caught:
                await client.list_dags()
        assert str(tmp_path) not in str(caught.value)


async def test_a_header_longer_than_any_real_one_gets_the_answer_of_the_api(
    tmp_path: Path,
) -> None:
    garbage = base64.b64encode(b"x" * 60_000).decode()
    async with controller(tmp_path) as url, aiohttp.ClientSession() as session:
        answer = await session.get(
            f"{url}/api/v1/task/dag/unfinish", headers={"X-OCS-Header": garbage}
        )
        body = await answer.json()
        assert (answer.status, body["error"]["code"]) == (401, 1)

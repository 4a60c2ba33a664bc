"""The pages and `status` say that the servers refuse the configured password of root@sys."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import aiohttp
import pytest

from dagengine.mysql import Connection, open_connection
from dagengine.testing import eventually
from tests.acceptance.conftest import ClusterTestbed, OpenTestbed, all_log_lines, wait_dag

pytestmark = pytest.mark.slow

SERVER = "127.0.0.1:2886"
OTHER_PASSWORD = "ch4nged-by-hand"
ENGLISH = "the last SQL login with the configured password of root@sys was refused (error 1045)"
CHINESE = "SQL 登录被拒绝（错误 1045）"
PAGES = ("/", "/tasks", "/locks", "/audit", "/doctor", "/log", "/plan/start?scope=GLOBAL")
CSRF = re.compile(r'name="csrf" value="([^"]+)"')


class Person:
    """Reads the pages, and runs `status`."""

    def __init__(self, testbed: ClusterTestbed, session: aiohttp.ClientSession) -> None:
        self.testbed = testbed
        self.session = session
        self.url = testbed.cluster.url

    async def log_in(self) -> None:
        async with self.session.get(f"{self.url}/ui/login") as response:
            token = CSRF.search(await response.text())
        assert token is not None
        form = {"csrf": token[1], "entry": "root", "secret": self.testbed.cluster.password}
        headers = {"Origin": self.url}
        async with self.session.post(
            f"{self.url}/ui/login", data=form, headers=headers
        ) as response:
            assert response.status == 200, await response.text()

    async def read_header(self, path: str = "/", language: str = "en") -> str:
        headers = {"Accept-Language": language}
        async with self.session.get(f"{self.url}/ui{path}", headers=headers) as response:
            text = await response.text()
            assert response.status == 200, text
        self.check_secrets(text)
        return text.partition("<header>")[2].partition("</header>")[0]

    async def run_status(self) -> str:
        process = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).with_name("dagengine")), "status"),
            env=dict(self.testbed.cluster.environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        self.check_secrets(output.decode())
        return output.decode()

    def check_secrets(self, text: str) -> None:
        for secret in (self.testbed.cluster.password, OTHER_PASSWORD):
            assert secret not in text


async def end_other_sessions(connection: Connection) -> None:
    """End the sessions of the controller, so that it logs in again."""
    (own,), *_ = (await connection.query("SELECT connection_id()")).rows
    for row in (await connection.query("SHOW PROCESSLIST")).rows:
        if row[0] != own:
            await connection.query(f"KILL {row[0]}")


async def test_refused_login_is_in_header_and_status(open_testbed: OpenTestbed) -> None:
    async with (
        open_testbed(1) as testbed,
        testbed.client() as client,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        await testbed.start_controller()
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert dag["state"] == "SUCCEED", all_log_lines(dag)
        person = Person(testbed, session)
        await person.log_in()
        assert ENGLISH not in await person.read_header()
        assert ENGLISH not in await person.run_status()

        address = ("127.0.0.1", testbed.cluster.servers[0].sql_port)
        password = testbed.cluster.password
        async with open_connection(address, user="root", password=password) as connection:
            await connection.query(f"ALTER USER root IDENTIFIED BY '{OTHER_PASSWORD}'")
            await end_other_sessions(connection)
            status = ""

            async def is_refused() -> bool:  # `status` probes the server
                nonlocal status
                status = await person.run_status()
                return ENGLISH in status

            await eventually(is_refused, timeout_s=60, what="the refused login")
            assert f"{SERVER}: {ENGLISH}" in status
            for path in (*PAGES, f"/task/{dag['id']}"):
                assert f"{SERVER}: {ENGLISH}" in await person.read_header(path), path
                assert CHINESE in await person.read_header(path, "zh-CN"), path
            await connection.query(f"ALTER USER root IDENTIFIED BY '{password}'")

        async def is_accepted() -> bool:
            return ENGLISH not in await person.run_status()

        await eventually(is_accepted, timeout_s=60, what="the accepted login")
        assert ENGLISH not in await person.read_header()

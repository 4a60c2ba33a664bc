"""Servers of a user other than the login user, with the real sudo and seekdb.

Clients call the owner only: a store that controllers share would be a server of root on the same
machine, which the login may not examine, so that every start is refused.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dagengine.testing import eventually
from tasks.demo.cluster import find_seekdb
from tasks.demo.hosts import OPENSSH
from tests.acceptance.conftest import (
    ClusterTestbed,
    OpenTestbed,
    all_log_lines,
    only_owner,
    sub_tasks,
    wait_dag,
)
from tests.acceptance.doctor_command import doctor, find_entry
from tests.support.sudo_users import RULE, SudoUsers

pytestmark = [pytest.mark.slow, pytest.mark.root]

NAME = "127.0.0.1:2886"
CHECK, START = 2, 3


@asynccontextmanager
async def open_sudo_testbed(
    open_testbed: OpenTestbed, users: SudoUsers
) -> AsyncIterator[ClusterTestbed]:
    """One host where the login can log in, and a home that belongs to the owner."""
    async with open_testbed(1) as testbed:
        if testbed.hosts.kind != OPENSSH:
            pytest.skip(testbed.hosts.notice)
        testbed.hosts.directory.chmod(0o755)
        (server,) = testbed.cluster.servers
        program = server.home / "bin" / "seekdb"
        program.unlink()
        for file in ("seekdb", "libaio.so.1"):  # where every user may read it
            shutil.copy(find_seekdb().with_name(file), program.with_name(file))
        for path in (server.home, *server.home.rglob("*")):
            os.chown(path, users.owner_uid, -1)
        testbed.cluster.server_entry(0)["ssh"] |= {"user": users.login, "sudo": users.owner}
        testbed.cluster.write()
        await testbed.start_controller()
        try:
            yield testbed
        finally:
            users.end_processes()


def owners(home: Path) -> dict[int, list[Path]]:
    """Return all files of a home by uid; files may disappear during the walk."""
    by_uid: dict[int, list[Path]] = {}
    for path in _walk(home):
        try:
            by_uid.setdefault(path.lstat().st_uid, []).append(path)
        except FileNotFoundError:
            continue
    return by_uid


def _walk(home: Path) -> Iterator[Path]:
    for place, directories, files in os.walk(home):
        yield from (Path(place, name) for name in ("", *directories, *files))


async def run(testbed: ClusterTestbed, accepted: dict[str, Any]) -> dict[str, Any]:
    async with testbed.client() as client:
        return await wait_dag(client, accepted["id"])


@only_owner
async def test_sudo_refusal_is_reported_then_servers_run_as_owner(
    open_testbed: OpenTestbed, sudo_users: SudoUsers
) -> None:
    rule = f"`{sudo_users.login} ALL=({sudo_users.owner}) NOPASSWD: /bin/sh`"
    async with open_sudo_testbed(open_testbed, sudo_users) as testbed, testbed.client() as client:
        sudo_users.allow()
        dag = await run(testbed, await client.start("GLOBAL"))
        assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), all_log_lines(dag)
        line = sub_tasks(dag, CHECK)[NAME]["task_logs"][-1]
        assert f"needs a password to let {sudo_users.login} become {sudo_users.owner}" in line
        assert rule in line
        status, document = await doctor(testbed)
        refused = find_entry(document, NAME, "sudo")
        assert (status, refused["health"]) == (1, "bad")
        assert rule in refused["remedy"]

        sudo_users.allow(RULE)
        await client.operate_dag(dag["id"], "RETRY")
        dag = await wait_dag(client, dag["id"])
        assert dag["state"] == "SUCCEED", all_log_lines(dag)
        (pid,) = testbed.server_pids()
        assert Path(f"/proc/{pid}").stat().st_uid == sudo_users.owner_uid
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert f"DAGENGINE_START={dag['id']}".encode() in environment
        assert b"SUDO_COMMAND" not in environment
        status, document = await doctor(testbed)
        assert status == 0, document
        login = find_entry(document, NAME, "login")
        expected = f"{sudo_users.owner} (uid {sudo_users.owner_uid}) at "
        assert login["said"].startswith(expected)
        assert f", by sudo from {sudo_users.login}; the server runs, pid {pid}" in login["said"]
        assert find_entry(document, NAME, "sql")["health"] == "ok"

        dag = await run(testbed, await client.stop("SERVER", [NAME], terminate=True))
        assert dag["state"] == "SUCCEED", all_log_lines(dag)
        assert testbed.server_pids() == []
        assert list(owners(testbed.cluster.servers[0].home)) == [sudo_users.owner_uid]


@only_owner
async def test_sudo_cancelled_start_can_be_rolled_back(
    open_testbed: OpenTestbed, sudo_users: SudoUsers
) -> None:
    async with open_sudo_testbed(open_testbed, sudo_users) as testbed, testbed.client() as client:
        accepted = await client.start("GLOBAL")

        async def has_started() -> bool:  # before, CANCEL would end the launch with the process
            dag = await client.get_dag(accepted["id"])
            return sub_tasks(dag, START)[NAME]["state"] == "SUCCEED"

        await eventually(has_started, timeout_s=120, what="the end of the launch")
        (pid,) = testbed.server_pids()
        os.kill(pid, signal.SIGSTOP)  # it must not become healthy before the CANCEL
        await client.operate_dag(accepted["id"], "CANCEL")
        dag = await wait_dag(client, accepted["id"])
        assert (dag["state"], dag["operator"]) == ("FAILED", "CANCEL"), all_log_lines(dag)
        os.kill(pid, signal.SIGCONT)
        await client.operate_dag(accepted["id"], "ROLLBACK")
        dag = await wait_dag(client, accepted["id"])
        assert (dag["state"], dag["operator"]) == ("SUCCEED", "ROLLBACK"), all_log_lines(dag)
        assert f"stopped, pid {pid}" in sub_tasks(dag, START)[NAME]["task_logs"][-1]
        assert testbed.server_pids() == []


@only_owner
async def test_owner_check_without_sudo_refuses_server_of_other_user(
    open_testbed: OpenTestbed, sudo_users: SudoUsers
) -> None:
    async with open_sudo_testbed(open_testbed, sudo_users) as testbed, testbed.client() as client:
        del testbed.cluster.server_entry(0)["ssh"]["sudo"]
        testbed.cluster.write()
        dag = await run(testbed, await client.start("GLOBAL"))
        assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), all_log_lines(dag)
        line = sub_tasks(dag, CHECK)[NAME]["task_logs"][-1]
        assert f"belongs to uid {sudo_users.owner_uid}" in line
        assert "ssh.sudo" in line

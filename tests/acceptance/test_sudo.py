"""Servers that belong to another user than the one who logs in: the real sudo, the real seekdb."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dagengine.testing import eventually
from tasks.demo.cluster import find_seekdb
from tasks.demo.hosts import OPENSSH
from tests.acceptance.conftest import World, WorldOf, sub_tasks, told, wait_dag
from tests.acceptance.test_doctor import doctor, found
from tests.sudo_users import RULE, SudoUsers

pytestmark = [pytest.mark.slow, pytest.mark.root]

NAME = "127.0.0.1:2886"
CHECK, START = 2, 3


@asynccontextmanager
async def open_world(world_of: WorldOf, users: SudoUsers) -> AsyncIterator[World]:
    """One host where the login can log in, and a home that belongs to the owner."""
    async with world_of(1) as world:
        if world.hosts.kind != OPENSSH:
            pytest.skip(world.hosts.notice)
        world.hosts.directory.chmod(0o755)
        (server,) = world.cluster.servers
        program = server.home / "bin" / "seekdb"
        program.unlink()
        for file in ("seekdb", "libaio.so.1"):  # where every user may read it
            shutil.copy(find_seekdb().with_name(file), program.with_name(file))
        for path in (server.home, *server.home.rglob("*")):
            os.chown(path, users.owner_uid, -1)
        world.cluster.server_entry(0)["ssh"] |= {"user": users.login, "sudo": users.owner}
        world.cluster.write()
        await world.start_controller()
        try:
            yield world
        finally:
            users.end_processes()


def owners(home: Path) -> dict[int, list[Path]]:
    """All that is in a home, by uid; it may change meanwhile."""
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


async def run(world: World, begun: dict[str, Any]) -> dict[str, Any]:
    async with world.client() as client:
        return await wait_dag(client, begun["id"])


async def test_a_refusal_of_sudo_is_told_and_once_it_is_mended_all_runs_as_the_owner(
    world_of: WorldOf, sudo_users: SudoUsers
) -> None:
    wanted = f"`{sudo_users.login} ALL=({sudo_users.owner}) NOPASSWD: /bin/sh`"
    async with open_world(world_of, sudo_users) as world, world.client() as client:
        sudo_users.allow()
        dag = await run(world, await client.start("GLOBAL"))
        assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), told(dag)
        line = sub_tasks(dag, CHECK)[NAME]["task_logs"][-1]
        assert f"needs a password to let {sudo_users.login} become {sudo_users.owner}" in line
        assert wanted in line
        status, document = await doctor(world)
        refused = found(document, NAME, "sudo")
        assert (status, refused["health"]) == (1, "bad")
        assert wanted in refused["remedy"]

        sudo_users.allow(RULE)
        await client.operate_dag(dag["id"], "RETRY")
        dag = await wait_dag(client, dag["id"])
        assert dag["state"] == "SUCCEED", told(dag)
        (pid,) = world.server_pids()
        assert Path(f"/proc/{pid}").stat().st_uid == sudo_users.owner_uid
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert f"DAGENGINE_START={dag['id']}".encode() in environment
        assert b"SUDO_COMMAND" not in environment
        status, document = await doctor(world)
        assert status == 0, document
        login = found(document, NAME, "login")
        said = f"{sudo_users.owner} (uid {sudo_users.owner_uid}) at "
        assert login["said"].startswith(said)
        assert f", by sudo from {sudo_users.login}; the server runs, pid {pid}" in login["said"]
        assert found(document, NAME, "sql")["health"] == "ok"

        dag = await run(world, await client.stop("SERVER", [NAME], terminate=True))
        assert dag["state"] == "SUCCEED", told(dag)
        assert world.server_pids() == []
        assert list(owners(world.cluster.servers[0].home)) == [sudo_users.owner_uid]


async def test_a_start_is_rolled_back_and_one_that_is_cancelled_leaves_nothing(
    world_of: WorldOf, sudo_users: SudoUsers
) -> None:
    async with open_world(world_of, sudo_users) as world, world.client() as client:
        begun = await client.start("GLOBAL")

        async def runs() -> bool:
            return bool(world.server_pids())

        await eventually(runs, timeout_s=120)
        await client.operate_dag(begun["id"], "CANCEL")
        dag = await wait_dag(client, begun["id"])
        assert dag["state"] == "FAILED", told(dag)
        await client.operate_dag(begun["id"], "ROLLBACK")
        dag = await wait_dag(client, begun["id"])
        assert (dag["state"], dag["operator"]) == ("SUCCEED", "ROLLBACK"), told(dag)
        assert "stopped, pid" in sub_tasks(dag, START)[NAME]["task_logs"][-1]
        assert world.server_pids() == []


async def test_a_server_of_the_owner_is_no_business_of_the_login_alone(
    world_of: WorldOf, sudo_users: SudoUsers
) -> None:
    async with open_world(world_of, sudo_users) as world, world.client() as client:
        del world.cluster.server_entry(0)["ssh"]["sudo"]
        world.cluster.write()
        dag = await run(world, await client.start("GLOBAL"))
        assert (dag["state"], dag["stage"]) == ("FAILED", CHECK), told(dag)
        line = sub_tasks(dag, CHECK)[NAME]["task_logs"][-1]
        assert f"belongs to uid {sudo_users.owner_uid}" in line
        assert "ssh.sudo" in line

"""Checks of stage 2 and the health wait of stage 4 on real hosts: reports, skips, refusals."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import closing
from typing import Any

import pytest

from dagengine.errors import ApiRefused
from dagengine.testing import eventually
from tests.acceptance.conftest import (
    OpenTestbed,
    all_log_lines,
    other_controller_in_soak,
    sub_tasks,
    wait_dag,
)

GOOD, BAD = "127.0.0.1:2886", "127.0.0.1:2887"
CHECK, START, HEALTH = 2, 3, 4

pytestmark = pytest.mark.slow


def checks_of(dag: dict[str, Any], server: str) -> dict[str, dict[str, Any]]:
    evidence = dag["additional_data"]["evidence"].get(server, {})
    return {entry["check"]: entry for entry in evidence.get("checks", ())}


@other_controller_in_soak
async def test_skip_checks_is_logged_audited_and_does_not_block(open_testbed: OpenTestbed) -> None:
    async with open_testbed(2) as testbed, testbed.client() as client:
        testbed.cluster.server_entry(1)["start_options"] = {"memory_limit": "4000G"}
        testbed.cluster.write()
        await testbed.start_controller()
        with pytest.raises(ApiRefused) as unknown:
            await client.start("GLOBAL", skip_checks=["no-such"])
        assert (unknown.value.status, unknown.value.code) == (400, "Common.IllegalArgument")
        assert "memory" in str(unknown.value)
        with pytest.raises(ApiRefused) as harmful:
            await client.start("GLOBAL", skip_checks=["manager"])
        assert "cannot be skipped" in str(harmful.value)

        blocked = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert (blocked["state"], blocked["stage"]) == ("FAILED", CHECK), all_log_lines(blocked)
        assert "--skip-check memory" in sub_tasks(blocked, CHECK)[BAD]["task_logs"][-1]
        assert checks_of(blocked, BAD)["memory"]["level"] == "block"

        entry = testbed.cluster.server_entry(1)["start_options"]
        with closing(socket.create_server(("127.0.0.1", testbed.cluster.servers[1].sql_port))):
            entry["memory_limit"] = "2G"
            testbed.cluster.write()
            dag = await client.start("SERVER", [BAD], skip_checks=["ports"])
            ended = await wait_dag(client, dag["id"])
        lines = sub_tasks(ended, CHECK)[BAD]["task_logs"]
        assert any("skipped on request: [ports]" in line for line in lines)
        # The check was skipped, so the server reported the problem itself.
        assert (ended["state"], ended["stage"]) == ("FAILED", HEALTH), all_log_lines(ended)
        assert "a port is taken" in sub_tasks(ended, HEALTH)[BAD]["task_logs"][-1]
        (audited,) = await client.list_audit(dag["id"])
        assert (audited["action"], audited["reason"]) == ("START", "skips the checks ports")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@other_controller_in_soak
async def test_owner_check_as_root_cannot_be_skipped(
    open_testbed: OpenTestbed,
) -> None:
    async with open_testbed(1) as testbed, testbed.client() as client:
        store = testbed.cluster.servers[0].home / "store"
        store.mkdir()
        os.chown(store, 12345, 12345)
        await testbed.start_controller()
        dag = await wait_dag(client, (await client.start("GLOBAL", skip_checks=["owner"]))["id"])
        assert (dag["state"], dag["stage"]) == ("FAILED", CHECK)
        line = sub_tasks(dag, CHECK)[GOOD]["task_logs"][-1]
        assert "uid 12345" in line
        assert "root cannot skip" in line


@other_controller_in_soak
async def test_health_stage_killed_server_fails_at_once(
    open_testbed: OpenTestbed,
) -> None:
    async with open_testbed(1) as testbed, testbed.client() as client:
        # Longer than the test waits, so only the end of the process can end the stage.
        testbed.cluster.entries["health"] = {"stable_s": 250}
        testbed.cluster.write()
        await testbed.start_controller()
        dag_id = (await client.start("GLOBAL"))["id"]

        async def is_staying() -> bool:
            data = (await client.get_dag(dag_id))["additional_data"] or {}
            wait = data.get("wait", {}).get(GOOD, {})
            return bool(wait.get("kind") == "stable") and "level sql" in wait.get("last", "")

        await eventually(is_staying, timeout_s=60, what="the answer to SQL")
        (pid,) = testbed.server_pids()
        os.kill(pid, signal.SIGKILL)
        dag = await wait_dag(client, dag_id)
        assert (dag["state"], dag["stage"]) == ("FAILED", HEALTH), all_log_lines(dag)
        assert f"pid {pid}) is gone" in sub_tasks(dag, HEALTH)[GOOD]["task_logs"][-1]
        assert dag["additional_data"]["evidence"][GOOD]["level"] == "none"


@other_controller_in_soak
async def test_health_stage_server_stable_for_stable_s_succeeds(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed, testbed.client() as client:
        testbed.cluster.entries["health"] = {"stable_s": 1.5}
        testbed.cluster.write()
        await testbed.start_controller()
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert dag["state"] == "SUCCEED", all_log_lines(dag)
        lines = sub_tasks(dag, HEALTH)[GOOD]["task_logs"]
        assert any("stayed healthy for 1.5 s" in line for line in lines)
        assert dag["additional_data"]["evidence"][GOOD]["level"] == "sql"

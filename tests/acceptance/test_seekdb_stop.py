"""`Stop OB` on real seekdb servers, and of the process of another program."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dagengine.errors import ApiRefused
from tests.acceptance.conftest import (
    ClusterTestbed,
    OpenTestbed,
    all_log_lines,
    other_controller_in_soak,
    sub_tasks,
    wait_dag,
)

pytestmark = pytest.mark.slow

FIRST = "127.0.0.1:2886"
STOP = 4


async def start_all(testbed: ClusterTestbed) -> None:
    await testbed.start_controller()
    async with testbed.client() as client:
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
    assert dag["state"] == "SUCCEED", all_log_lines(dag)


@other_controller_in_soak
async def test_stop_terminate_seekdb_freezes_and_ends_server(
    open_testbed: OpenTestbed,
) -> None:
    async with open_testbed(2) as testbed, testbed.client() as client:
        await start_all(testbed)
        (before, _) = testbed.server_pids()
        dag = await wait_dag(client, (await client.stop("SERVER", [FIRST], terminate=True))["id"])
        assert (dag["name"], dag["state"]) == ("Stop OB", "SUCCEED"), all_log_lines(dag)
        assert "every checkpoint has grown" in all_log_lines(dag)
        assert len(testbed.server_pids()) == 1
        stopped = dag["additional_data"]["evidence"][FIRST]
        assert (stopped["level"], stopped["ended_by"]) == ("none", "SIGTERM")
        assert before != 0
        repeated = await wait_dag(client, (await client.start("SERVER", [FIRST]))["id"])
        assert repeated["state"] == "SUCCEED", all_log_lines(repeated)
        assert len(testbed.server_pids()) == 2


@other_controller_in_soak
async def test_stop_force_seekdb_ends_all_and_is_repeatable(open_testbed: OpenTestbed) -> None:
    async with open_testbed(2) as testbed, testbed.client() as client:
        await start_all(testbed)
        dag: Any = await asyncio.to_thread(testbed.sdk().stop_sync, "GLOBAL", [], True)
        assert (dag.name, dag.state) == ("Stop OB", "SUCCEED")
        assert testbed.server_pids() == []
        repeated = await wait_dag(client, (await client.stop("GLOBAL", force=True))["id"])
        assert repeated["state"] == "SUCCEED"
        assert all_log_lines(repeated).count("does not run: nothing to stop") == 2
        with pytest.raises(ApiRefused) as caught:
            await client.stop("GLOBAL", terminate=True)
        assert caught.value.code == "OB.Cluster.ForceStopRequired"


@other_controller_in_soak
async def test_stop_plain_seekdb_is_refused_with_remedy(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed, testbed.client() as client:
        await start_all(testbed)
        for scope, targets in (("SERVER", [FIRST]), ("ZONE", ["zone1"])):
            with pytest.raises(ApiRefused) as caught:
                await client.stop(scope, targets)
            assert caught.value.code == "OB.Cluster.ForceStopOrTerminateRequired"
            assert "seekdb" in caught.value.message
        assert len(testbed.server_pids()) == 1


@other_controller_in_soak
async def test_stop_leaves_foreign_process_in_home_running(open_testbed: OpenTestbed) -> None:
    async with open_testbed(2) as testbed, testbed.client() as client:
        await start_all(testbed)
        home = testbed.cluster.servers[0].home
        foreign = subprocess.Popen(["sleep", "600"], cwd=home)  # noqa: ASYNC220
        try:
            pids = testbed.server_pids()
            dag = await wait_dag(client, (await client.stop("SERVER", [FIRST], force=True))["id"])
            assert dag["state"] == "SUCCEED", all_log_lines(dag)
            assert sub_tasks(dag, STOP).keys() == {FIRST}
            (remaining_pid,) = testbed.server_pids()
            assert remaining_pid in pids
            assert Path(f"/proc/{remaining_pid}/cwd").resolve() == testbed.cluster.servers[1].home
            assert foreign.poll() is None
        finally:
            foreign.kill()
            foreign.wait()


@other_controller_in_soak
async def test_cli_stop_requires_mode_and_stops_with_force(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed:
        await start_all(testbed)

        async def command(*argv: str) -> tuple[int, str]:
            process = await asyncio.create_subprocess_exec(
                *(str(Path(sys.executable).with_name("dagengine")), "stop", *argv),
                env=dict(testbed.cluster.environment),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            return process.returncode or 0, output.decode()

        code, text = await command()
        assert (code, "ForceStopOrTerminateRequired" in text) == (2, True)
        assert (await command("--zone", "zone1", "--server", FIRST))[0] == 2
        assert (await command("--force", "--terminate"))[0] == 2
        assert len(testbed.server_pids()) == 1
        code, text = await command("--server", FIRST, "--force")
        assert code == 0, text
        assert testbed.server_pids() == []

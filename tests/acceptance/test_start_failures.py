"""One server cannot start: the other one does, the cause is logged, and RETRY starts it alone."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import pymysql
import pytest

from dagengine.testing import eventually
from tasks.hosts.commands import FIRST_START_MARKER
from tasks.hosts.home_state import StartKind, describe_kind
from tasks.operations.start import START
from tests.acceptance.conftest import (
    OpenTestbed,
    all_log_lines,
    other_controller_in_soak,
    sub_tasks,
    wait_dag,
)
from tests.acceptance.start_faults import BAD, FAULTS, GOOD, Fault

# Each takes about ten seconds.
FAULT_CASES = [pytest.param(fault, id=fault.name, marks=pytest.mark.slow) for fault in FAULTS]


@pytest.mark.parametrize("fault", FAULT_CASES)
@other_controller_in_soak
async def test_start_one_broken_server_fails_alone_and_is_retried(
    open_testbed: OpenTestbed, fault: Fault
) -> None:
    async with open_testbed(2) as testbed, testbed.client() as client:
        fix = fault.cause(testbed)
        await testbed.start_controller()
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])

        assert (dag["state"], dag["operator"]) == ("FAILED", "RUN")
        first_failed = next(
            n for n, node in enumerate(dag["nodes"], 1) if node["state"] == "FAILED"
        )
        # A server that ends at once may have ended before stage 3 identifies its process.
        assert first_failed in ((3, 4) if fault.stage == 4 else (fault.stage,))
        assert dag["stage"] == first_failed
        failed = sub_tasks(dag, first_failed)
        assert (failed[GOOD]["state"], failed[BAD]["state"]) == ("SUCCEED", "FAILED")
        for word in fault.expected_words:
            assert word in failed[BAD]["task_logs"][-1], all_log_lines(dag)
        assert [node["state"] for node in dag["nodes"][4:]] == ["SUCCEED", "SUCCEED"]
        assert dag["additional_data"]["evidence"][GOOD]["level"] == "sql"
        bad_evidence = dag["additional_data"]["evidence"].get(BAD, {})
        cause = bad_evidence.get("cause", "")
        if "its log does not" not in cause:  # seekdb loses its last lines
            assert bad_evidence.get("errcode") == fault.errcode, bad_evidence
        (good_pid,) = testbed.server_pids()

        fix()
        await client.operate_dag(dag["id"], "RETRY")
        retried = await wait_dag(client, dag["id"])
        assert retried["state"] == "SUCCEED", retried["nodes"][first_failed - 1]
        for stage in (2, 3, 4):
            assert sub_tasks(retried, stage)[GOOD] == sub_tasks(dag, stage)[GOOD]
        assert good_pid in testbed.server_pids()
        assert len(testbed.server_pids()) == 2


@pytest.mark.slow
@other_controller_in_soak
async def test_start_after_taken_port_sets_password(open_testbed: OpenTestbed) -> None:
    """A first boot whose port is taken completes but for the last step: root has no password."""
    async with open_testbed(1) as testbed, testbed.client() as client:
        server, reached = testbed.cluster.servers[0], testbed.cluster.directory / "reached"
        marker = server.home / FIRST_START_MARKER
        await testbed.start_controller(stage=START, side="before", reached=str(reached))
        accepted = await client.start("GLOBAL")

        async def is_held() -> bool:
            return reached.exists()

        await eventually(is_held, timeout_s=60, what="the launch, after the check of the ports")
        with socket.create_server(("0.0.0.0", server.sql_port)):
            reached.unlink()
            dag = await wait_dag(client, accepted["id"])
        assert (dag["state"], dag["stage"]) == ("FAILED", 4), all_log_lines(dag)
        assert (server.home / "run/telemetry.json").exists()
        assert marker.exists()

        await testbed.end_controller()
        await testbed.start_controller()
        dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
        assert dag["state"] == "SUCCEED", all_log_lines(dag)
        (check,) = sub_tasks(dag, 2).values()
        assert describe_kind(StartKind.LATER) in check["task_logs"][-1]
        assert "root had no password; set the configured one" in all_log_lines(dag)
        assert not marker.exists()
        connect = partial(pymysql.connect, host="127.0.0.1", port=server.sql_port, user="root")
        with pytest.raises(pymysql.OperationalError, match="Access denied"):
            await asyncio.to_thread(connect, password="")
        (await asyncio.to_thread(connect, password=testbed.cluster.password)).close()


@pytest.mark.slow
@other_controller_in_soak
async def test_start_wrong_root_password_is_named_in_log(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed:
        await testbed.start_controller()
        async with testbed.client() as client:
            assert (await wait_dag(client, (await client.start("GLOBAL"))["id"]))["state"] == (
                "SUCCEED"
            )
        await testbed.end_controller()
        testbed.cluster.password = "another"
        await testbed.start_controller()
        async with testbed.client() as client:
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
            assert (dag["state"], dag["stage"]) == ("FAILED", 4)
            (task,) = sub_tasks(dag, 4).values()
            assert "refuses the configured password" in task["task_logs"][-1]
            await client.operate_dag(dag["id"], "PASS")
            passed = await client.get_dag(dag["id"])
            assert (passed["state"], passed["operator"], passed["stage"]) == ("SUCCEED", "PASS", 4)

"""Followers of a DAG across kill -9 of the controller receive every event exactly once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import aclosing

import pytest

from dagengine.client import Client, StreamEvent
from dagengine.testing import eventually
from tests.acceptance.conftest import OpenTestbed

STAGE = "Start observers"


async def collect(client: Client, dag_id: str) -> list[StreamEvent]:
    async with asyncio.timeout(180), aclosing(client.follow(dag_id)) as events:
        return [event async for event in events]


@pytest.mark.slow
async def test_event_stream_survives_controller_kill_without_loss(
    open_testbed: OpenTestbed,
) -> None:
    async with open_testbed(1) as testbed, testbed.client() as client, testbed.client() as other:
        reached = testbed.cluster.directory / "reached"
        await testbed.start_controller(stage=STAGE, side="before", reached=str(reached))
        dag_id = (await client.start("GLOBAL"))["id"]
        following = asyncio.create_task(collect(other, dag_id), name="following")
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dagengine", "show", "--follow", dag_id),
            env={
                **os.environ,
                "DAGENGINE_URL": testbed.cluster.url,
                "DAGENGINE_PASSWORD": testbed.cluster.password,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert command.stdout is not None
        async with asyncio.timeout(60):
            first_line = await command.stdout.readline()

        async def is_held() -> bool:
            return reached.exists()

        await eventually(is_held, timeout_s=60, what=f"the latch in '{STAGE}'")
        await testbed.end_controller(signal.SIGKILL)
        await testbed.start_controller()

        events = await following
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert (events[-1].kind, events[-1].data["state"]) == ("dag", "SUCCEED")
        assert events == await collect(client, dag_id), "the received events are the stored ones"
        dag = await client.get_dag(dag_id)
        lines = [line for n in dag["nodes"] for t in n["sub_tasks"] for line in t["task_logs"]]
        streamed_lines = [event.data["log_content"] for event in events if event.kind == "line"]
        assert sorted(streamed_lines) == sorted(lines)

        async with asyncio.timeout(60):
            out, err = await command.communicate()
        assert command.returncode == 0, err.decode()
        printed = (first_line + out).decode().splitlines()
        assert len(printed) == len(set(printed))
        for stage in range(1, 7):
            assert sum(f"[{stage}/6]" in line and "SUCCEED" in line for line in printed) == 1
        assert ": SUCCEED, took" in printed[-1]

"""obshell-mcp, the official tool server for language models, starts a real cluster."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.acceptance.conftest import OpenTestbed

pytestmark = pytest.mark.slow


def text_of(result: Any) -> str:
    return "\n".join(part.text for part in result.content if hasattr(part, "text"))


async def test_obshell_mcp_starts_cluster_and_reports_error(open_testbed: OpenTestbed) -> None:
    async with open_testbed(1) as testbed:
        await testbed.start_controller()
        host, _, port = testbed.cluster.url.removeprefix("http://").rpartition(":")
        server = StdioServerParameters(
            command=sys.executable,
            args=["-m", "obshell_mcp"],
            env={
                **os.environ,
                "OBSHELL_HOST": host,
                "OBSHELL_PORT": port,
                "SYS_PASSWORD": testbed.cluster.password,
            },
        )
        async with stdio_client(server) as streams, ClientSession(*streams) as session:
            await session.initialize()

            async def use(sdk_method: str, **args: Any) -> Any:
                request = {"sdk_method": sdk_method, "args": args}
                return await session.call_tool("call_obshell_sdk", request)

            refused = await use("start", level="ZONE", target=["nowhere"])
            assert "OB.Zone.NotExist" in text_of(refused)
            started = await use("start_sync", level="GLOBAL", target=[])
            assert "SUCCEED" in text_of(started), text_of(started)
            status = await use("get_status")
            assert "CLUSTER AGENT" in text_of(status)
        assert len(testbed.server_pids()) == 1

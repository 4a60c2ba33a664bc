"""`dryRun`: the plan of a start or stop, from real hosts; nothing is changed."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from dagengine.client import ApiRefused, Client
from dagengine.remote import Command, CommandResult, HostAddress
from dagengine.testing import LocalRunner, LocalRunnerPool
from tasks.hosts.commands import FACTS_LIMIT_S
from tests.support.plan_cluster import PASSWORD, PlanCluster


async def test_dry_run_start_reports_plan_and_changes_nothing(plan_cluster: PlanCluster) -> None:
    good, bad = plan_cluster.add(2886), plan_cluster.add(2887, installed=False)
    async with plan_cluster.client() as client:
        plan = await client.start("GLOBAL", dry_run=True)
        assert (plan["dry_run"], plan["name"]) == (True, "Start OB")
        assert plan["lock"] == {"key": "cluster", "dag_id": None, "about": "free"}
        first, second = plan["servers"]
        assert (first["server"], first["verdict"]) == (good, "start")
        (command,) = first["commands"]
        assert command.startswith("dagengine-start '")
        assert "--parameter memory_limit=2G" in command
        assert {check["level"] for check in first["checks"]} <= {"ok", "warn"}
        assert (second["server"], second["verdict"], second["commands"]) == (bad, "blocked", [])
        assert "seekdb" in second["reason"]
        assert any(check["level"] == "block" for check in second["checks"])
        assert PASSWORD not in json.dumps(plan)
        await plan_cluster.assert_nothing_happened(client)


async def test_dry_run_silent_host_has_verdict_unknown(plan_cluster: PlanCluster) -> None:
    async def accept_silently(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):  # and never say anything
            pass
        writer.close()

    silent = await asyncio.start_server(accept_silently, "127.0.0.1", 0)
    async with silent:
        good = plan_cluster.add(2886)
        silent_server = plan_cluster.add(2887, ssh_port=silent.sockets[0].getsockname()[1])
        async with plan_cluster.client() as client, asyncio.timeout(30):
            servers = (await client.start("GLOBAL", dry_run=True))["servers"]
            verdicts = {server["server"]: server["verdict"] for server in servers}
            assert verdicts == {good: "start", silent_server: "unknown"}
            await plan_cluster.assert_nothing_happened(client)


class SlowHost(LocalRunner):
    """A host with a dead data mount: its facts take 13 s by the clock of the event loop."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._patch = patch

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        result = await super().run(command, timeout_s=timeout_s)
        loop = asyncio.get_running_loop()
        time = loop.time
        self._patch.setattr(loop, "time", lambda: time() + 13.0)
        for _ in range(5):  # a time limit of less than 13 s expires here
            await asyncio.sleep(0)
        lines = result.stdout.replace("end=yes\n", "unanswered=/dead/data\nend=yes\n")
        return replace(result, stdout=lines)


class SlowPool(LocalRunnerPool):
    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def runner(self, address: HostAddress) -> LocalRunner:
        return SlowHost(self._patch)


async def test_dry_run_slow_host_reports_its_finding(
    plan_cluster: PlanCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_cluster.add(2886)
    monkeypatch.setattr("dagengine.server.controller.SshPool", lambda *_: SlowPool(monkeypatch))
    async with plan_cluster.client() as client:
        (server,) = (await client.start("GLOBAL", dry_run=True))["servers"]
        assert server["verdict"] == "blocked"
        assert "/dead/data could not be examined" in server["reason"]
        await plan_cluster.assert_nothing_happened(client)


def test_dry_run_ends_before_limit_of_client() -> None:
    client_limit_s = inspect.signature(Client).parameters["timeout_s"].default
    assert client_limit_s > FACTS_LIMIT_S
    assert HostAddress("127.0.0.1").command_timeout_s > FACTS_LIMIT_S


async def test_dry_run_invalid_request_is_refused_like_call(plan_cluster: PlanCluster) -> None:
    plan_cluster.add(2886)
    async with plan_cluster.client() as client:
        with pytest.raises(ApiRefused) as refused:
            await client.start("ZONE", ["none"], dry_run=True)
        assert refused.value.code == "OB.Zone.NotExist"
        with pytest.raises(ApiRefused) as refused:
            await client.stop("GLOBAL", dry_run=True)
        assert refused.value.code == "OB.Cluster.ForceStopOrTerminateRequired"
        with pytest.raises(ApiRefused, match="dryRun"):
            await client.post("/ob/start?dryRun=perhaps", {"scope": {"type": "GLOBAL"}})


async def test_dry_run_stop_of_stopped_server_has_verdict_nothing(
    plan_cluster: PlanCluster,
) -> None:
    plan_cluster.add(2886)
    async with plan_cluster.client() as client:
        plan = await client.stop("GLOBAL", force=True, dry_run=True)
        (server,) = plan["servers"]
        assert (plan["name"], server["verdict"], server["reason"]) == (
            *("Stop OB", "nothing"),
            "does not run",
        )
        await plan_cluster.assert_nothing_happened(client)


async def test_cli_dry_run_prints_plan_and_sets_exit_code(plan_cluster: PlanCluster) -> None:
    plan_cluster.add(2886)
    async with plan_cluster.client() as client:
        code, output = await run_command(plan_cluster, "start", "--dry-run")
        assert code == 0
        assert output[0] == "Start OB: this is what it would do; nothing was changed"
        assert output[1] == "lock 'cluster': free"
        assert output[2].startswith("  127.0.0.1:2886  start ")
        assert any(line.startswith("      would run: dagengine-start") for line in output)
        await plan_cluster.assert_nothing_happened(client)
    plan_cluster.add(2887, installed=False)
    async with plan_cluster.client() as client:
        code, output = await run_command(plan_cluster, "start", "--dry-run")
        assert code == 1
        assert any("  127.0.0.1:2887  blocked" in line for line in output)
        await plan_cluster.assert_nothing_happened(client)


async def run_command(plan_cluster: PlanCluster, *argv: str) -> tuple[int, list[str]]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DAGENGINE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dagengine", *argv),
        env=clean | {"DAGENGINE_URL": plan_cluster.url, "DAGENGINE_PASSWORD": PASSWORD},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert b"Traceback" not in err, err.decode()
    assert process.returncode is not None
    return process.returncode, out.decode().splitlines()

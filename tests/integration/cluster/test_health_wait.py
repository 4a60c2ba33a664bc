"""The health wait of a real process, and the outcome of each of its results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dagengine import Failed, Succeeded, SystemClock
from dagengine.testing.local_runner import LocalRunner
from tasks.cluster.root_password import RootLogins
from tasks.hosts.identity import ProcessIdentity
from tasks.operations.health import (
    Exited,
    HealthLevel,
    HealthTimedOut,
    Healthy,
    MonitoredServer,
    wait_until_healthy,
)
from tasks.operations.health_outcome import (
    exit_outcome,
    health_outcome,
    password_refused_outcome,
)
from tests.support.factories import make_server
from tests.support.hostile_cluster import FakeContext

UNUSED_PORT = 1
ERROR_LINE = (
    "[2024-01-10 03:24:44.513664] ERROR issue_dba_error [1][] [lt=0][errcode=-4184] no space\n"
)


@pytest_asyncio.fixture
async def process() -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec("sleep", "300")
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


def monitor(home: Path, pid: int) -> MonitoredServer:
    started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    server = make_server(name="a:1", home=str(home), sql_port=UNUSED_PORT)
    process = ProcessIdentity("", pid, started, 0, "")
    return MonitoredServer(server, LocalRunner(), process, 0, "", RootLogins())


async def test_wait_until_healthy_with_ended_process_returns_exited(
    tmp_path: Path, process: asyncio.subprocess.Process
) -> None:
    monitored = monitor(tmp_path, process.pid)
    process.kill()
    await process.wait()
    result = await wait_until_healthy(monitored, FakeContext("a:1").as_context(), SystemClock())
    assert result == Exited()


async def test_wait_until_healthy_without_answer_returns_timed_out(
    tmp_path: Path, process: asyncio.subprocess.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.operations.health.LIMIT_S", 0.01)
    monitored = monitor(tmp_path, process.pid)
    result = await wait_until_healthy(monitored, FakeContext("a:1").as_context(), SystemClock())
    assert isinstance(result, HealthTimedOut)
    assert (result.level, result.limit_s) == (HealthLevel.PROCESS, 0.01)
    assert result.reason == f"nothing listens on port {UNUSED_PORT} yet"


async def test_health_outcome_of_an_exit_names_the_cause(
    tmp_path: Path, process: asyncio.subprocess.Process
) -> None:
    monitored, context = monitor(tmp_path, process.pid), FakeContext("a:1")
    log = Path(monitored.server.log_file)
    log.parent.mkdir(parents=True)
    log.write_text(ERROR_LINE)
    process.kill()
    await process.wait()
    outcome = await health_outcome(Exited(), monitored, context.as_context())
    assert isinstance(outcome, Failed)
    assert outcome.problem.code == "OB.Server.Process.NotExist"
    assert (
        f"(pid {process.pid}) is gone: the disk is full (errcode -4184" in outcome.problem.message
    )
    assert outcome.problem.message.endswith(f"(log: {log})")
    assert outcome.problem.remedy.endswith(", then RETRY")
    assert (outcome.evidence["level"], outcome.evidence["errcode"]) == ("none", -4184)
    assert context.lines[-1] == f"a:1 log: {ERROR_LINE.strip()}"


async def test_exit_outcome_without_pid_names_refused_option(tmp_path: Path) -> None:
    options = {"memory_limit": "1.5G"}
    server = make_server(name="a:1", home=str(tmp_path), start_options=options)
    unknown = ProcessIdentity("", 0, 0, 0, "")
    monitored = MonitoredServer(server, LocalRunner(), unknown, 0, "", RootLogins(), is_first=True)
    log = Path(server.log_file)
    log.parent.mkdir(parents=True)
    log.touch()
    context = FakeContext("a:1")
    outcome = await exit_outcome(monitored, context.as_context())
    assert outcome.problem.message.startswith(
        "a:1: the server has ended right after its launch: it refused a start option, without a"
        " line in its log: memory_limit '1.5G' is not "
    )
    assert "start_options" in outcome.problem.remedy
    assert "pid" not in outcome.evidence
    assert "pid 0" not in "\n".join([*context.lines, outcome.problem.render()])


async def test_health_outcome_of_a_time_out_names_the_reason(
    tmp_path: Path, process: asyncio.subprocess.Process
) -> None:
    monitored, context = monitor(tmp_path, process.pid), FakeContext("a:1").as_context()
    result = HealthTimedOut(HealthLevel.PORT, "no greeting", "", 300.0)
    outcome = await health_outcome(result, monitored, context)
    assert isinstance(outcome, Failed)
    assert outcome.problem.render() == (
        f"ERROR: [OB.Cluster.AsyncOperationTimeout]: a:1 runs (pid {process.pid}) but does not"
        f" answer SQL within 300 s: no greeting; read {monitored.server.log_file}, then RETRY"
    )
    assert outcome.evidence["level"] == "port"


async def test_health_outcome_of_a_healthy_server_succeeds(
    tmp_path: Path, process: asyncio.subprocess.Process
) -> None:
    monitored, context = monitor(tmp_path, process.pid), FakeContext("a:1")
    outcome = await health_outcome(Healthy("1.4", 1.5), monitored, context.as_context())
    assert isinstance(outcome, Succeeded)
    assert outcome.data == {"healthy_after_s": 1.5, "version": "1.4"}
    assert outcome.evidence["level"] == "sql"
    assert context.lines == ["a:1 answers SQL after 1.50 s"]


async def test_password_refused_outcome_names_the_remedy(
    tmp_path: Path, process: asyncio.subprocess.Process
) -> None:
    problem = password_refused_outcome(monitor(tmp_path, process.pid), "PASSWORD_VARIABLE").problem
    assert problem.code == "Security.Authentication.IncorrectOceanbasePassword"
    assert problem.remedy == (
        "correct the password of root@sys in PASSWORD_VARIABLE, which the cluster file names, "
        "then RETRY"
    )

"""Notifications to systemd (ready, alive, stopping), and the shipped unit."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagengine.server.config import ApiConfig
from dagengine.server.systemd import Notifier, Watchdog, watchdog_period_s
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing.internals import held_writer
from tasks.demo.hosts import free_port

UNIT = Path(__file__).parents[3] / "configs" / "dagengine.service"
CLUSTER = """
name: x
id: 1
flavour: seekdb
root_password: none
zones: {z1: [{ip: 127.0.0.1, home: /srv/seekdb}]}
"""


class ServiceManager:
    """The socket of the service manager."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._line.bind(address.replace("@", "\0", 1))
        self._line.settimeout(60)

    def receive(self) -> list[str]:
        """The next message; waits for it."""
        return self._line.recv(4096).decode().split("\n")

    def is_silent(self) -> bool:
        self._line.setblocking(False)
        try:
            return not self._line.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self._line.settimeout(60)

    def close(self) -> None:
        self._line.close()


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServiceManager]:
    is_abstract = request.param == "abstract"
    opened = ServiceManager(
        f"@dagengine-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    )
    yield opened
    opened.close()


def test_serve_notifies_ready_watchdog_and_stopping(
    manager: ServiceManager, tmp_path: Path
) -> None:
    port = free_port()
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    (tmp_path / "engine.yaml").write_text(
        f"{{api: {{port: {port}}}, store: {{path: s.sqlite}}, cluster: cluster.yaml}}"
    )
    environ = os.environ | {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "300000"}
    environ.pop("WATCHDOG_PID", None)
    with subprocess.Popen(
        [sys.executable, "-m", "dagengine", "serve", "-c", tmp_path / "engine.yaml"],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert manager.receive() == ["READY=1", f"STATUS=serving http://127.0.0.1:{port}"]
            with socket.create_connection(("127.0.0.1", port), timeout=60):
                pass
            assert [manager.receive() for _ in range(3)] == [["WATCHDOG=1"]] * 3
            process.send_signal(signal.SIGTERM)
            while (message := manager.receive()) == ["WATCHDOG=1"]:
                pass
            assert message[0] == "STOPPING=1"
            assert process.wait(60) == 0
        finally:
            process.kill()


async def test_watchdog_blocked_writer_withholds_ping(
    manager: ServiceManager, tmp_path: Path
) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    watchdog = Watchdog(Notifier(manager.address), 0.6, store.ping)
    assert await watchdog.run_pass()
    assert manager.receive() == ["WATCHDOG=1"]
    async with held_writer(store):
        assert not await watchdog.run_pass()
        assert manager.is_silent()
    assert await Watchdog(Notifier(manager.address), 180, store.ping).run_pass()
    assert manager.receive() == ["WATCHDOG=1"]
    await store.close()
    assert not await watchdog.run_pass()
    assert manager.is_silent()


def test_notifier_without_manager_does_nothing(tmp_path: Path) -> None:
    Notifier.from_env({}).send("READY=1")
    Notifier.from_env({"NOTIFY_SOCKET": str(tmp_path / "none")}).send("READY=1")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid())}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}, None),  # of another process
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_period_s_is_read_from_environment(
    environ: dict[str, str], expected: float | None
) -> None:
    assert watchdog_period_s(environ) == expected


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_unit_file_passes_systemd_analyze_verify() -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", UNIT], capture_output=True, text=True, check=False, timeout=60
    )
    problems = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    assert [line for line in problems if "dagengine" in line] == []


def test_unit_file_matches_notifications_of_program() -> None:
    keys = dict(
        line.split("=", 1)
        for line in UNIT.read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    assert keys["Type"] == "notify"
    assert int(keys["WatchdogSec"]) > 0
    assert keys["EnvironmentFile"] == "/etc/dagengine/environment"  # no `-`: it must exist
    assert keys["RestartPreventExitStatus"] == "2"  # ExitCode.USAGE: of a wrong configuration
    assert int(keys["LimitNOFILE"]) >= ApiConfig(host="::1").max_connections + 512

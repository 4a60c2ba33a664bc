"""Detection of other managers of a home over SSH, and the decisions from it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from dagengine.remote.ssh.pool import SshPool
from tasks.demo.hosts import DemoHost
from tasks.hosts.commands import facts_command
from tasks.hosts.facts import HostFacts, parse_facts
from tasks.preflight.decide import Blocked, decide_start
from tasks.preflight.decide_stop import Stop, decide_stop
from tasks.preflight.management import find_other_manager
from tasks.preflight.result import StartTarget
from tests.conftest import AddressOf
from tests.support.external_managers import obshell_of, unit_of
from tests.support.factories import make_server
from tests.support.fake_servers import run_server

Manager = Callable[[Path, Path], AbstractContextManager[object]]

MANAGERS: dict[str, tuple[Manager, str, str]] = {
    "a unit that executes the program": (
        lambda units, home: unit_of(units, f"ExecStart={home}/bin/seekdb --base-dir {home}"),
        "database.service starts the server of this home when the host boots",
        "systemctl start database.service",
    ),
    "a unit that works there": (
        lambda units, home: unit_of(units, f"WorkingDirectory={home}"),
        "database.service starts the server of this home when the host boots",
        "systemctl start database.service",
    ),
    "an OBShell": (
        lambda _units, home: obshell_of(home),
        "manages this home",
        "obshell agent stop",
    ),
}


@contextmanager
def server_of(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is a seekdb by its program and its working directory."""
    with run_server(home, "--base-dir", str(home)) as process:
        yield process
        assert process.poll() is None, "it was ended"


class ProbedHome:
    """A home on a host, inspected over SSH; systemd units are searched in `units`."""

    def __init__(self, directory: Path, pool: SshPool, host: DemoHost, address: AddressOf) -> None:
        self.units, self.home = directory / "units", directory / "home"
        (self.home / "bin").mkdir(parents=True)
        self.server = make_server(home=str(self.home), address=address(host))
        self._runner = pool.runner(self.server.address)

    async def facts(self) -> HostFacts:
        command = facts_command(self.server, units=[str(self.units)])
        facts = parse_facts((await self._runner.run(command, timeout_s=60)).stdout)
        assert facts.complete
        return facts


@pytest.fixture
def probed_home(
    tmp_path: Path, ssh_pool: SshPool, ssh_host: DemoHost, address_of: AddressOf
) -> ProbedHome:
    return ProbedHome(tmp_path, ssh_pool, ssh_host, address_of)


@pytest.mark.parametrize("name", MANAGERS)
async def test_decide_home_with_manager_is_blocked_with_remedy(
    probed_home: ProbedHome, name: str
) -> None:
    manager, expected_text, remedy = MANAGERS[name]
    with manager(probed_home.units, probed_home.home):
        facts = await probed_home.facts()
        decision = decide_start(facts, StartTarget(probed_home.server), skip=["manager"])
        assert isinstance(decision, Blocked)
        blocks = [verdict for verdict in decision.check_results if expected_text in str(verdict)]
        assert blocks, decision
        assert remedy in str(blocks[0])
        with server_of(probed_home.home) as process:
            facts = await probed_home.facts()
            assert facts.process is not None
            assert facts.process.pid == process.pid
            stop = decide_stop(facts, home=probed_home.server.home)
            assert isinstance(stop, Blocked)
            assert expected_text in stop.message
            assert remedy in stop.remedy
    assert find_other_manager(await probed_home.facts()) is None


@pytest.mark.parametrize(
    "line",
    ["ExecStart={home}2/bin/seekdb --base-dir {home}2", "# WorkingDirectory={home}er"],
    ids=["of a home whose name begins alike", "of none"],
)
async def test_check_manager_unit_of_other_home_is_ignored(
    probed_home: ProbedHome, line: str
) -> None:
    with (
        unit_of(probed_home.units, line.format(home=probed_home.home)),
        server_of(probed_home.home),
    ):
        facts = await probed_home.facts()
        assert find_other_manager(facts) is None
        assert isinstance(decide_stop(facts, home=probed_home.server.home), Stop)

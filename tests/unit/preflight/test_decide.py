"""The scripts that inspect and start, run on this machine, and decisions based on their output."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dagengine.remote import Command
from dagengine.testing import LocalRunner
from tasks.cluster.servers import Server
from tasks.demo.cluster import find_seekdb
from tasks.hosts.commands import (
    error_lines_command,
    facts_command,
    probe_command,
    start_command,
    wait_for_lock_command,
)
from tasks.hosts.facts import HostFacts, parse_alive, parse_facts
from tasks.hosts.home_state import Place, StartKind
from tasks.hosts.reports import StartOutcome, parse_start
from tasks.preflight.decide import Blocked, Decision, NoOp, Start, decide_start
from tasks.preflight.result import Severity, StartTarget
from tests.support.factories import make_server
from tests.support.fake_servers import run_server
from tests.support.source_port import source_port


@dataclass(frozen=True)
class Host:
    """A home on this machine with a server program that prints its arguments and fails."""

    home: Path
    port: int
    flavour: str = "seekdb"
    units: str = "/nowhere"

    @property
    def server(self) -> Server:
        return make_server(flavour=self.flavour, home=str(self.home), sql_port=self.port)

    @property
    def binary(self) -> Path:
        return Path(self.server.binary)

    async def run(self, command: Command) -> str:
        result = await LocalRunner().run(command, timeout_s=30)
        assert result.stderr == ""
        return result.stdout

    async def inspect(self) -> HostFacts:
        facts = parse_facts(await self.run(facts_command(self.server, units=[self.units])))
        assert facts.complete
        return facts

    async def decide(self) -> Decision:
        return decide_start(await self.inspect(), StartTarget(self.server))

    @contextmanager
    def running(self, *words: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Run a process that looks like the server by its program and its working directory."""
        with run_server(cwd or self.home, *words) as process:
            yield process


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with socket.socket() as reserved:  # bound, but not listening: reserves the port
        reserved.bind(("127.0.0.1", 0))
        new_host = Host(tmp_path / "home with 'odd' $name", reserved.getsockname()[1])
        new_host.binary.parent.mkdir(parents=True)
        new_host.binary.write_text('#!/bin/sh\necho "said $*"\nexit 87\n')
        new_host.binary.chmod(0o755)
        yield new_host


async def test_decide_start_home_with_program_gives_first_start(host: Host) -> None:
    facts = await host.inspect()
    assert (facts.uid, facts.home_owner, facts.home) == (os.getuid(), os.getuid(), "directory")
    assert {disk.path for disk in facts.disks} == {str(host.home)}
    assert facts.total_bytes is not None
    assert facts.open_files is not None
    assert facts.missing == facts.foreign == facts.unwritable == facts.units == ()
    assert facts.program_bytes == host.binary.stat().st_size
    assert (facts.obshell, facts.version) == (None, "")
    decision = await host.decide()
    assert isinstance(decision, Start)
    assert decision.kind is StartKind.FIRST


async def test_start_command_running_server_is_not_started_again(host: Host) -> None:
    with host.running("--base-dir", str(host.home)) as process:
        decision = await host.decide()
        assert isinstance(decision, NoOp)
        assert decision.process.pid == process.pid
        assert (decision.process.owner, decision.process.by) == (os.getuid(), "77")
        start = start_command(host.server, "78", StartKind.FIRST)
        report = parse_start(await host.run(start))
        assert (report.outcome, report.status) == ("running", None)
        assert report.process == decision.process


async def test_decide_start_port_of_connection_names_process(host: Host) -> None:
    with source_port() as port:
        decision = await replace(host, port=port).decide()
    assert isinstance(decision, Blocked)
    assert f"port {port} is the source port of a connection" in decision.message
    assert f"pid {os.getpid()})" in decision.message
    assert f"add {port} to net.ipv4.ip_local_reserved_ports" in decision.remedy


async def test_facts_command_reports_port_in_time_wait(host: Host) -> None:
    with source_port(is_ended=True) as port:
        facts = await replace(host, port=port).inspect()
    assert [(each.port, each.has_ended) for each in facts.connections] == [(port, True)]
    assert facts.source_ports is not None


async def test_start_command_observer_uses_home_libraries_no_options(
    host: Host,
) -> None:
    observer_host = replace(host, flavour="oceanbase")
    observer_host.binary.write_text('#!/bin/sh\necho "$PWD $LD_LIBRARY_PATH $# $0"\nexit 3\n')
    observer_host.binary.chmod(0o755)
    start = start_command(observer_host.server, "77", StartKind.LATER)
    assert parse_start(await host.run(start)).outcome is StartOutcome.CHANGED
    (host.home / "etc").mkdir()
    (host.home / "etc" / "observer.config.bin").touch()
    report = parse_start(await host.run(start))
    assert report.output_tail == f"{host.home} {host.home}/lib 0 {observer_host.binary}"
    assert (report.status, report.moved_aside) == (3, ())


async def test_facts_command_ignores_process_of_other_home(host: Host, tmp_path: Path) -> None:
    other_home = tmp_path / "other"
    other_home.mkdir()
    with (
        host.running("--base-dir", str(other_home), cwd=other_home),
        host.running("--home", str(host.home), cwd=other_home),
        subprocess.Popen(["sleep", "60"], cwd=host.home) as unrelated,  # noqa: ASYNC220
    ):
        facts = await host.inspect()
        assert (facts.process, facts.doubts) == (None, ())
        unrelated.kill()


async def test_probe_command_zombie_counts_as_gone(host: Host) -> None:
    with host.running("--base-dir", str(host.home)) as process:
        identity = (await host.inspect()).process
        assert identity is not None
        probe = probe_command(identity.pid, identity.started, host.port)
        assert parse_alive(await host.run(probe)).is_alive
        process.kill()
        # Ended, but not reaped: it was just killed, so this does not block.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
        assert Path(f"/proc/{process.pid}").exists()
        assert parse_alive(await host.run(probe)).is_gone
        assert isinstance(await host.decide(), Start)


async def test_probe_command_reused_pid_counts_as_gone(host: Host) -> None:
    with host.running("--base-dir", str(host.home)):
        identity = (await host.inspect()).process
        assert identity is not None
        other_start = probe_command(identity.pid, identity.started + 1, host.port)
        assert parse_alive(await host.run(other_start)).is_gone


@pytest.mark.parametrize(
    ("family", "ip"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
async def test_decide_start_port_of_other_program_is_blocked(
    host: Host, family: socket.AddressFamily, ip: str
) -> None:
    with socket.socket(family) as listener:
        listener.bind((ip, 0))
        host_with_port = replace(host, port=listener.getsockname()[1])
        assert isinstance(await host_with_port.decide(), Start)
        listener.listen()
        decision = await host_with_port.decide()
        assert isinstance(decision, Blocked)
        assert decision.code == "Common.InvalidPort"
        assert host_with_port.server.ports == {"sql_port": host_with_port.port}


@pytest.mark.parametrize(
    ("family", "ip"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
async def test_probe_command_connections_without_listener_are_ignored(
    host: Host, family: socket.AddressFamily, ip: str
) -> None:
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(host.running("--base-dir", str(host.home)))
        identity = (await host.inspect()).process
        assert identity is not None
        assert identity.pid == process.pid
        with socket.create_server((ip, 0), family=family) as listener:
            port = listener.getsockname()[1]
            for _ in range(50):  # they outlive the listener, on its port
                stack.enter_context(socket.create_connection((ip, port)))
                stack.enter_context(listener.accept()[0])
        probe = probe_command(identity.pid, identity.started, port)
        assert not parse_alive(await host.run(probe)).is_listening
        stack.enter_context(socket.create_server((ip, port), family=family))
        process_state = parse_alive(await host.run(probe))
        assert (process_state.is_listening, process_state.is_alive) == (True, True)


async def test_decide_start_home_missing_or_file_is_blocked(host: Host, tmp_path: Path) -> None:
    missing = replace(host, home=tmp_path / "none")
    decision = await missing.decide()
    assert isinstance(decision, Blocked)
    assert decision.message == f"the home {missing.home} does not exist"
    missing.home.write_text("a file")
    decision = await missing.decide()
    assert isinstance(decision, Blocked)
    assert decision.message == f"the home {missing.home} is not a directory"


async def test_decide_start_missing_or_not_executable_program_blocks(host: Host) -> None:
    host.binary.chmod(0o644)
    decision = await host.decide()
    assert isinstance(decision, Blocked)
    assert decision.message == f"the program {host.binary} is not executable"
    host.binary.unlink()
    decision = await host.decide()
    assert isinstance(decision, Blocked)
    assert decision.message == f"the program {host.binary} does not exist"


async def test_decide_start_reports_all_blocking_checks(host: Host) -> None:
    host.binary.unlink()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        decision = await replace(host, port=listener.getsockname()[1]).decide()
    blocks = [v.check for v in decision.check_results if v.level is Severity.BLOCK]
    assert blocks == ["program", "ports"]


async def test_decide_start_missing_library_is_named(host: Host) -> None:
    shell_bytes = Path("/bin/sh").resolve().read_bytes()
    # The same program, linked against a library with another name of the same length.
    host.binary.write_bytes(shell_bytes.replace(b"libc.so.6\0", b"libz.no.6\0"))
    decision = await host.decide()
    assert isinstance(decision, Blocked)
    assert "libz.no.6" in decision.message
    assert "--skip-check libraries" in decision.remedy


async def test_decide_start_obshell_blocks_its_own_home_only(host: Host, tmp_path: Path) -> None:
    program = host.home / "bin" / "obshell"
    shutil.copy(Path("/bin/sh").resolve(), program)
    other_program = tmp_path / "other" / "obshell"
    other_program.parent.mkdir()
    shutil.copy(program, other_program)

    def run(path: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(path), "-c", "read -r word"], cwd=tmp_path, stdin=subprocess.PIPE
        )

    with run(other_program):
        assert (await host.inspect()).obshell is None
        with run(program) as process:
            assert (await host.inspect()).obshell == process.pid
            decision = await host.decide()
            assert isinstance(decision, Blocked)
            assert "OBShell" in decision.message
            assert "--skip-check" not in decision.remedy


async def test_decide_start_unit_for_same_home_blocks(host: Host, tmp_path: Path) -> None:
    wants_directory = tmp_path / "units" / "multi-user.target.wants"
    wants_directory.mkdir(parents=True)
    (wants_directory / "other.service").write_text(f"ExecStart=/x --base-dir {host.home}2\n")
    configured = replace(host, units=str(tmp_path / "units"))
    assert (await configured.inspect()).units == ()
    (wants_directory / "db.service").write_text(
        f"[Service]\nExecStart={host.binary} --base-dir {host.home}\n"
    )
    assert (await configured.inspect()).units == ("db.service",)
    decision = await configured.decide()
    assert isinstance(decision, Blocked)
    assert "db.service" in decision.message


async def test_decide_start_directory_of_other_user_is_named(host: Host) -> None:
    (host.home / "store").symlink_to("/")
    decision = await host.decide()
    if os.getuid() == 0:
        os.chown(host.binary.parent, 12345, 12345)
        (host.home / "store").unlink()
        (host.home / "store").symlink_to(host.binary.parent)
        decision = await host.decide()
    assert isinstance(decision, Blocked)
    causes = [verdict.cause for verdict in decision.check_results]
    assert [cause for cause in causes if f"{host.home}/store belongs to uid" in cause]


async def test_facts_command_reports_control_groups_of_server(host: Host) -> None:
    with host.running("--base-dir", str(host.home)) as process:
        facts = await host.inspect()
        control_groups = Path(f"/proc/{process.pid}/cgroup").read_text().splitlines()
        assert list(facts.groups) == control_groups
        assert facts.own_groups != ()


async def test_facts_command_inspects_separate_data_and_redo(host: Host, tmp_path: Path) -> None:
    data, redo = tmp_path / "data", tmp_path / "redo"
    data.mkdir()
    redo.mkdir()
    server = replace(host.server, data_dir=str(data), redo_dir=str(redo))
    inspection = facts_command(server, units=[])
    facts = parse_facts(await host.run(inspection))
    assert [disk.path for disk in facts.disks] == [str(host.home), str(data), str(redo)]
    assert facts.files.files == ()
    (redo / "sys" / "log_stream").mkdir(parents=True)
    (redo / "sys" / "log_stream" / "0").touch()
    files = parse_facts(await host.run(inspection)).files
    assert files.places[Place.REDO].files == (f"{redo}/sys/log_stream/0",)
    assert files.places[Place.DATA].path == str(data)


@pytest.mark.slow
async def test_facts_command_real_program_has_version_and_libraries(host: Host) -> None:
    host.binary.unlink()
    host.binary.symlink_to(find_seekdb())
    facts = parse_facts(await host.run(facts_command(host.server, with_version=True, units=[])))
    assert facts.version.startswith("1.")
    assert facts.missing == ()


async def test_wait_for_lock_command_unlocked_home_is_quiet(host: Host) -> None:
    assert "quiet=yes" in await host.run(wait_for_lock_command(str(host.home)))
    assert "quiet=yes" in await host.run(wait_for_lock_command(str(host.home / "none")))


async def test_error_lines_command_reads_errors_since_start_only(host: Host) -> None:
    log = host.home / "log" / "seekdb.log"
    assert await host.run(error_lines_command(str(log), 0)) == ""
    log.parent.mkdir()
    old_lines = b"[t] ERROR old\n"
    log.write_bytes(old_lines + b"[t] INFO x\n[t] ERROR \xff bad\n[t] EDIAG why\n[t] WARN y\n")
    lines = await host.run(error_lines_command(str(log), len(old_lines)))
    assert lines == "[t] ERROR \ufffd bad\n[t] EDIAG why\n"
    # a log that is shorter than its recorded offset is a new log and is read completely
    assert "old" in await host.run(error_lines_command(str(log), 10_000))

"""From what a host said to what is done with its server: the table, then real scripts here."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dagengine import Command
from dagengine.remote.local import LocalRunner
from tasks.commands import ask_alive, ask_facts, ask_quiet, read_trouble, start_server
from tasks.decide import Blocked, Decision, NoOp, Start, decide_start
from tasks.facts import (
    HostFacts,
    ProcessIdentity,
    StartOutcome,
    parse_alive,
    parse_facts,
    parse_start,
)
from tasks.flavour import OCEANBASE, SEEKDB, Flavour

HOME, BINARY, PORT = "/home/x/seekdb", "/home/x/seekdb/bin/seekdb", 2881
UID = 1000

PROCESS = ProcessIdentity("boot", 4242, 987654, UID, "")

# A host on which nothing stands in the way of a first start.
GOOD = HostFacts(
    complete=True,
    uid=UID,
    boot="boot",
    home="directory",
    home_owner=UID,
    home_writable=True,
    binary_present=True,
    binary_executable=True,
    initialised=False,
    has_tools=True,
    free_bytes=50_000_000_000,
    listening=False,
    process=None,
)


def decide(**facts: Any) -> Decision:
    return decide_start(replace(GOOD, **facts), SEEKDB, home=HOME, sql_port=PORT)


@pytest.mark.parametrize(
    ("facts", "is_first"),
    [
        pytest.param({}, True, id="first start"),
        pytest.param({"initialised": True}, False, id="later start"),
        pytest.param({"free_bytes": 1_300_000_000}, True, id="just enough space"),
        pytest.param({"free_bytes": None}, True, id="space not known"),
        pytest.param({"initialised": True, "free_bytes": 1}, False, id="little space, but later"),
    ],
)
def test_a_server_that_does_not_run_is_started(facts: dict[str, Any], is_first: bool) -> None:
    assert decide(**facts) == Start(is_first)


def test_little_space_before_a_first_start_is_a_warning_that_names_home_and_bytes() -> None:
    decision = decide(free_bytes=1_299_999_999)
    assert isinstance(decision, Start)
    assert decision.is_first
    (warning,) = decision.warnings
    assert HOME in warning
    assert "1,299,999,999" in warning


def test_a_server_that_runs_is_left_alone_and_known_by_its_pid() -> None:
    decision = decide(process=PROCESS, listening=True, initialised=True)
    assert isinstance(decision, NoOp)
    assert decision.process == PROCESS
    assert "4242" in decision.reason


def test_what_runs_is_left_alone_whatever_else_is_wrong() -> None:
    wrong = {"binary_present": False, "binary_executable": False, "has_tools": False}
    assert isinstance(decide(process=PROCESS, **wrong), NoOp)


@pytest.mark.parametrize("owner", [0, UID + 1, -1])
def test_a_server_of_another_user_blocks_and_both_users_are_named(owner: int) -> None:
    decision = decide(process=replace(PROCESS, owner=owner), listening=True)
    assert isinstance(decision, Blocked)
    assert decision.code == "OB.Server.Process.CheckFailed"
    assert f"uid {owner}, pid 4242" in decision.message
    assert HOME in decision.message
    assert str(UID) in decision.remedy


@pytest.mark.parametrize(
    ("facts", "code", "named"),
    [
        ({"has_tools": False}, "Common.IllegalArgument", ["flock", "setsid"]),
        ({"home": ""}, "Common.IllegalArgument", [HOME, "does not exist"]),
        ({"home": "other"}, "Common.IllegalArgument", [HOME, "no directory"]),
        ({"home_owner": 0}, "Common.IllegalArgument", [HOME, "uid 0", f"{UID}"]),
        ({"home_owner": None}, "Common.IllegalArgument", [HOME, "uid"]),
        ({"home_writable": False}, "Common.IllegalArgument", [HOME, "not writable"]),
        (
            {"binary_present": False, "binary_executable": False},
            "Common.IllegalArgument",
            [BINARY, "does not exist"],
        ),
        ({"binary_executable": False}, "Common.IllegalArgument", [BINARY, "not executable"]),
        ({"listening": True}, "Common.InvalidPort", [str(PORT), "another program"]),
        ({"listening": True, "initialised": True}, "Common.InvalidPort", [str(PORT)]),
    ],
)
def test_what_stands_in_the_way_blocks_by_name(
    facts: dict[str, Any], code: str, named: list[str]
) -> None:
    decision = decide(**facts)
    assert isinstance(decision, Blocked)
    assert decision.code == code
    assert [part for part in named if part not in decision.message] == []
    assert decision.remedy


def test_a_server_that_was_never_bootstrapped_is_not_started() -> None:
    decision = decide_start(GOOD, OCEANBASE, home=HOME, sql_port=PORT)
    assert isinstance(decision, Blocked)
    assert decision.code == "OB.Server.HasNotBeenStarted"
    assert f"{HOME}/etc/observer.config.bin" in decision.message
    assert "obd" in decision.remedy
    later = replace(GOOD, initialised=True)
    assert decide_start(later, OCEANBASE, home=HOME, sql_port=PORT) == Start(is_first=False)


def test_the_home_is_told_before_what_cannot_be_known_without_it() -> None:
    nothing = {"home_owner": None, "home_writable": False, "binary_present": False}
    decision = decide(home="", **nothing, binary_executable=False, listening=True)
    assert isinstance(decision, Blocked)
    assert decision.message == f"the home {HOME} does not exist"


# --- the scripts, run on this machine --------------------------------------------------------


@dataclass(frozen=True)
class Host:
    """A home on this machine with a server program that only says its arguments and fails."""

    home: Path
    port: int
    flavour: Flavour = SEEKDB

    @property
    def binary(self) -> Path:
        return self.home / self.flavour.program

    async def run(self, command: Command) -> str:
        result = await LocalRunner().run(command, timeout_s=30)
        assert result.stderr == ""
        return result.stdout

    async def ask(self) -> HostFacts:
        facts = parse_facts(await self.run(ask_facts(self.flavour, str(self.home), self.port)))
        assert facts.complete
        return facts

    async def decide(self) -> Decision:
        facts = await self.ask()
        return decide_start(facts, self.flavour, home=str(self.home), sql_port=self.port)

    def initialise(self) -> None:
        (self.home / "store" / "redo" / "sys" / "log_stream").mkdir(parents=True)

    @contextmanager
    def server(self, *words: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """A process that is one by its arguments and its directory; lives until told to end."""
        argv = ("/bin/sh", "-c", "read -r word", "seekdb", *words)
        environ = os.environ | {"DAGENGINE_START": "77"}
        with subprocess.Popen(
            argv, cwd=cwd or self.home, stdin=subprocess.PIPE, env=environ
        ) as process:
            yield process


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with socket.socket() as taken:  # bound, but not listened on: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        found = Host(tmp_path / "home with 'odd' $name", taken.getsockname()[1])
        found.binary.parent.mkdir(parents=True)
        found.binary.write_text('#!/bin/sh\necho "said $*"\nexit 87\n')
        found.binary.chmod(0o755)
        yield found


async def test_a_home_with_a_program_is_ready_for_a_first_start(host: Host) -> None:
    facts = await host.ask()
    assert (facts.uid, facts.home_owner, facts.home) == (os.getuid(), os.getuid(), "directory")
    assert facts.free_bytes is not None
    decision = await host.decide()
    assert isinstance(decision, Start)
    assert decision.is_first


async def test_a_home_whose_first_start_was_completed_is_started_as_it_was(host: Host) -> None:
    host.initialise()
    assert await host.decide() == Start(is_first=False)


async def test_leftovers_of_a_failed_first_start_are_no_completed_one(host: Host) -> None:
    (host.home / "etc").mkdir()
    (host.home / "store" / "redo").mkdir(parents=True)
    assert isinstance(await host.decide(), Start)
    assert not (await host.ask()).initialised


async def test_leftovers_of_a_failed_first_start_are_moved_aside_and_kept(host: Host) -> None:
    (host.home / "etc").mkdir()
    (host.home / "store").mkdir()
    (host.home / "etc" / "x").write_text("kept")
    start = start_server(SEEKDB, str(host.home), "77", ("--port", "1"))
    report = parse_start(await host.run(start))
    assert [Path(path).name for path in report.moved_aside] == ["etc", "store"]
    assert Path(report.moved_aside[0], "x").read_text() == "kept"
    assert not (host.home / "etc").exists()
    assert (report.status, report.process) == (87, None)
    assert report.said == f"said --base-dir {host.home} --port 1"


async def test_files_of_a_completed_start_are_never_moved(host: Host) -> None:
    host.initialise()
    (host.home / "etc").mkdir()
    start = start_server(SEEKDB, str(host.home), "77", ())
    report = parse_start(await host.run(start))
    assert report.moved_aside == ()
    assert (host.home / "etc").is_dir()


@pytest.mark.parametrize("style", ["two words", "one word", "another way to the home"])
async def test_a_running_server_is_found_by_its_base_directory(host: Host, style: str) -> None:
    detour = f"{host.home}/bin/.."
    words = {
        "two words": ("--base-dir", str(host.home)),
        "one word": (f"--base-dir={host.home}",),
        "another way to the home": ("--port", "1", "--base-dir", detour),
    }[style]
    with host.server(*words) as process:
        decision = await host.decide()
        assert isinstance(decision, NoOp)
        assert decision.process.pid == process.pid
        assert (decision.process.owner, decision.process.by) == (os.getuid(), "77")
        start = start_server(SEEKDB, str(host.home), "78", ())
        report = parse_start(await host.run(start))
        assert (report.outcome, report.status) == ("running", None)
        assert report.process == decision.process


async def test_an_observer_is_found_by_its_name_and_its_directory(
    host: Host, tmp_path: Path
) -> None:
    ocean = replace(host, flavour=OCEANBASE)
    called = str(tmp_path / "of another install" / "bin" / "observer")
    sleeping = ("-c", "read -r word")

    def run(name: str, cwd: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [name, *sleeping], executable="/bin/sh", cwd=cwd, stdin=subprocess.PIPE
        )

    with run("vim", host.home), run(called, tmp_path), run("observer2", host.home):
        assert (await ocean.ask()).process is None
        with run(called, host.home) as process:
            found = (await ocean.ask()).process
            assert found is not None
            assert (found.pid, found.by) == (process.pid, "")


async def test_an_observer_is_started_from_its_home_with_its_libraries_and_no_option(
    host: Host,
) -> None:
    ocean = replace(host, flavour=OCEANBASE)
    ocean.binary.write_text('#!/bin/sh\necho "$PWD $LD_LIBRARY_PATH $# $0"\nexit 3\n')
    ocean.binary.chmod(0o755)
    start = start_server(OCEANBASE, str(host.home), "77", ())
    assert parse_start(await host.run(start)).outcome is StartOutcome.NEVER_STARTED
    (host.home / "etc").mkdir()
    (host.home / "etc" / "observer.config.bin").touch()
    report = parse_start(await host.run(start))
    assert report.said == f"{host.home} {host.home}/lib 0 {ocean.binary}"
    assert (report.status, report.moved_aside) == (3, ())


async def test_a_process_of_another_home_is_not_our_server(host: Host, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with (
        host.server("--base-dir", str(other)),
        host.server("--base-dir", str(host.home), cwd=other),
        host.server("--home", str(host.home)),
    ):
        assert (await host.ask()).process is None


async def test_a_zombie_is_dead(host: Host) -> None:
    with host.server("--base-dir", str(host.home)) as process:
        found = (await host.ask()).process
        assert found is not None
        alive = ask_alive(found.pid, found.started)
        assert parse_alive(await host.run(alive)) is True
        process.kill()
        # Ended, and not reaped: it was just killed, so this does not block.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
        assert Path(f"/proc/{process.pid}").exists()
        assert parse_alive(await host.run(alive)) is False
        assert isinstance(await host.decide(), Start)


async def test_another_process_with_the_pid_is_not_the_one_that_was_started(host: Host) -> None:
    with host.server("--base-dir", str(host.home)):
        found = (await host.ask()).process
        assert found is not None
        later = ask_alive(found.pid, found.started + 1)
        assert parse_alive(await host.run(later)) is False


@pytest.mark.parametrize(
    ("family", "ip"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
async def test_a_port_of_another_program_blocks(
    host: Host, family: socket.AddressFamily, ip: str
) -> None:
    with socket.socket(family) as other:
        other.bind((ip, 0))
        taken = replace(host, port=other.getsockname()[1])
        assert isinstance(await taken.decide(), Start)
        other.listen()
        decision = await taken.decide()
        assert isinstance(decision, Blocked)
        assert decision.code == "Common.InvalidPort"


async def test_a_home_that_is_missing_or_no_directory_blocks(host: Host, tmp_path: Path) -> None:
    missing = replace(host, home=tmp_path / "none")
    decision = await missing.decide()
    assert isinstance(decision, Blocked)
    assert decision.message == f"the home {missing.home} does not exist"
    missing.home.write_text("a file")
    decision = await missing.decide()
    assert isinstance(decision, Blocked)
    assert decision.message == f"the home {missing.home} is no directory"


async def test_a_program_that_is_missing_or_not_executable_blocks(host: Host) -> None:
    host.binary.chmod(0o644)
    decision = await host.decide()
    assert isinstance(decision, Blocked)
    assert decision.message == f"the program {host.binary} is not executable"
    host.binary.unlink()
    decision = await host.decide()
    assert isinstance(decision, Blocked)
    assert decision.message == f"the program {host.binary} does not exist"


async def test_a_quiet_home_is_one_on_which_no_start_holds_its_lock(host: Host) -> None:
    assert "quiet=yes" in await host.run(ask_quiet(str(host.home)))
    assert "quiet=yes" in await host.run(ask_quiet(str(host.home / "none")))


async def test_only_error_lines_since_the_start_are_read_from_the_log(host: Host) -> None:
    log = host.home / "log" / "seekdb.log"
    assert await host.run(read_trouble(str(log), 0)) == ""
    log.parent.mkdir()
    before = b"[t] ERROR old\n"
    log.write_bytes(before + b"[t] INFO x\n[t] ERROR \xff bad\n[t] EDIAG why\n[t] WARN y\n")
    said = await host.run(read_trouble(str(log), len(before)))
    assert said == "[t] ERROR \ufffd bad\n[t] EDIAG why\n"
    # a log that has become shorter than it was is a new one: all of it counts
    assert "old" in await host.run(read_trouble(str(log), 10_000))

"""Host scripts on and next to an unresponsive file system: they end and report it."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dagengine.remote import Command, script
from tasks.cluster.servers import Server
from tasks.diagnosis.postmortem import postmortem_command
from tasks.flavours.oceanbase import OCEANBASE
from tasks.flavours.seekdb import SEEKDB
from tasks.hosts.commands import (
    FACTS_LIMIT_S,
    confirm_first_start_command,
    error_lines_command,
    facts_command,
    process_command,
    start_command,
    stop_command,
    wait_for_lock_command,
)
from tasks.hosts.facts import parse_facts
from tasks.hosts.home_state import StartKind
from tasks.hosts.identity import Doubt, DoubtKind, Obstacle, explain_doubt, parse_doubts
from tasks.hosts.output import parse_lines
from tasks.hosts.reports import StartOutcome, StopOutcome, parse_start, parse_stop
from tasks.hosts.scripts import read_script
from tests.support.dead_mount import DeadMount, find_missing, mount
from tests.support.factories import make_server
from tests.support.fake_servers import NOBODY, SAYS_READY, open_directory, run_as_nobody, run_server

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing := find_missing()), reason=f"dead mounts: {missing}"),
]


@pytest.fixture
def directory() -> Iterator[Path]:
    with open_directory() as path:
        for name in ("home", "home/bin", "home/etc", "mount"):
            (path / name).mkdir()
            os.chown(path / name, NOBODY, NOBODY)
        program = path / "home/bin/seekdb"
        program.write_text("#!/bin/sh\nexit 87\n")
        program.chmod(0o755)
        yield path


@pytest.fixture
def dead(directory: Path) -> Iterator[DeadMount]:
    with mount(directory / "mount") as mounted:
        yield mounted


@pytest.fixture
def server(directory: Path) -> Server:
    return make_server(home=str(directory / "home"))


def in_mount(dead: DeadMount) -> str:
    return f"cd {dead.path} && {SAYS_READY}"


def assert_unlocked(home: Path) -> None:
    """Check that a hanging process does not hold the lock of the home."""
    descriptor = os.open(home, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def run_with_full_disk(command: Command, full: Path) -> str:
    """Run a command with full file systems as the only places for temporary files."""
    full.mkdir()
    mounting = f"mount -t tmpfs -o size=4k,mode=1777 full '{full}' && export TMPDIR='{full}'"
    filling = f"head -c 4096 /dev/zero >'{full}/all' && mount --bind '{full}' /dev/shm"
    return run_as_nobody(command, f"{mounting} && {filling}")


def read_doubts(output: str) -> list[Doubt]:
    return list(parse_doubts(parse_lines(output)))


def make_hung_doubt(pid: int) -> Doubt:
    """The doubt about a fake server of nobody in a dead mount."""
    user = pwd.getpwuid(NOBODY).pw_name
    return Doubt(DoubtKind.UNEXAMINED, pid, obstacle=Obstacle.HUNG, user=user, program="seekdb")


def test_facts_command_other_program_in_dead_mount_is_ignored(
    dead: DeadMount, server: Server
) -> None:
    text = in_mount(dead)
    with run_server(Path("/"), program="sleep", text=text, user=NOBODY) as process:
        dead.die()
        output = run_as_nobody(facts_command(server, units=[]))
        facts = parse_facts(output)
        assert (facts.complete, facts.process, facts.unanswered) == (True, None, ())
        assert process.pid not in [doubt.pid for doubt in read_doubts(output)]


@pytest.mark.slow
def test_host_scripts_server_in_dead_mount_is_doubtful(dead: DeadMount, server: Server) -> None:
    with run_server(Path("/"), text=in_mount(dead), user=NOBODY) as process:
        dead.die()
        doubt = make_hung_doubt(process.pid)
        output = run_as_nobody(process_command(SEEKDB, server.home))
        assert read_doubts(output) == [doubt]
        assert "end=yes" in output
        output = run_as_nobody(stop_command(server, 1))
        assert parse_stop(output).outcome is StopOutcome.DOUBTFUL
        assert read_doubts(output) == [doubt]
        output = run_as_nobody(start_command(server, "77", StartKind.FIRST))
        assert parse_start(output).outcome is StartOutcome.DOUBTFUL
        assert read_doubts(output) == [doubt]
        assert_unlocked(Path(server.home))
        assert process.poll() is None


@pytest.mark.slow
def test_find_server_detached_dead_mount_is_bounded(dead: DeadMount, server: Server) -> None:
    with run_server(Path("/"), text=in_mount(dead), user=NOBODY) as process:
        dead.detach()
        dead.die()
        assert str(dead.path) not in Path("/proc/self/mounts").read_text()
        output = run_as_nobody(process_command(SEEKDB, server.home))
        assert read_doubts(output) == [make_hung_doubt(process.pid)]
        assert "end=yes" in output


def test_bounded_with_full_disk_fails(dead: DeadMount) -> None:
    """Lost output is not mistaken for empty output, even if the command ignores a failed write."""
    text = read_script("bounded") + "bounded 2 print_word; echo status=$?"
    command = script(f"print_word() {{ echo word || :; }}\n{text}", "test")
    assert run_with_full_disk(command, dead.path.parent / "full") == "status=125\n"


def test_host_scripts_with_full_disk_examine_nothing(dead: DeadMount, server: Server) -> None:
    home = Path(server.home)
    facts = parse_facts(run_with_full_disk(facts_command(server, units=[]), dead.path.parent / "1"))
    assert (facts.complete, facts.home, facts.unanswered) == (True, "", (server.home,))
    output = run_with_full_disk(stop_command(server, 1), dead.path.parent / "2")
    assert parse_stop(output).outcome is StopOutcome.UNANSWERED
    for number, kind in enumerate(StartKind, 3):
        command = start_command(server, "77", kind)
        report = parse_start(run_with_full_disk(command, dead.path.parent / str(number)))
        assert (report.outcome, report.status) == (StartOutcome.UNANSWERED, None)
    assert sorted(path.name for path in home.iterdir()) == ["bin", "etc"]


@pytest.mark.slow
def test_host_scripts_home_on_dead_mount_is_unanswered(dead: DeadMount) -> None:
    dead.die()
    server = make_server(home=f"{dead.path}/home")
    facts = parse_facts(run_as_nobody(facts_command(server, units=[])))
    assert (facts.complete, facts.unanswered) == (True, (server.home,))
    assert f"unanswered={server.home}\n" in run_as_nobody(process_command(SEEKDB, server.home))
    stop = parse_stop(run_as_nobody(stop_command(server, 1)))
    assert stop.outcome is StopOutcome.UNANSWERED
    start = parse_start(run_as_nobody(start_command(server, "77", StartKind.FIRST)))
    assert start.outcome is StartOutcome.UNANSWERED


@pytest.mark.slow
@pytest.mark.parametrize("place", ["data_dir", "redo_dir"])
def test_facts_command_data_on_dead_mount_is_unanswered(
    dead: DeadMount, server: Server, place: str
) -> None:
    dead.die()
    moved_server = replace(server, **{place: f"{dead.path}/{place}"})
    facts = parse_facts(run_as_nobody(facts_command(moved_server, units=[])))
    assert facts.complete
    assert [text for text in facts.unanswered if server.home in text]
    assert_unlocked(Path(server.home))


@pytest.mark.slow
def test_start_command_data_on_dead_mount_moves_nothing(dead: DeadMount, server: Server) -> None:
    (Path(server.home) / ".dagengine-first-start").write_text("77 0 0\n")
    os.utime(Path(server.home) / ".dagengine-first-start", (1, 1))
    (Path(server.home) / "etc" / "left").touch()
    dead.die()
    moved_server = replace(server, data_dir=f"{dead.path}/data")
    command = start_command(moved_server, "77", StartKind.LEFTOVER)
    report = parse_start(run_as_nobody(command))
    assert report.outcome is StartOutcome.UNANSWERED
    assert (Path(server.home) / "etc" / "left").exists()
    assert_unlocked(Path(server.home))


@pytest.mark.slow
def test_start_command_store_on_dead_mount_is_unanswered(dead: DeadMount, server: Server) -> None:
    (Path(server.home) / "store").symlink_to(dead.path / "store")
    dead.die()
    report = parse_start(run_as_nobody(start_command(server, "77", StartKind.LATER)))
    assert report.outcome is StartOutcome.UNANSWERED
    assert_unlocked(Path(server.home))


@pytest.mark.slow
def test_start_command_program_on_dead_mount_is_bounded(dead: DeadMount, server: Server) -> None:
    Path(server.binary).unlink()
    Path(server.binary).symlink_to(dead.path / "seekdb")
    dead.die()
    assert_hung_launch_is_named(server)


@pytest.mark.slow
def test_start_command_library_on_dead_mount_is_bounded(dead: DeadMount, server: Server) -> None:
    """The program has replaced the launcher already, so it is the executable of the process."""
    observer = replace(server, flavour=OCEANBASE)
    shutil.copy(Path("/bin/sh").resolve(), observer.binary)
    (Path(server.home) / "lib").symlink_to(dead.path)
    (Path(server.home) / "etc/observer.config.bin").touch()
    dead.die()
    pid = assert_hung_launch_is_named(observer, StartKind.LATER)
    assert Path(f"/proc/{pid}/exe").samefile(observer.binary)
    facts = parse_facts(run_as_nobody(facts_command(observer, units=[])))
    assert (facts.process, [doubt.pid for doubt in facts.doubts]) == (None, [pid])


def assert_hung_launch_is_named(server: Server, kind: StartKind = StartKind.FIRST) -> int:
    """Check that a hung launch is reported, and that the next start and stop name its pid."""
    limit_s = 20
    command = start_command(server, "77", kind, limit_s=limit_s)
    report = parse_start(run_as_nobody(command, limit_s=limit_s))
    assert (report.outcome, report.status, report.process) == (StartOutcome.HUNG, None, None)
    (doubt,) = report.doubts
    assert doubt.kind is DoubtKind.KILLED
    assert_unlocked(Path(server.home))
    assert Path(f"/proc/{doubt.pid}/cwd").samefile(server.home)
    # It blocks a later start, which ends at once.
    assert read_doubts(run_as_nobody(start_command(server, "78", kind))) == [doubt]
    assert read_doubts(run_as_nobody(stop_command(server, 1))) == [doubt]
    cause, remedy = explain_doubt(doubt, server.home)
    assert f"pid {doubt.pid} in {server.home}" in cause
    assert f"pid {doubt.pid}" in remedy
    return doubt.pid


@pytest.mark.slow
def test_query_scripts_home_on_dead_mount_terminate(dead: DeadMount) -> None:
    dead.die()
    home = f"{dead.path}/home"
    log = f"{home}/log/seekdb.log"
    assert "end=yes" in run_as_nobody(postmortem_command(home, log, 0, 1, 2))
    assert run_as_nobody(error_lines_command(log, 0)) == ""
    assert run_as_nobody(wait_for_lock_command(home)) == f"unanswered={home}\n"
    assert run_as_nobody(confirm_first_start_command(home)) == ""


@pytest.mark.slow
def test_facts_command_program_on_dead_mount_is_unanswered(dead: DeadMount, server: Server) -> None:
    program = Path(server.binary)
    program.unlink()
    program.symlink_to(dead.path / "seekdb")
    dead.die()
    facts = parse_facts(run_as_nobody(facts_command(server, with_version=True, units=[])))
    assert facts.complete
    assert server.binary in facts.unanswered


@pytest.mark.slow
def test_facts_command_many_dead_mounts_keep_limit(dead: DeadMount, server: Server) -> None:
    Path(server.binary).unlink()
    Path(server.binary).symlink_to(dead.path / "seekdb")
    elsewhere = replace(server, data_dir=f"{dead.path}/data")
    with run_server(Path("/"), text=in_mount(dead), user=NOBODY) as process:
        dead.die()
        command = facts_command(elsewhere, units=[str(dead.path)])
        facts = parse_facts(run_as_nobody(command, limit_s=FACTS_LIMIT_S))
        assert facts.complete
        assert len(facts.unanswered) == 4
        assert [doubt.pid for doubt in facts.doubts] == [process.pid]


@pytest.mark.slow
def test_facts_command_units_on_dead_mount_are_unanswered(dead: DeadMount, server: Server) -> None:
    dead.die()
    facts = parse_facts(run_as_nobody(facts_command(server, units=[str(dead.path)])))
    assert facts.complete
    assert [text for text in facts.unanswered if "systemd" in text]

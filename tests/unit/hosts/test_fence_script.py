"""The fence of a home: each command that changes something, on each state of the file."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dagengine import FencingToken
from dagengine.remote import Command
from dagengine.testing import eventually
from tasks.flavours.seekdb import SEEKDB
from tasks.hosts.commands import (
    FIRST_START_MARKER,
    claim_home_command,
    confirm_first_start_command,
    facts_command,
    start_command,
    stop_command,
    wait_for_lock_command,
)
from tasks.hosts.facts import HostFacts, parse_facts
from tasks.hosts.fence import (
    FENCE_FILE,
    FenceVerdict,
    HomeFence,
    compare_token,
    parse_claim,
    parse_fence,
    parse_probe,
    render_token,
)
from tasks.hosts.home_state import Empty, StartKind, decide_home
from tasks.hosts.reports import parse_start
from tasks.hosts.reports import parse_stop as parse_stop_report
from tests.support.factories import make_server
from tests.support.fake_servers import NOBODY, open_directory, run_as, run_as_nobody, run_server

OURS, OTHERS = "0123456789abcdef" * 2, "f" * 32
TOKEN = FencingToken(OURS, 2, 7, "ctl-a:2886")
AT = "2026-01-02T03:04:05Z"
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


@dataclass(frozen=True)
class Home:
    """A home whose program creates `started` in it and fails; `run` executes commands."""

    path: Path
    run: Callable[[Command], str]
    user: int | None = None

    @property
    def fence(self) -> Path:
        return self.path / FENCE_FILE

    @property
    def marker(self) -> Path:
        return self.path / FIRST_START_MARKER

    def record(self, token: FencingToken) -> None:
        self.fence.write_text(f"1 {render_token(token)} {AT}\n")

    def read(self) -> HomeFence:
        """Return the fence without running a script."""
        text = self.fence.read_text() if self.fence.exists() else ""
        return parse_fence({"fence": [text.removeprefix("1 ").removesuffix("\n")]})

    def recorded(self) -> FencingToken | None:
        fence = self.read()
        assert not fence.is_damaged
        return fence.record.token if fence.record else None

    def facts(self) -> HostFacts:
        server = make_server(home=str(self.path))
        return parse_facts(self.run(facts_command(server, units=[])))

    def prepare(self) -> None:
        program = self.path / "bin/seekdb"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n: >started\nexit 87\n")
        program.chmod(0o755)
        self.marker.write_text("77 0 0\n")


@dataclass(frozen=True)
class Result:
    """The outcome of a command, whether it took effect, and what it did not record."""

    outcome: str
    acted: bool
    unrecorded: str = ""


def start(home: Home, token: FencingToken) -> Result:
    server = make_server(home=str(home.path))
    report = parse_start(home.run(start_command(server, "78", StartKind.FIRST, token)))
    return Result(report.outcome, (home.path / "started").exists(), report.unrecorded)


def stop(home: Home, token: FencingToken, marker: str = "") -> Result:
    server = make_server(home=str(home.path), sql_port=1)
    with run_server(home.path, by="77", user=home.user) as process:
        command = stop_command(server, 20, marker, token)
        report = parse_stop_report(home.run(command))
        return Result(report.outcome, process.poll() is not None, report.unrecorded)


def rollback(home: Home, token: FencingToken) -> Result:
    return stop(home, token, marker="77")


def probe(home: Home, token: FencingToken) -> Result:
    report = parse_probe(home.run(wait_for_lock_command(str(home.path), token)))
    return Result(report.outcome, report.outcome == "done", report.unrecorded)


def confirm(home: Home, token: FencingToken) -> Result:
    home.marker.touch()
    report = parse_probe(home.run(confirm_first_start_command(str(home.path), token)))
    return Result(report.outcome, not home.marker.exists(), report.unrecorded)


ACTIONS = {
    "start": (start, "launched"),
    "stop": (stop, "stopped"),
    "rollback": (rollback, "stopped"),
    "probe": (probe, "done"),
    "confirm": (confirm, "done"),
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "a 'home' $x", lambda command: run_as(None, command))
    home.prepare()
    return home


# --- the rules -----------------------------------------------------------------------------------

ACCEPTED = {
    "no file": None,
    "same token": TOKEN,
    "smaller lock token": replace(TOKEN, lock_token=6),
    "smaller epoch": replace(TOKEN, epoch=1, lock_token=99),
    "name of another controller": replace(TOKEN, controller="ctl-b"),
}
REJECTED = {
    "larger lock token": (replace(TOKEN, lock_token=8), "stale"),
    "larger epoch": (replace(TOKEN, epoch=10, lock_token=1), "stale"),
    "largest numbers": (replace(TOKEN, epoch=10**18 - 1, lock_token=10**18 - 1), "stale"),
    "other store": (replace(TOKEN, store_id=OTHERS), "foreign"),
    "other store with smaller token": (FencingToken(OTHERS, 1, 0, "x"), "foreign"),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("before", ACCEPTED)
def test_command_with_accepted_token_records_it_and_acts(
    home: Home, action: str, before: str
) -> None:
    run, outcome = ACTIONS[action]
    if (token := ACCEPTED[before]) is not None:
        home.record(token)
        assert compare_token(home.read(), TOKEN) is FenceVerdict.PASSED
    assert run(home, TOKEN) == Result(outcome, acted=True)
    assert home.recorded() == TOKEN
    content = home.fence.read_text()
    assert re.fullmatch(rf"1 {OURS} 2 7 ctl-a:2886 \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", content)
    assert content[-21:-1] != AT
    assert stat.S_IMODE(home.fence.stat().st_mode) == 0o600
    assert list(home.path.glob(f"{FENCE_FILE}?*")) == []


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("before", REJECTED)
def test_command_with_rejected_token_does_nothing(home: Home, action: str, before: str) -> None:
    token, outcome = REJECTED[before]
    home.record(token)
    content = home.fence.read_bytes()
    assert compare_token(home.read(), TOKEN) == outcome
    run, _ = ACTIONS[action]
    assert run(home, TOKEN) == Result(outcome, acted=False)
    assert home.fence.read_bytes() == content


VALID = f"1 {OURS} 1 1 a {AT}\n".encode()


def link_to_fence(path: Path) -> None:
    """Plant a link to a file that would be accepted in place of the fence."""
    (path.parent / "elsewhere").write_bytes(VALID)
    path.symlink_to("elsewhere")


DAMAGED: dict[str, bytes | Callable[[Path], object]] = {
    "empty": b"",
    "cut off": VALID[:60],
    "without its end": VALID[:-1],
    "two lines": VALID * 2,
    "binary": b"\x00" * 400,
    "NUL within": VALID.replace(b" 1 a", b" 1\x00a"),
    "NUL in the name": VALID.replace(b" a ", b" a\x00b "),
    "long": VALID + b"x" * 1_000_000,
    "version 2": b"2" + VALID[1:],
    "control characters": VALID.replace(b" a ", b" \x1b[2J "),
    "pattern": VALID.replace(b" a ", b" * "),
    "beyond ASCII": VALID.replace(b" a ", " ä ".encode()),
    "number too large": VALID.replace(b" 1 1 ", b" 9999999999999999999 1 "),
    "leading zero": VALID.replace(b" 1 1 ", b" 01 1 "),
    "negative": VALID.replace(b" 1 1 ", b" -1 1 "),
    "store id cut off": VALID.replace(OURS.encode(), OURS[1:].encode()),
    "no instant": VALID.replace(AT.encode(), b"yesterday"),
    "directory": lambda path: path.mkdir(),
    "link to a fence": link_to_fence,
    "link": lambda path: path.symlink_to(path.parent / FIRST_START_MARKER),
    "dangling link": lambda path: path.symlink_to("/nowhere"),
    "named pipe": os.mkfifo,
}


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_fence_rejects_every_token(home: Home, content: str) -> None:
    damage = DAMAGED[content]
    home.fence.write_bytes(damage) if isinstance(damage, bytes) else damage(home.fence)
    before = home.fence.lstat()
    report = parse_probe(home.run(wait_for_lock_command(str(home.path), TOKEN)))
    assert (report.outcome, report.fence) == ("foreign", HomeFence(is_damaged=True))
    assert compare_token(report.fence, TOKEN) is FenceVerdict.FOREIGN
    assert home.fence.lstat().st_ino == before.st_ino


@pytest.mark.parametrize("action", ACTIONS)
def test_damaged_fence_prevents_every_command(home: Home, action: str) -> None:
    home.fence.write_text("x\n")
    run, _ = ACTIONS[action]
    assert run(home, TOKEN) == Result("foreign", acted=False)
    assert home.fence.read_text() == "x\n"


# --- recording fails -----------------------------------------------------------------------------


@contextmanager
def mounted_home(directory: Path) -> Iterator[Home]:
    """Give a home of the user `nobody` on a small file system of its own."""
    path = directory / "home"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "test", str(path)], check=True)
    home = Home(path, run_as_nobody, NOBODY)
    try:
        home.prepare()
        shutil.chown(path, NOBODY, NOBODY)
        yield home
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(home: Home) -> None:
    with pytest.raises(OSError, match="No space"):
        (home.path / "filler").write_bytes(b"x" * 1_000_000)


def remount(home: Home) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(home.path)], check=True)


def forbid(home: Home) -> None:
    home.path.chmod(0o555)


OBSTACLES = {
    "ENOSPC": (fill, "No space left on device"),
    "EROFS": (remount, "Read-only file system"),
    "EACCES": (forbid, "Permission denied"),
}


@pytest.mark.root
@NEEDS_ROOT
@pytest.mark.parametrize("before", ["no file", "smaller lock token", "larger lock token"])
@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_command_that_cannot_record_prevents_only_start(obstacle: str, before: str) -> None:
    prevent, reason = OBSTACLES[obstacle]
    with open_directory() as directory, mounted_home(directory) as home:
        token = ACCEPTED.get(before)
        if before in REJECTED:
            token = REJECTED[before][0]
        if token is not None:
            home.record(token)
            os.chown(home.fence, NOBODY, NOBODY)
        prevent(home)
        for run, outcome in (
            *((start, "unrecorded"), (probe, "done")),
            *((rollback, "stopped"), (stop, "stopped")),
        ):
            if before in REJECTED:
                assert run(home, TOKEN) == Result("stale", acted=False)
            else:
                assert run(home, TOKEN) == Result(outcome, run is not start, reason)
        assert home.recorded() == token
        assert list(home.path.glob(f"{FENCE_FILE}?*")) == []


@pytest.mark.root
@NEEDS_ROOT
@pytest.mark.parametrize("unreadable", ["file", "home"])
def test_unreadable_fence_rejects_every_token(unreadable: str) -> None:
    with open_directory() as directory, mounted_home(directory) as home:
        home.record(TOKEN)
        home.fence.chmod(0o600)
        if unreadable == "home":
            os.chown(home.fence, NOBODY, NOBODY)
            home.path.chmod(0o444)
        assert home.facts().fence == HomeFence(is_damaged=True)
        for run in (probe, rollback):
            assert run(home, TOKEN) == Result("foreign", acted=False)


# --- several commands and stores -----------------------------------------------------------------


def test_draft_of_killed_command_is_removed(home: Home) -> None:
    draft = home.path / f"{FENCE_FILE}.aB3dE6"
    draft.touch()
    assert probe(home, TOKEN).acted
    assert not draft.exists()


def test_late_command_of_frozen_controller_does_nothing(home: Home) -> None:
    """A restored store got a new epoch; then the controller of the original resumes."""
    assert start(home, TOKEN).acted
    restored = replace(TOKEN, epoch=1_767_225_600, lock_token=3, controller="ctl-b")
    assert stop(home, restored).acted
    (home.path / "started").unlink()
    for run, _ in ACTIONS.values():
        assert run(home, replace(TOKEN, lock_token=99)) == Result("stale", acted=False)
    assert home.recorded() == restored
    assert start(home, restored).acted


async def test_command_that_waited_for_lock_meets_newer_token(home: Home) -> None:
    """An older command arrives first, but gets the lock after a newer one."""
    lock = os.open(home.path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    command = start_command(make_server(home=str(home.path)), "78", StartKind.FIRST, TOKEN)
    argv = [str(word) for word in command.argv]
    with subprocess.Popen(  # noqa: ASYNC220
        argv, stdout=subprocess.PIPE, text=True
    ) as process:
        await until_waiting(process.pid)
        home.record(replace(TOKEN, lock_token=8))
        os.close(lock)
        assert process.stdout is not None
        assert parse_start(process.stdout.read()).outcome == "stale"
    assert not (home.path / "started").exists()


async def until_waiting(pid: int) -> None:
    """Wait until a child of the process waits for a lock."""

    async def is_waiting() -> bool:
        with suppress(OSError):  # a process has ended
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return any(Path(f"/proc/{c}/comm").read_text() == "flock\n" for c in children)
        return False

    await eventually(is_waiting, what="the wait for the lock")


def test_two_stores_on_one_home_take_turns_by_claim_only(home: Home) -> None:
    theirs = FencingToken(OTHERS, 1, 1, "ctl-b")
    assert probe(home, TOKEN).acted
    for run, _ in ACTIONS.values():
        assert run(home, theirs) == Result("foreign", acted=False)
    output = home.run(claim_home_command(str(home.path), theirs, home.read()))
    assert parse_claim(output).outcome == "claimed"
    assert home.recorded() == theirs
    for run, _ in ACTIONS.values():
        assert run(home, TOKEN) == Result("foreign", acted=False)
    for run, outcome in ACTIONS.values():
        assert run(home, theirs) == Result(outcome, acted=True)


@pytest.mark.parametrize("content", [b"x\n", None, VALID])
def test_claim_of_changed_fence_does_nothing(home: Home, content: bytes | None) -> None:
    fence = home.read()
    home.record(TOKEN)
    seen = home.read()
    home.fence.unlink() if content is None else home.fence.write_bytes(content)
    theirs = FencingToken(OTHERS, 1, 1, "ctl-b")
    for outdated in {seen, fence if content else seen}:
        output = home.run(claim_home_command(str(home.path), theirs, outdated))
        assert parse_claim(output).outcome == "changed"
    assert (home.fence.read_bytes() if home.fence.exists() else None) == content


@pytest.mark.parametrize("content", ["empty", "binary", "link", "dangling link", "named pipe"])
def test_claim_replaces_damaged_fence(home: Home, content: str) -> None:
    damage = DAMAGED[content]
    home.fence.write_bytes(damage) if isinstance(damage, bytes) else damage(home.fence)
    output = home.run(claim_home_command(str(home.path), TOKEN, HomeFence(is_damaged=True)))
    assert parse_claim(output).outcome == "claimed"
    assert home.recorded() == TOKEN
    assert home.marker.read_text() == "77 0 0\n"


def test_claim_of_directory_reports_reason(home: Home) -> None:
    home.fence.mkdir()
    output = home.run(claim_home_command(str(home.path), TOKEN, HomeFence(is_damaged=True)))
    assert parse_claim(output).outcome == ""
    assert parse_claim(output).unrecorded
    assert list(home.fence.iterdir()) == list(home.path.glob(f"{FENCE_FILE}?*")) == []


# --- the file disappears while a command runs ----------------------------------------------------


def test_fence_removed_during_start_is_recorded_by_next_command(home: Home) -> None:
    program = home.path / "bin/seekdb"
    program.write_text(f"#!/bin/sh\nrm {FENCE_FILE}\n: >started\nexit 87\n")
    assert start(home, TOKEN) == Result("launched", acted=True)
    assert home.recorded() is None
    assert stop(home, TOKEN).acted
    assert home.recorded() == TOKEN


@pytest.mark.parametrize("marker", ["", "77"], ids=["stop", "rollback"])
def test_fence_removed_during_stop_does_not_matter(home: Home, marker: str) -> None:
    text = f"trap 'rm {FENCE_FILE}; exit' TERM; echo ready; while :; do sleep 0.01; done"
    with run_server(home.path, text=text, by="77") as process:
        server = make_server(home=str(home.path), sql_port=1)
        report = parse_stop_report(home.run(stop_command(server, 20, marker, TOKEN)))
        assert report.outcome == "stopped"
        assert process.wait() == 0
    assert home.recorded() is None
    assert probe(home, TOKEN).acted
    assert home.recorded() == TOKEN


async def test_fence_removed_while_probe_waits_is_recorded_again(home: Home) -> None:
    home.record(replace(TOKEN, lock_token=8))
    lock = os.open(home.path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    argv = [str(word) for word in wait_for_lock_command(str(home.path), TOKEN).argv]
    with subprocess.Popen(  # noqa: ASYNC220
        argv, stdout=subprocess.PIPE, text=True
    ) as process:
        await until_waiting(process.pid)
        home.fence.unlink()
        os.close(lock)
        assert process.stdout is not None
        assert parse_probe(process.stdout.read()).outcome == "done"
    assert home.recorded() == TOKEN


# --- readers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["none", "ours", "damaged"])
def test_facts_only_read_the_fence(home: Home, before: str) -> None:
    if before != "none":
        home.record(TOKEN) if before == "ours" else home.fence.write_text("x")
    content = home.fence.read_bytes() if before != "none" else None
    facts = home.facts()
    assert facts.complete
    assert str(facts.fence) == {"none": "", "ours": f"{render_token(TOKEN)} {AT}"}.get(
        before, "damaged"
    )
    assert (home.fence.read_bytes() if home.fence.exists() else None) == content


def test_fence_is_not_data_of_a_home(home: Home) -> None:
    home.marker.unlink()
    assert probe(home, TOKEN).acted
    assert decide_home(home.facts().files, SEEKDB) == Empty()
    assert start(home, TOKEN) == Result("launched", acted=True)


def test_commands_without_token_ignore_the_fence(home: Home) -> None:
    home.record(replace(TOKEN, store_id=OTHERS))
    output = home.run(start_command(make_server(home=str(home.path)), "78", StartKind.FIRST))
    assert parse_start(output).outcome == "launched"


@pytest.mark.parametrize(
    ("name", "rendered"),
    [("ctl-a:2886", "ctl-a:2886"), ("[::1]:2886", "-::1-:2886"), ("a b\n*", "a-b--"), ("", "-")],
)
def test_render_token_replaces_unsafe_characters(name: str, rendered: str) -> None:
    assert render_token(replace(TOKEN, controller=name)) == f"{OURS} 2 7 {rendered}"
    assert len(render_token(replace(TOKEN, controller="x" * 300))) < 130

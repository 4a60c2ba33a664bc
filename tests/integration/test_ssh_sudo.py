"""Becoming another user with the real sudo: what the command is then, how it ends, what refuses it.

That a runner keeps its whole contract under sudo is shown in tests/conformance.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from dagengine.errors import AuthenticationFailed, CommandTimedOut, SudoRefused
from dagengine.remote.command import Command, script
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.runner import SshRunner
from dagengine.testing import eventually
from tests.sshd import MISSING, SshLab, open_lab
from tests.sudo_users import RULE, SudoUsers

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

# sudo asks for a password before it tells that it would refuse all the same.
NO_PASSWORD = "Defaults:{login} !authenticate"  # a line for sudoers
READY, BUSY = "/ready", 'trap "" TERM; sleep 1000 & : >"$1"; wait; sleep 1000'


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may look into and write to."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


@pytest_asyncio.fixture
async def lab(place: Path) -> AsyncIterator[SshLab]:
    async with open_lab(place) as lab:
        yield lab


@pytest_asyncio.fixture
async def become(lab: SshLab, sudo_users: SudoUsers, ssh_pool) -> Callable[..., object]:
    """Gives a runner of a new host that logs in as the login and becomes the owner."""

    async def make(*lines: str, **fields: object) -> SshRunner:
        host, key = await lab.sshd(*lines), lab.directory / "key"
        if not key.exists():
            await lab.key("key")
        lab.let_in(key, host)
        given = {"user": sudo_users.login, "sudo": sudo_users.owner, "key_file": key}
        address: HostAddress = lab.address(host, **(given | fields))
        return ssh_pool.runner(address)

    return make


async def out(runner: SshRunner, text: str, *args: str) -> str:
    result = await runner.run(script(text, "t", *args), timeout_s=30)
    assert (result.exit_status, result.stderr) == (0, "")
    return result.stdout.strip()


async def refusal(runner: SshRunner) -> SudoRefused:
    with pytest.raises(SudoRefused) as caught:
        await runner.run(Command(("true",)), timeout_s=30)
    assert caught.value.host == str(runner.address)
    assert str(runner.address) in caught.value.message
    return caught.value


# --- who the command is -----------------------------------------------------------------------


async def test_a_command_is_the_user_that_is_named_and_without_a_name_the_login(become, sudo_users):
    both = 'id -un; echo "$HOME $USER"'
    runner = await become()
    assert (await out(runner, both)).splitlines() == [sudo_users.owner, f"/ {sudo_users.owner}"]
    sudo_users.allow()  # sudo would refuse: it is not asked
    alone = await become(sudo=None)
    assert (await out(alone, "id -un")) == sudo_users.login


async def test_what_it_makes_belongs_to_that_user(become, sudo_users, place):
    runner = await become()
    await out(runner, 'mkdir "$1/made" && : >"$1/made/file"', str(place))
    uids = {path.stat().st_uid for path in (place / "made", place / "made" / "file")}
    assert uids == {sudo_users.owner_uid}


async def test_its_environment_is_that_of_sudo_without_the_text_of_the_command(become):
    names = await out(await become(), "env | sed 's/=.*//'; echo end")
    assert "SUDO_USER" in names.split()
    assert "SUDO_COMMAND" not in names.split()
    path = await out(await become("SetEnv HOME=/x PATH=/usr/bin:/bin:/odd"), 'echo "$PATH"')
    assert "/odd" not in path


async def test_one_host_serves_several_users_at_once(become, sudo_users):
    sudo_users.allow("{login} ALL=({owner}, root) NOPASSWD: /bin/sh")
    runners = [await become(), await become(sudo="root"), await become(sudo=None)]
    said = await asyncio.gather(*(out(runner, "id -un") for runner in runners))
    assert said == [sudo_users.owner, "root", sudo_users.login]


# --- how it ends ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "max_sessions"),
    [
        pytest.param((), 10, id="as installed"),
        pytest.param((), 1, id="over a second connection"),
        pytest.param(("Defaults:{login} use_pty",), 10, id="a terminal if there is one"),
        pytest.param(("Defaults:{login} !use_pty, !pam_session",), 10, id="executed directly"),
        pytest.param(
            ("Defaults:{login} log_input, log_output, iolog_dir=%s",), 10, id="all of it logged"
        ),
    ],
)
async def test_all_of_its_processes_are_ended_whatever_sudo_does(
    become, sudo_users, place, lines, max_sessions
):
    sudo_users.allow(*(line.replace("%s", f"{place}/iolog") for line in lines), RULE)
    host_line = ("MaxSessions 1",) if max_sessions == 1 else ()
    runner = await become(*host_line, max_sessions=max_sessions)
    await runner.run(Command(("true",)), timeout_s=30)  # logs in: the time is for the command alone
    with pytest.raises(CommandTimedOut) as caught:
        await runner.run(script(BUSY, "busy", f"{place}{READY}1"), timeout_s=2)
    assert caught.value.confirmed_ended
    assert [line for line in sudo_users.processes() if "sleep" in line] == []

    running = asyncio.create_task(
        runner.run(script(BUSY, "busy", f"{place}{READY}2"), timeout_s=60), name="busy"
    )

    async def is_busy() -> bool:
        return (place / "ready2").exists()

    await eventually(is_busy, timeout_s=30)
    assert [line for line in sudo_users.processes() if "sleep" in line] != []
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [line for line in sudo_users.processes() if "sleep" in line] == []
    assert (await out(runner, "id -un")) == sudo_users.owner


async def test_commands_of_root_are_ended_as_well(become, sudo_users, place):
    sudo_users.allow("{login} ALL=(root) NOPASSWD: /bin/sh")
    runner = await become(sudo="root")
    busy = 'trap "" TERM; echo $$ >"$1.new"; mv "$1.new" "$1"; sleep 1000'
    running = asyncio.create_task(
        runner.run(script(busy, "busy", f"{place}{READY}"), timeout_s=60), name="busy"
    )

    async def is_busy() -> bool:
        return (place / "ready").exists()

    await eventually(is_busy, timeout_s=30)
    pid = int((place / "ready").read_text())
    assert _runs(pid)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not _runs(pid)


async def test_an_end_that_sudo_no_longer_allows_is_not_taken_for_proven(become, sudo_users, place):
    runner = await become()
    await runner.run(Command(("true",)), timeout_s=30)
    running = asyncio.create_task(
        runner.run(script(BUSY, "busy", f"{place}{READY}"), timeout_s=5), name="busy"
    )

    async def is_busy() -> bool:
        return (place / "ready").exists()

    await eventually(is_busy, timeout_s=30)
    sudo_users.allow()
    with pytest.raises(CommandTimedOut, match="may still run there") as caught:
        await running
    assert not caught.value.confirmed_ended
    sudo_users.end_processes()


# --- what refuses it --------------------------------------------------------------------------


async def test_sudo_that_needs_a_password_is_told_with_the_line_that_is_missing(become, sudo_users):
    runner = await become()
    wanted = f"`{sudo_users.login} ALL=({sudo_users.owner}) NOPASSWD: /bin/sh`"
    for lines in (("{login} ALL=({owner}) /bin/sh",), ()):
        sudo_users.allow(*lines)
        error = await refusal(runner)
        assert "needs a password to let" in error.message
        assert wanted in error.remedy
    sudo_users.allow(RULE)  # as it says
    assert (await out(runner, "id -un")) == sudo_users.owner


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param((), id="in no line"),
        pytest.param(("{login} ALL=(root) /bin/sh",), id="another user"),
        pytest.param(("{login} ALL=({owner}) /bin/true",), id="another program"),
    ],
)
async def test_what_sudoers_do_not_allow_is_told(become, sudo_users, lines):
    sudo_users.allow(NO_PASSWORD, *lines)
    error = await refusal(await become())
    assert f"does not allow {sudo_users.login} to run /bin/sh as {sudo_users.owner}" in str(error)
    assert "NOPASSWD: /bin/sh" in error.remedy


async def test_sudo_that_wants_a_terminal_is_told(become, sudo_users):
    sudo_users.allow("Defaults:{login} requiretty", RULE)
    error = await refusal(await become())
    assert "requires a terminal" in error.message
    assert f"Defaults:{sudo_users.login} !requiretty" in error.remedy


async def test_a_user_that_the_host_does_not_have_is_told(become):
    error = await refusal(await become(sudo="dagt-nobody"))
    assert "the user dagt-nobody of ssh.sudo does not exist" in error.message


async def test_a_host_without_sudo_is_told(become, place):
    programs = place / "bin"
    programs.mkdir()
    for name in ("id", "setsid"):
        (programs / name).symlink_to(str(shutil.which(name)))
    error = await refusal(await become(f"SetEnv PATH={programs}"))
    assert "sudo is not installed on" in error.message


async def test_a_login_shell_that_runs_nothing_is_not_taken_for_sudo(become):
    runner = await become("ForceCommand echo nothing for you")
    with pytest.raises(AuthenticationFailed, match="nothing for you"):
        await runner.run(Command(("true",)), timeout_s=30)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False

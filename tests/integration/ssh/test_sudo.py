"""Commands as another user with the real sudo: identity, end, refusals.

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
from tests.support.sshd import MISSING, SshLab, open_lab
from tests.support.sudo_users import RULE, SudoUsers

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

# sudo asks for a password before it reports that it refuses in any case.
NO_PASSWORD = "Defaults:{login} !authenticate"  # a line for sudoers
READY, BUSY = "/ready", 'trap "" TERM; sleep 1000 & : >"$1"; wait; sleep 1000'


@pytest.fixture
def shared_dir() -> Iterator[Path]:
    """A directory that every user may look into and write to."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


@pytest_asyncio.fixture
async def lab(shared_dir: Path) -> AsyncIterator[SshLab]:
    async with open_lab(shared_dir) as lab:
        yield lab


@pytest_asyncio.fixture
async def sudo_runner(lab: SshLab, sudo_users: SudoUsers, ssh_pool) -> Callable[..., object]:
    """Gives a runner of a new host that logs in as the login and becomes the owner."""

    async def make(*lines: str, **fields: object) -> SshRunner:
        host, key = await lab.sshd(*lines), lab.directory / "key"
        if not key.exists():
            await lab.key("key")
        lab.let_in(key, host)
        defaults = {"user": sudo_users.login, "sudo": sudo_users.owner, "key_file": key}
        address: HostAddress = lab.address(host, **(defaults | fields))
        return ssh_pool.runner(address)

    return make


async def run_output(runner: SshRunner, text: str, *args: str) -> str:
    result = await runner.run(script(text, "t", *args), timeout_s=30)
    assert (result.exit_status, result.stderr) == (0, "")
    return result.stdout.strip()


async def sudo_error(runner: SshRunner) -> SudoRefused:
    with pytest.raises(SudoRefused) as caught:
        await runner.run(Command(("true",)), timeout_s=30)
    assert caught.value.host == str(runner.address)
    assert str(runner.address) in caught.value.message
    return caught.value


# --- who the command is -----------------------------------------------------------------------


async def test_sudo_command_runs_as_named_user_or_login(sudo_runner, sudo_users):
    both = 'id -un; echo "$HOME $USER"'
    runner = await sudo_runner()
    assert (await run_output(runner, both)).splitlines() == [
        sudo_users.owner,
        f"/ {sudo_users.owner}",
    ]
    sudo_users.allow()  # sudo would refuse, but is not used
    alone = await sudo_runner(sudo=None)
    assert (await run_output(alone, "id -un")) == sudo_users.login


async def test_sudo_created_files_belong_to_named_user(sudo_runner, sudo_users, shared_dir):
    runner = await sudo_runner()
    await run_output(runner, 'mkdir "$1/made" && : >"$1/made/file"', str(shared_dir))
    uids = {path.stat().st_uid for path in (shared_dir / "made", shared_dir / "made" / "file")}
    assert uids == {sudo_users.owner_uid}


async def test_sudo_environment_omits_command_text(sudo_runner):
    names = await run_output(await sudo_runner(), "env | sed 's/=.*//'; echo end")
    assert "SUDO_USER" in names.split()
    assert "SUDO_COMMAND" not in names.split()
    path = await run_output(
        await sudo_runner("SetEnv HOME=/x PATH=/usr/bin:/bin:/odd"), 'echo "$PATH"'
    )
    assert "/odd" not in path


async def test_sudo_one_host_serves_several_users(sudo_runner, sudo_users):
    sudo_users.allow("{login} ALL=({owner}, root) NOPASSWD: /bin/sh")
    runners = [await sudo_runner(), await sudo_runner(sudo="root"), await sudo_runner(sudo=None)]
    users = await asyncio.gather(*(run_output(runner, "id -un") for runner in runners))
    assert users == [sudo_users.owner, "root", sudo_users.login]


# --- how it ends ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "max_sessions"),
    [
        pytest.param((), 10, id="as installed"),
        pytest.param((), 1, id="over a second connection", marks=pytest.mark.slow),
        pytest.param(
            ("Defaults:{login} use_pty",),
            10,
            id="a terminal if there is one",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("Defaults:{login} !use_pty, !pam_session",),
            10,
            id="executed directly",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("Defaults:{login} log_input, log_output, iolog_dir=%s",),
            10,
            id="all of it logged",
            marks=pytest.mark.slow,
        ),
    ],
)
async def test_sudo_command_timed_out_or_cancelled_is_ended(
    sudo_runner, sudo_users, shared_dir, lines, max_sessions
):
    sudo_users.allow(*(line.replace("%s", f"{shared_dir}/iolog") for line in lines), RULE)
    host_line = ("MaxSessions 1",) if max_sessions == 1 else ()
    runner = await sudo_runner(*host_line, max_sessions=max_sessions)
    await runner.run(Command(("true",)), timeout_s=30)  # logs in: the time is for the command alone
    with pytest.raises(CommandTimedOut) as caught:
        await runner.run(script(BUSY, "busy", f"{shared_dir}{READY}1"), timeout_s=2)
    assert caught.value.confirmed_ended
    assert [line for line in sudo_users.processes() if "sleep" in line] == []

    running = asyncio.create_task(
        runner.run(script(BUSY, "busy", f"{shared_dir}{READY}2"), timeout_s=60), name="busy"
    )

    async def is_busy() -> bool:
        return (shared_dir / "ready2").exists()

    await eventually(is_busy, timeout_s=30)
    assert [line for line in sudo_users.processes() if "sleep" in line] != []
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [line for line in sudo_users.processes() if "sleep" in line] == []
    assert (await run_output(runner, "id -un")) == sudo_users.owner


async def test_sudo_command_of_root_is_ended_on_cancel(sudo_runner, sudo_users, shared_dir):
    sudo_users.allow("{login} ALL=(root) NOPASSWD: /bin/sh")
    runner = await sudo_runner(sudo="root")
    busy = 'trap "" TERM; echo $$ >"$1.new"; mv "$1.new" "$1"; sleep 1000'
    running = asyncio.create_task(
        runner.run(script(busy, "busy", f"{shared_dir}{READY}"), timeout_s=60), name="busy"
    )

    async def is_busy() -> bool:
        return (shared_dir / "ready").exists()

    await eventually(is_busy, timeout_s=30)
    pid = int((shared_dir / "ready").read_text())
    assert is_running(pid)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not is_running(pid)


@pytest.mark.slow
async def test_sudo_end_without_permission_is_unconfirmed(sudo_runner, sudo_users, shared_dir):
    runner = await sudo_runner()
    await runner.run(Command(("true",)), timeout_s=30)
    running = asyncio.create_task(
        runner.run(script(BUSY, "busy", f"{shared_dir}{READY}"), timeout_s=5), name="busy"
    )

    async def is_busy() -> bool:
        return (shared_dir / "ready").exists()

    await eventually(is_busy, timeout_s=30)
    sudo_users.allow()
    with pytest.raises(CommandTimedOut, match="may still run there") as caught:
        await running
    assert not caught.value.confirmed_ended
    sudo_users.end_processes()


# --- what refuses it --------------------------------------------------------------------------


async def test_sudo_password_required_names_missing_rule(sudo_runner, sudo_users):
    runner = await sudo_runner()
    rule = f"`{sudo_users.login} ALL=({sudo_users.owner}) NOPASSWD: /bin/sh`"
    for lines in (("{login} ALL=({owner}) /bin/sh",), ()):
        sudo_users.allow(*lines)
        error = await sudo_error(runner)
        assert "needs a password to let" in error.message
        assert rule in error.remedy
    sudo_users.allow(RULE)  # as it says
    assert (await run_output(runner, "id -un")) == sudo_users.owner


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param((), id="in no line"),
        pytest.param(("{login} ALL=(root) /bin/sh",), id="another user"),
        pytest.param(("{login} ALL=({owner}) /bin/true",), id="another program"),
    ],
)
async def test_sudo_missing_rule_is_refused_with_remedy(sudo_runner, sudo_users, lines):
    sudo_users.allow(NO_PASSWORD, *lines)
    error = await sudo_error(await sudo_runner())
    assert f"does not allow {sudo_users.login} to run /bin/sh as {sudo_users.owner}" in str(error)
    assert "NOPASSWD: /bin/sh" in error.remedy


async def test_sudo_requiring_terminal_is_refused_with_remedy(sudo_runner, sudo_users):
    sudo_users.allow("Defaults:{login} requiretty", RULE)
    error = await sudo_error(await sudo_runner())
    assert "requires a terminal" in error.message
    assert f"Defaults:{sudo_users.login} !requiretty" in error.remedy


async def test_sudo_unknown_user_is_named(sudo_runner):
    error = await sudo_error(await sudo_runner(sudo="dagt-absent"))
    assert "the user dagt-absent of ssh.sudo does not exist" in error.message


async def test_sudo_not_installed_is_named(sudo_runner, shared_dir):
    programs = shared_dir / "bin"
    programs.mkdir()
    for name in ("id", "setsid"):
        (programs / name).symlink_to(str(shutil.which(name)))
    error = await sudo_error(await sudo_runner(f"SetEnv PATH={programs}"))
    assert "sudo is not installed on" in error.message


async def test_sudo_forced_command_raises_authentication_failed(sudo_runner):
    runner = await sudo_runner("ForceCommand echo nothing for you")
    with pytest.raises(AuthenticationFailed, match="nothing for you"):
        await runner.run(Command(("true",)), timeout_s=30)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False

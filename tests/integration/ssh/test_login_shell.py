"""Login shells: all run the scripts under sh; their start-up files may print, exit or hang."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from dagengine.errors import AuthenticationFailed, CommandTimedOut
from dagengine.remote.command import script
from dagengine.testing import eventually
from tests.support.sshd import MISSING, SshLab

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

# sshd runs a forced command through the login shell; this one replaces it, as a login shell would.
_FORCED = 'ForceCommand exec env SHLVL= HOME={home} {shell} -c "$SSH_ORIGINAL_COMMAND"'

# Each shell with the start-up file that it reads for a command.
SHELLS = [
    ("bash", "bash", ".bashrc"),
    ("bash -l", "bash", ".profile"),
    ("fish", "fish", ".config/fish/config.fish"),
    ("tcsh", "tcsh", ".tcshrc"),
    ("zsh", "zsh", ".zshenv"),
]


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def shell(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The command line of a shell, and its start-up file below the home."""
    line, program, file = request.param
    if shutil.which(program) is None:
        pytest.skip(f"not installed: {program}")
    return line, file


@pytest_asyncio.fixture
async def runner_with(lab: SshLab, ssh_pool, shell) -> AsyncIterator[object]:
    """Return a runner whose login shell reads this start-up file."""
    pids = lab.directory / "pids"

    async def make(start_up: str):
        home, (line, file) = lab.directory / "home", shell
        (home / file).parent.mkdir(parents=True)
        (home / file).write_text(start_up.format(pids=pids))
        host, key = await lab.sshd(_FORCED.format(home=home, shell=line)), await lab.key("key")
        lab.let_in(key, host)
        return ssh_pool.runner(lab.address(host, key_file=key))

    yield make
    for pid in pids.read_text().split() if pids.exists() else ():
        if psutil.pid_exists(int(pid)):
            psutil.Process(int(pid)).kill()


async def test_login_shell_that_prints_runs_scripts_under_sh(runner_with):
    runner = await runner_with("echo 'last login: x=y; say \"hi\"'\n")
    text = 'set -- "$@" \'\\n\' "it\'s"; [ ! -e /none ] && printf \'%s|\' "$@"\n# a comment\nexit 3'
    for _ in range(2):
        result = await runner.run(script(text, "name", "a\\\\b", "!x", "two\nlines"), timeout_s=60)
        assert (result.exit_status, result.stdout) == (3, "a\\\\b|!x|two\nlines|\\n|it's|")


# In fish and tcsh, `exit` ends only the start-up file.
@pytest.mark.parametrize("shell", [*SHELLS[:2], SHELLS[4]], ids=lambda s: s[0], indirect=True)
async def test_login_shell_that_exits_is_named_with_status(runner_with):
    runner = await runner_with("echo maintenance\nexit 7\n")
    with pytest.raises(AuthenticationFailed, match="did not run name: exit status 7") as caught:
        await runner.run(script(":", "name"), timeout_s=60)
    assert "maintenance" in caught.value.message
    assert "start-up files must not exit" in caught.value.remedy


@pytest.mark.slow  # the command might still announce itself for 5 s
async def test_login_shell_that_hangs_is_named(runner_with, lab):
    runner = await runner_with("sh -c 'echo $$ >>{pids}; exec sleep 1000'\n")
    mark = lab.directory / "mark"
    with pytest.raises(CommandTimedOut, match=r"did not reach name .* within 1 s") as caught:
        await runner.run(script(': >"$1"', "name", str(mark)), timeout_s=1)
    assert not caught.value.confirmed_ended
    assert "~/.bashrc" in caught.value.remedy
    pids = lab.directory / "pids"
    (pid,) = map(int, pids.read_text().split())
    parent = psutil.Process(psutil.Process(pid).ppid())
    psutil.Process(pid).kill()  # the shell continues: it must not run the command any more

    async def has_ended() -> bool:
        return not parent.is_running()

    await eventually(has_ended, timeout_s=30)
    assert not Path(mark).exists()

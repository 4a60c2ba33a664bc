"""Two users of this machine for tests with the real sudo: one logs in, the other owns servers.

They are there as long as a test session needs them, with a drop-in file for sudoers. What a session
that was killed has left is removed by the next one.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_DROP_INS = Path("/etc/sudoers.d")
_PROGRAMS = ("sudo", "visudo", "useradd", "userdel")
_NAME = re.compile(r"dagt([0-9]+)[ls]")
RULE = "{login} ALL=({owner}) NOPASSWD: /bin/sh"
"""The rule of docs/operations/ssh.md."""


def skip_reason() -> str | None:
    """Return why the users cannot be created on this machine; None if they can."""
    if os.geteuid() != 0:
        return "users for sudo can be made by root only"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"users for sudo need {', '.join(missing)}"
    return None if _DROP_INS.is_dir() else f"there is no {_DROP_INS}"


@dataclass(frozen=True, slots=True)
class SudoUsers:
    """`login` may become `owner`, as the present lines for sudoers say; neither has a password."""

    login: str
    owner: str

    @property
    def owner_uid(self) -> int:
        return pwd.getpwnam(self.owner).pw_uid

    def allow(self, *lines: str) -> None:
        """Put these lines in place of the present ones; `{login}` and `{owner}` are filled in."""
        text = "".join(f"{line.format(login=self.login, owner=self.owner)}\n" for line in lines)
        file = _drop_in(os.getpid())
        new = file.with_name(f"{file.name}.new")  # sudo reads no name with a dot
        new.write_text(text)
        new.chmod(0o440)
        new.replace(file)
        subprocess.run(["visudo", "-c", "-q", "-f", file], check=True, stdout=subprocess.DEVNULL)

    def processes(self) -> list[str]:
        """Return the processes of the users."""
        return [f"{pid}: {_words(pid)}" for pid in _find_processes(_uids(self.login, self.owner))]

    def end_processes(self) -> None:
        """End all processes of the users."""
        _kill(_uids(self.login, self.owner))


@contextmanager
def make_users() -> Iterator[SudoUsers]:
    """Create both users with the rule, and remove them at the end."""
    _remove_stale()
    pid = os.getpid()
    users = SudoUsers(f"dagt{pid}l", f"dagt{pid}s")
    try:
        for name in (users.login, users.owner):
            # Without a password, but not locked: sshd would refuse that.
            options = ("--system", "--no-create-home", "--home-dir", "/")
            _run("useradd", *options, "--user-group", "--password", "*", "--shell", "/bin/sh", name)
        users.allow(RULE)
        yield users
    finally:
        _remove(pid)


def _remove_stale() -> None:
    """Remove the users and the drop-ins of sessions that are gone."""
    suffixes = [match[1] for user in pwd.getpwall() if (match := _NAME.fullmatch(user.pw_name))]
    suffixes += [
        file.name.rpartition("-")[2] for file in _DROP_INS.glob(f"{_drop_in(0).name[:-1]}*")
    ]
    for pid in {int(text.partition(".")[0]) for text in suffixes}:
        if not Path(f"/proc/{pid}").exists():
            _remove(pid)


def _remove(pid: int) -> None:
    for file in _DROP_INS.glob(f"{_drop_in(pid).name}*"):
        file.unlink(missing_ok=True)
    for name in (f"dagt{pid}l", f"dagt{pid}s"):
        if uids := _uids(name):
            _kill(uids)
            _run("userdel", "--force", name)


def _drop_in(pid: int) -> Path:
    return _DROP_INS / f"dagengine-test-{pid}"


def _run(*words: str) -> None:
    completed = subprocess.run(words, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr


def _uids(*names: str) -> set[int]:
    return {user.pw_uid for user in pwd.getpwall() if user.pw_name in names}


def _kill(uids: set[int]) -> None:
    for pid in _find_processes(uids):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _find_processes(uids: set[int]) -> list[int]:
    """Return the processes with one of these as real, effective or saved uid, without zombies."""
    pids = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            lines = (directory / "status").read_text().splitlines()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        if uids & {int(uid) for uid in fields["Uid"].split()} and fields["State"].split()[0] != "Z":
            pids.append(int(directory.name))
    return pids


def _words(pid: int) -> str:
    with suppress(OSError):
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        return text.decode(errors="replace")[:200]
    return "(gone)"

"""Processes, locks and temporary files that a test left on its hosts.

The SSH servers of the tests give every command a HOME and a TMPDIR below the directory of the
host, so a process is recognized by its environment even if its parent has ended. The database
servers and the SSH servers are not counted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dagengine.testing import eventually
from tasks.demo.hosts import DemoHosts

_SERVERS = {"seekdb", "observer", "sshd", "sshd-session", "sshd-auth"}


def find_leftovers(directory: Path) -> list[str]:
    """Describe the remains of commands on the hosts below a directory."""
    return [
        *_find_processes(directory),
        *_find_locks(directory),
        *(f"file {file}" for file in directory.glob("*/tmp/*")),
    ]


async def assert_nothing_left(hosts: DemoHosts) -> None:
    """Wait until nothing is left; commands of a killed controller may end by themselves first."""
    remains: Sequence[str] = ()

    async def is_clean() -> bool:
        nonlocal remains
        remains = find_leftovers(hosts.directory)
        return not remains

    try:
        await eventually(is_clean, timeout_s=60)
    except AssertionError:
        raise AssertionError(f"left on the hosts: {remains}") from None


def _find_processes(directory: Path) -> list[str]:
    home_variables = tuple(f"HOME={host}".encode() for host in directory.glob("host*"))
    remains = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            name = (process / "comm").read_text().strip()
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        is_marked = any(variable in environment for variable in home_variables)
        if is_marked and _is_watch(int(process.name)):
            continue
        if is_marked and words != [b""] and not _is_server(name, words):
            line = b" ".join(word[:60] for word in words).decode(errors="replace")
            remains.append(f"process {process.name}: {line[:300]}")
    return remains


def _is_watch(pid: int) -> bool:
    """Whether a process belongs to a watch that still runs, as long as its controller does."""
    try:
        return b"dagengine-watch" in Path(f"/proc/{os.getsid(pid)}/cmdline").read_bytes()
    except OSError:
        return False


def _is_server(name: str, words: list[bytes]) -> bool:
    """A program that a test runs on its host, not a command of ours."""
    program = Path(words[0].decode(errors="replace")).name
    is_standin = any(b"asyncssh_server" in word or b"standin" in word for word in words[:4])
    return name in _SERVERS or program.rstrip(":") in _SERVERS or is_standin


def _find_locks(directory: Path) -> list[str]:
    homes = {home.stat().st_ino: home for home in directory.glob("host*/*") if home.is_dir()}
    remains = []
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if "FLOCK" not in fields or "->" in fields:
            continue
        inode = int(fields[-3].rpartition(":")[2])
        if inode in homes:
            remains.append(f"lock on {homes[inode]} by pid {fields[-4]}")
    return remains

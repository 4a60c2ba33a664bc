"""Clean-up that survives the death of its owner: ends processes and removes a directory.

The owner holds one end of a pipe to a small process (this file, run as a script) and reports
through it every process that it starts. When the owner closes the pipe or dies, the reaper ends
all of them by process id and identity, and removes the directory. It needs only the standard
library.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

_GRACE_S = 5.0
_POLL_S = 0.05


class ProcessReaper:
    """The owner's side: a temporary directory and a reaper for the processes started in it."""

    def __init__(self, prefix: str) -> None:
        """
        Args:
            prefix: of the directory's name; the directory is created in TMPDIR.
        """
        self.directory = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch_process(self, pid: int) -> None:
        """Register a child process, including all its descendants."""
        process = _read_process(pid)
        if process is not None:
            self._send_line(f"process {pid} {process.started}")

    def watch_home(self, home: Path) -> None:
        """Register every process whose working directory or base directory is this home."""
        self._send_line(f"home {home}")

    def close(self) -> bool:
        """End everything and return True if nothing is left. Blocks for some seconds."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait() == 0

    def _send_line(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()


@dataclass(frozen=True, slots=True)
class _Process:
    """An entry of the process table; pid and start (in clock ticks since boot) identify it."""

    pid: int
    parent: int
    started: int


def _main(directory: str) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    entries = [line.rstrip("\n").split(" ", 1) for line in sys.stdin]
    remaining: set[_Process] = set()
    children = [argument.split() for kind, argument in entries if kind == "process"]
    for pid, started in reversed(children):
        remaining |= _end_all(partial(_tree, int(pid), int(started)))
    homes = {argument for kind, argument in entries if kind == "home"}
    remaining |= _end_all(partial(_servers, homes))
    remaining |= _end_all(partial(_commands, directory))
    shutil.rmtree(directory, ignore_errors=True)
    for pid, _ in children:
        _remove_sockets(pid)
    for process in remaining:
        sys.stderr.write(f"could not end process {process.pid}\n")
    if Path(directory).exists():
        sys.stderr.write(f"could not remove {directory}\n")
        return 1
    return 1 if remaining else 0


def _remove_sockets(pid: str) -> None:
    """Remove the directories for sockets that a killed controller has left behind."""
    if Path(f"/proc/{pid}").exists():
        return
    for place in {tempfile.gettempdir(), "/tmp"}:  # noqa: S108  # there if TMPDIR is a long path
        for directory in Path(place).glob(f"dagengine-{pid}-*"):
            shutil.rmtree(directory, ignore_errors=True)


def _end_all(find: Callable[[], set[_Process]]) -> set[_Process]:
    """Send TERM, later KILL, until `find` returns nothing twice in a row; return the remaining."""
    began_s = time.monotonic()
    termed: set[_Process] = set()
    quiet = 0
    while (processes := find()) or quiet < 1:
        quiet = 0 if processes else quiet + 1
        waited_s = time.monotonic() - began_s
        if waited_s > 2 * _GRACE_S:
            return processes
        if waited_s > _GRACE_S:
            _send(signal.SIGKILL, processes)
        else:
            _send(signal.SIGTERM, processes - termed)
            termed |= processes
        time.sleep(_POLL_S)
    return set()


def _send(number: signal.Signals, processes: Iterable[_Process]) -> None:
    for process in processes:
        try:
            handle = os.pidfd_open(process.pid)
        except ProcessLookupError:
            continue
        try:
            # The handle pins the process: if it still has the same identity, the signal is safe.
            if _read_process(process.pid) == process:
                signal.pidfd_send_signal(handle, number)
        except (ProcessLookupError, PermissionError):
            continue
        finally:
            os.close(handle)


def _tree(pid: int, started: int) -> set[_Process]:
    """Return a process and its descendants; empty if it is gone."""
    table = _read_table()
    root = table.get(pid)
    if root is None or root.started != started:
        return set()
    tree = {root.pid}
    while grown := {p.pid for p in table.values() if p.parent in tree} - tree:
        tree |= grown
    return {table[member] for member in tree}


def _servers(homes: set[str]) -> set[_Process]:
    """Return this user's processes whose working or base directory is one of `homes`."""
    matches = set()
    for process in _read_table().values():
        try:
            if Path(f"/proc/{process.pid}").stat().st_uid != os.geteuid():
                continue
            if str(Path(f"/proc/{process.pid}/cwd").readlink()) in homes:
                matches.add(process)
                continue
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        arguments = words.split("\0")
        for name, value in pairwise(arguments):
            if name == "--base-dir" and value.rstrip("/") in homes:
                matches.add(process)
    return matches


def _commands(directory: str) -> set[_Process]:
    """Return the commands that were run on the hosts, whose home directories are below this one.

    They are not descendants of an SSH server once their session has ended.
    """
    beginning = f"HOME={directory}/".encode()
    matches = set()
    for process in _read_table().values():
        try:
            if Path(f"/proc/{process.pid}").stat().st_uid != os.geteuid():
                continue
            environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(variable.startswith(beginning) for variable in environment):
            matches.add(process)
    return matches


def _read_table() -> dict[int, _Process]:
    entries = (_read_process(int(p.name)) for p in Path("/proc").iterdir() if p.name.isdigit())
    return {process.pid: process for process in entries if process is not None}


def _read_process(pid: int) -> _Process | None:
    """Return a process; None if it does not exist or is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else _Process(pid, int(fields[1]), int(fields[19]))


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))

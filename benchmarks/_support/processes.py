"""Resource usage and identity of processes, from /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources that a process has used up to an instant.

    Attributes:
        at_s: the instant, on the monotonic clock.
        cpu_s: user and system time of all threads.
        wakeups: voluntary context switches by thread id; a wake-up follows each of them.
        resident_kib: resident memory at this instant.
    """

    at_s: float
    cpu_s: float
    wakeups: dict[int, int]
    resident_kib: int


def read_usage(pid: int) -> Usage:
    """Return the current resource usage of a process."""
    fields = _stat_fields(pid)
    return Usage(
        at_s=time.monotonic(),
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
        wakeups={
            int(task.name): _read_wakeups(task) for task in Path(f"/proc/{pid}/task").iterdir()
        },
        resident_kib=int(_status_value(Path(f"/proc/{pid}"), "VmRSS").split()[0]),
    )


def read_start_s(pid: int) -> float:
    """Return the start time of a process in seconds since boot, rounded down to a clock tick."""
    return int(_stat_fields(pid)[19]) / _TICKS_PER_S


def find_server(home: str) -> int | None:
    """Return the pid of the server whose base and working directory is this home, or None."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
            names_home = (
                "--base-dir" in arguments and arguments[arguments.index("--base-dir") + 1] == home
            )
            if names_home and (directory / "cwd").samefile(home):
                return int(directory.name)
        except (OSError, IndexError):
            continue
    return None


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from field 3 (state) on, as numbered in proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _read_wakeups(task: Path) -> int:
    return int(_status_value(task, "voluntary_ctxt_switches"))


def _status_value(directory: Path, name: str) -> str:
    lines = (directory / "status").read_text().splitlines()
    return next(value for line in lines if (value := line.removeprefix(f"{name}:")) != line)

"""Process data from /proc."""

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
        waits: voluntary context switches by thread; each one is followed by a wake-up.
        resident_kib: resident memory at this instant.
    """

    at_s: float
    cpu_s: float
    waits: dict[int, int]
    resident_kib: int


def read_usage(pid: int) -> Usage:
    """Return the process's current usage."""
    fields = _stat_fields(pid)
    return Usage(
        at_s=time.monotonic(),
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
        waits={int(task.name): _read_waits(task) for task in Path(f"/proc/{pid}/task").iterdir()},
        resident_kib=int(_status_value(Path(f"/proc/{pid}"), "VmRSS").split()[0]),
    )


def started_s(pid: int) -> float:
    """Return a process's start in seconds since boot; the kernel rounds down to a tick."""
    return int(_stat_fields(pid)[19]) / _TICKS_PER_S


def find_server(home: str) -> int | None:
    """Return the pid of the server whose base and working directory is this home, if any."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
            is_ours = "--base-dir" in words and words[words.index("--base-dir") + 1] == home
            if is_ours and (directory / "cwd").samefile(home):
                return int(directory.name)
        except (OSError, IndexError):
            continue
    return None


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name; the first is proc(5)'s field 3."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _read_waits(task: Path) -> int:
    return int(_status_value(task, "voluntary_ctxt_switches"))


def _status_value(directory: Path, name: str) -> str:
    lines = (directory / "status").read_text().splitlines()
    return next(value for line in lines if (value := line.removeprefix(f"{name}:")) != line)

"""What a server that ended has left on its host: one question, and its parsed answer.

The question is bounded: it takes some seconds at most, tells at most some 20 kB, and leaves
nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from dagengine import Command, script
from tasks.hosts.output import last_value, number_value, parse_lines
from tasks.hosts.scripts import read_script


@dataclass(frozen=True, slots=True)
class Postmortem:
    """What was found. Lists hold lines, each cut; None: the host did not say.

    Attributes:
        complete: False when the answer broke off.
        log: the last ERROR and EDIAG lines that the server wrote since it was started.
        log_grew: it wrote anything at all since then.
        log_missing: there is no log.
        kernel: what the kernel said since then of kills, crashes and disks.
        kernel_readable: False when this user may not read it.
        oom_kills: processes that the kernel killed for want of memory in this login's control
            group, since that was made.
        cores: core files of the server.
        free_bytes, free_files: left on the file system of the home.
        taken: those of the server's ports on which something else listens now.
        open_files: how many this user may have open; 0 when there is no limit.
        available_bytes: memory that could be had.
    """

    complete: bool = True
    log: tuple[str, ...] = ()
    log_grew: bool = True
    log_missing: bool = False
    kernel: tuple[str, ...] = ()
    kernel_readable: bool = False
    oom_kills: int | None = None
    cores: tuple[str, ...] = ()
    free_bytes: int | None = None
    free_files: int | None = None
    open_files: int | None = None
    available_bytes: int | None = None
    taken: tuple[int, ...] = ()

    def as_evidence(self) -> dict[str, Any]:
        """For a caller: what was found, without the log and what is not known."""
        hidden = ("complete", "log", "log_grew", "log_missing")
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name not in hidden and value not in (None, ())
        }


def ask_traces(
    home: str, log: str, log_from: int, pid: int, started: int, ports: Iterable[int] = ()
) -> Command:
    """What the server (pid, start time) has left; `log_from` is the log's size at its start."""
    numbers = (log_from, max(pid, 0), started, *ports)
    return script(read_script("postmortem"), "dagengine-traces", home, log, *map(str, numbers))


def parse_traces(output: str) -> Postmortem:
    """The answer to `ask_traces`."""
    values = parse_lines(output)
    kib = number_value(values, "available_kib")
    open_files = last_value(values, "open_files")
    counts = [int(text) for text in values.get("oom_kills", ()) if text.isdecimal()]
    return Postmortem(
        complete=last_value(values, "end") == "yes",
        log=tuple(values.get("log", ())),
        log_grew=last_value(values, "log_grew") == "yes",
        log_missing=last_value(values, "log_missing") == "yes",
        kernel=tuple(values.get("kernel", ())),
        kernel_readable=last_value(values, "kernel_readable") == "yes",
        oom_kills=max(counts, default=None),
        cores=tuple(values.get("core", ())),
        free_bytes=number_value(values, "free_bytes"),
        free_files=number_value(values, "free_files"),
        open_files=0 if open_files == "unlimited" else number_value(values, "open_files"),
        available_bytes=None if kib is None else kib * 1024,
        taken=tuple(int(text) for text in values.get("taken", ()) if text.isdecimal()),
    )

"""Traces of an ended server on its host: one query, and its parsed response.

The query is bounded: it takes some seconds at most, returns about 20 kB at most, and leaves
nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dagengine.remote import Command, script
from tasks.hosts.identity import Listener, TcpConnection, parse_connections, parse_listeners
from tasks.hosts.output import last_value, number_value, parse_lines
from tasks.hosts.scripts import read_script


@dataclass(frozen=True, slots=True)
class Postmortem:
    """Traces of an ended server. Lists hold truncated lines; None means that a value is unknown.

    Attributes:
        complete: False if the response was truncated.
        log: the last ERROR and EDIAG lines that the server wrote since its start.
        log_grew: whether it wrote anything since its start.
        log_missing: whether the log does not exist.
        kernel: kernel messages since its start about kills, crashes and disks.
        kernel_readable: False if this user may not read the kernel's log.
        oom_kills: processes in this login's control group that the kernel killed for lack of
            memory since the group was created.
        cores: core files of the server.
        free_bytes, free_files: left on the file system of the home.
        taken: ports of the server on which another process listens now.
        listeners: the listening sockets, by port.
        connections: connections from ports of the server.
        open_files: limit of open files of this user; 0 if unlimited.
        available_bytes: available memory.
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
    listeners: Mapping[int, tuple[Listener, ...]] = field(default_factory=dict)
    connections: tuple[TcpConnection, ...] = ()

    def as_evidence(self) -> dict[str, Any]:
        """Return the evidence for API clients, without the log and unknown values."""
        hidden = ("complete", "log", "log_grew", "log_missing", "listeners")
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name not in hidden and value not in (None, ())
        }


def postmortem_command(
    home: str, log: str, log_from: int, pid: int, started: int, ports: Iterable[int] = ()
) -> Command:
    """Build the query for traces; `log_from` is the size of the log when the server started."""
    numbers = (log_from, max(pid, 0), started, *ports)
    return script(read_script("postmortem"), "dagengine-traces", home, log, *map(str, numbers))


def parse_postmortem(output: str) -> Postmortem:
    """Parse the response to `postmortem_command`."""
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
        listeners=parse_listeners(values),
        connections=parse_connections(values),
    )

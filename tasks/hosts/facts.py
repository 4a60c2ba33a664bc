"""Parsed responses of the scripts that run on hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tasks.hosts.fence import HomeFence, parse_fence
from tasks.hosts.home_state import Directory, HomeFiles, Place
from tasks.hosts.identity import (
    Doubt,
    Listener,
    ProcessIdentity,
    TcpConnection,
    parse_connections,
    parse_doubts,
    parse_listeners,
)
from tasks.hosts.identity import parse_process as _identity
from tasks.hosts.output import last_value as _last
from tasks.hosts.output import number_value as _number
from tasks.hosts.output import parse_lines as _parse_lines


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system that the server writes to: the path queried, and its free space."""

    path: str
    device: str
    free_bytes: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Facts about a server's host, as stage 2 collects them.

    Attributes:
        complete: False if the response was truncated.
        uid, user: of this login.
        home: `directory`, `other`, or empty if it does not exist.
        files: what earlier starts left in the home.
        fence: the fence of the home.
        has_temporary: whether the scripts can write a temporary file.
        has_tools: whether the tools that the scripts need are installed.
        listening: ports of the server on which a process listens.
        listeners: the listening sockets, by port; empty while the server runs.
        connections: connections from these ports; empty while the server runs.
        source_ports: first and last port that the kernel chooses for connections.
        process: the server, None if it was not identified.
        former_home: base directory of the server, if the home was moved from there while it ran.
        doubts: processes that may be the server although they were not identified as such.
        unanswered: paths whose file system does not answer.
        foreign: (uid, path) of each of the server's directories that another user owns.
        unwritable: those that this login may not write to.
        disks: their file systems.
        program_bytes: size of the program, which distinguishes builds.
        missing: libraries that the program needs and the host lacks.
        open_files, processes: limits of this login; 0 if unlimited.
        core_bytes: maximum size of a core file; -1 if unlimited.
        aio_max, aio_used: events of asynchronous I/O on the host.
        total_bytes, available_bytes: memory.
        obshell: pid of an OBShell that manages the home.
        units: systemd units that use the home and start at boot.
        groups, own_groups: lines of /proc/PID/cgroup, of the server and of this login.
        now_ms: the host's clock, in ms since 1970, when it began to answer.
        clock_off_s: lower bound of its difference from the controller's clock; 0.0 if it may be
            right.
        version: the program's version, if requested.
        output_tail: end of the host's output, if the response was truncated.
        forwarding_problem, forwarding_remedy: why sshd does not forward to the SQL port; empty if
            it does, or the server runs.
    """

    complete: bool
    uid: int
    boot: str
    home: str
    home_owner: int | None
    home_writable: bool
    binary_present: bool
    binary_executable: bool
    has_tools: bool
    process: ProcessIdentity | None
    has_temporary: bool = True
    listening: tuple[int, ...] = ()
    listeners: Mapping[int, tuple[Listener, ...]] = field(default_factory=dict)
    connections: tuple[TcpConnection, ...] = ()
    source_ports: tuple[int, int] | None = None
    files: HomeFiles = field(default_factory=HomeFiles)
    fence: HomeFence = field(default_factory=HomeFence)
    former_home: str = ""
    doubts: tuple[Doubt, ...] = ()
    unanswered: tuple[str, ...] = ()
    user: str = ""
    foreign: tuple[tuple[int, str], ...] = ()
    unwritable: tuple[str, ...] = ()
    disks: tuple[Disk, ...] = ()
    program_bytes: int | None = None
    missing: tuple[str, ...] = ()
    open_files: int | None = None
    processes: int | None = None
    core_bytes: int | None = None
    aio_max: int | None = None
    aio_used: int | None = None
    total_bytes: int | None = None
    available_bytes: int | None = None
    obshell: int | None = None
    units: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    own_groups: tuple[str, ...] = ()
    now_ms: int | None = None
    clock_off_s: float = 0.0
    version: str = ""
    output_tail: str = ""
    forwarding_problem: str = ""
    forwarding_remedy: str = ""


@dataclass(frozen=True, slots=True)
class ProcessLook:
    """Result of a probe of one process; all False if the response was truncated.

    Attributes:
        is_gone: whether it has ended.
        is_alive: whether it is alive.
        is_listening: whether a process listens on its SQL port.
        failure: how the probe itself failed; empty if it did not.
    """

    is_gone: bool
    is_alive: bool
    is_listening: bool
    failure: str = ""


def parse_facts(output: str) -> HostFacts:
    """Parse the response to `facts_command`."""
    values = _parse_lines(output)
    return HostFacts(
        complete=_last(values, "end") == "yes",
        uid=_number(values, "uid") or 0,
        user=_last(values, "user"),
        boot=_last(values, "boot"),
        home=_last(values, "home"),
        home_owner=_number(values, "home_owner"),
        home_writable=_last(values, "home_writable") == "yes",
        binary_present=_last(values, "binary") == "present",
        binary_executable=_last(values, "binary_executable") == "yes",
        has_tools=_last(values, "tools") == "yes",
        has_temporary=_last(values, "temporary") != "none",
        process=_identity(values),
        listening=tuple(number for number, _ in _pairs(values, "listening")),
        listeners=parse_listeners(values),
        connections=parse_connections(values),
        source_ports=_parse_source_ports(values),
        files=_parse_files(values),
        fence=parse_fence(values),
        former_home=_last(values, "former_home"),
        doubts=parse_doubts(values),
        unanswered=_all(values, "unanswered"),
        foreign=tuple(_pairs(values, "foreign")),
        unwritable=_all(values, "unwritable"),
        disks=tuple(
            Disk(path, device, free)
            for free, rest in _pairs(values, "disk")
            for device, _, path in [rest.partition(" ")]
        ),
        program_bytes=_number(values, "program_bytes"),
        missing=_all(values, "missing"),
        open_files=_limit(values, "open_files"),
        processes=_limit(values, "processes"),
        core_bytes=_limit(values, "core_bytes", none=-1),
        aio_max=_number(values, "aio_max"),
        aio_used=_number(values, "aio_used"),
        total_bytes=_kib(values, "total_kib"),
        available_bytes=_kib(values, "available_kib"),
        obshell=_number(values, "obshell"),
        units=_all(values, "unit"),
        groups=_all(values, "group"),
        own_groups=_all(values, "own_group"),
        now_ms=_number(values, "now_ms"),
        version=_last(values, "version"),
    )


def parse_process(output: str) -> ProcessIdentity | None:
    """Parse the response to `process_command`; None if no server was identified."""
    return _identity(_parse_lines(output))


def parse_directories(output: str) -> Mapping[Place, Directory]:
    """Parse the response to `directories_command`; directories that do not exist are omitted."""
    return _parse_places(_parse_lines(output))


def clock_difference_s(asked_ms: float, now_ms: int, answered_ms: float) -> float:
    """Return a lower bound of a clock's error, with its sign.

    The clock showed `now_ms` between the two moments. The result is 0.0 if it may be right: the
    response time includes an unknown network delay.
    """
    if now_ms < asked_ms:
        return (now_ms - asked_ms) / 1000
    return max(0.0, (now_ms - answered_ms) / 1000)


def parse_alive(output: str) -> ProcessLook:
    """Parse the response to `probe_command`; a truncated one proves nothing."""
    values = _parse_lines(output)
    is_whole = _last(values, "end") == "yes"
    return ProcessLook(
        is_gone=is_whole and _last(values, "alive") != "yes",
        is_alive=is_whole and _last(values, "alive") == "yes",
        is_listening=is_whole and _last(values, "listening") == "yes",
    )


def _parse_source_ports(values: dict[str, list[str]]) -> tuple[int, int] | None:
    for first, rest in _pairs(values, "source_ports"):
        if rest.isascii() and rest.isdecimal() and len(rest) < 20:
            return first, int(rest)
    return None


def _parse_files(values: dict[str, list[str]]) -> HomeFiles:
    return HomeFiles(
        places=_parse_places(values),
        links=_all(values, "link"),
        configuration=_all(values, "configuration"),
        has_telemetry=_last(values, "telemetry") == "yes",
        first_start=_last(values, "first_start"),
        boot_completed=_last(values, "boot_completed") == "yes",
        older_files=_all(values, "older_file"),
    )


def _parse_places(values: dict[str, list[str]]) -> dict[Place, Directory]:
    files: dict[str, tuple[str, ...]] = {}
    for text in _all(values, "file"):
        name, _, path = text.partition(" ")
        files[name] = (*files.get(name, ()), path)
    places = {}
    for text in _all(values, "directory"):
        name, _, rest = text.partition(" ")
        identity, _, path = rest.partition(" ")
        if name in set(Place):
            places[Place(name)] = Directory(identity, path, files.get(name, ()))
    return places


def _all(values: dict[str, list[str]], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values.get(name, ())))


def _pairs(values: dict[str, list[str]], name: str) -> Iterator[tuple[int, str]]:
    """Yield the values of the form `number rest`."""
    for text in _all(values, name):
        number, _, rest = text.partition(" ")
        if number.isascii() and number.isdecimal() and len(number) < 20:
            yield int(number), rest


def _limit(values: dict[str, list[str]], name: str, *, none: int = 0) -> int | None:
    return none if _last(values, name) == "unlimited" else _number(values, name)


def _kib(values: dict[str, list[str]], name: str) -> int | None:
    kib = _number(values, name)
    return None if kib is None else kib * 1024

"""What a host said: parsed into values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tasks.hosts.home_state import Directory, HomeFiles, Place
from tasks.hosts.identity import Doubt, Listener, ProcessIdentity, parse_doubts, parse_listeners
from tasks.hosts.identity import parse_process as _identity
from tasks.hosts.output import last_value as _last
from tasks.hosts.output import number_value as _number
from tasks.hosts.output import parse_lines as _parse_lines


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system that the server writes to: the path that was asked for, and what is free."""

    path: str
    device: str
    free_bytes: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What stage 2 knows of a server's host.

    Attributes:
        complete: False when the answer broke off.
        uid, user: who we are there.
        home: `directory`, `other`, or empty when there is nothing.
        files: what earlier starts have left in the home.
        has_tools: what the scripts need is installed.
        listening: those of the server's ports on which something listens.
        listeners: who listens there, by port; empty while the server runs.
        process: the server, None when it was not identified.
        doubts: processes that may be the server although they were not identified.
        unanswered: places whose file system does not answer.
        foreign: (uid, path) of what belongs to somebody else among the server's directories.
        unwritable: which of them we may not write to.
        disks: their file systems.
        program_bytes: size of the program, which tells builds apart.
        missing: libraries that the program needs and the host does not have.
        open_files, processes: limits of this login; 0 when there is none.
        core_bytes: how large a core file may be; -1 when there is no limit.
        aio_max, aio_used: events of asynchronous I/O on the host.
        total_bytes, available_bytes: memory.
        obshell: pid of an OBShell that looks after the home.
        units: what systemd starts there at boot.
        groups, own_groups: lines of /proc/PID/cgroup, of the server and of this login.
        now_ms: the host's clock, in ms since 1970, when it began to answer.
        clock_off_s: how far that was off the controller's for certain; 0.0 when it may be right.
        version: the program's own word, when it was asked for.
        said: the end of what the host said in place of a whole answer.
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
    listening: tuple[int, ...] = ()
    listeners: Mapping[int, tuple[Listener, ...]] = field(default_factory=dict)
    files: HomeFiles = field(default_factory=HomeFiles)
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
    said: str = ""


class StartOutcome(StrEnum):
    """What the start script found or did."""

    RUNNING = "running"
    LAUNCHED = "launched"
    CHANGED = "changed"  # the home is not what stage 2 found
    DOUBTFUL = "doubtful"  # a process may be the server
    UNANSWERED = "unanswered"  # the home's file system does not answer
    LOCKED = "locked"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class StartReport:
    """How the start went.

    Attributes:
        outcome: see StartOutcome.
        status: exit status of the server program's launcher, None when it was not run.
        said: the launcher's last words.
        moved_aside: leftovers of an earlier failed first start, moved out of the way.
        log_from: size of the server's log before the start, in bytes.
        process: the server, None when it was not to be seen.
        doubts: processes that may be the server.
    """

    outcome: StartOutcome
    status: int | None
    said: str
    moved_aside: tuple[str, ...]
    log_from: int
    process: ProcessIdentity | None
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessLook:
    """A short look at one process; all False when the answer broke off.

    Attributes:
        is_gone: it has ended.
        is_alive: it has not.
        is_listening: somebody listens on its SQL port.
    """

    is_gone: bool
    is_alive: bool
    is_listening: bool


class StopOutcome(StrEnum):
    """What the stop script found or did."""

    GONE = "gone"  # nothing runs there
    FOREIGN = "foreign"  # another task, or somebody else, started what runs there
    OTHER_USER = "other_user"  # it runs as another user than we log in as
    STOPPED = "stopped"  # after SIGTERM
    KILLED = "killed"  # after SIGKILL
    ALIVE = "alive"  # it did not end in time
    REFUSED = "refused"  # we may not signal it
    LOCKED = "locked"
    DOUBTFUL = "doubtful"  # a process may be the server
    UNANSWERED = "unanswered"  # the home's file system does not answer
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class StopReport:
    """How the stop went.

    Attributes:
        outcome: see StopOutcome.
        process: what ran there, None when nothing did.
        doubts: processes that may be the server.
        listeners: who listens on the SQL port after the end.
    """

    outcome: StopOutcome
    process: ProcessIdentity | None
    doubts: tuple[Doubt, ...] = ()
    listeners: tuple[Listener, ...] = ()

    @property
    def contradiction(self) -> Listener | None:
        """Who listens on the SQL port and may be the server that is said to have ended."""
        return next((each for each in self.listeners if each.may_be_server), None)


def parse_facts(output: str) -> HostFacts:
    """The answer to `ask_facts`."""
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
        process=_identity(values),
        listening=tuple(number for number, _ in _pairs(values, "listening")),
        listeners=parse_listeners(values),
        files=_parse_files(values),
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
    """The answer to `ask_process`; None when nothing runs there."""
    return _identity(_parse_lines(output))


def parse_directories(output: str) -> Mapping[Place, Directory]:
    """The answer to `list_directories`; what is missing on the host is missing here."""
    return _parse_places(_parse_lines(output))


def clock_difference_s(asked_ms: float, now_ms: int, answered_ms: float) -> float:
    """How far a clock is off that said `now_ms` between two moments, at the least; with its sign.

    0.0 when it may be right: the answer's way takes an unknown part of the time between.
    """
    if now_ms < asked_ms:
        return (now_ms - asked_ms) / 1000
    return max(0.0, (now_ms - answered_ms) / 1000)


def parse_start(output: str) -> StartReport:
    """The answer to `start_server`."""
    values = _parse_lines(output)
    outcome = _last(values, "outcome")
    return StartReport(
        outcome=StartOutcome(outcome) if outcome in set(StartOutcome) else StartOutcome.UNKNOWN,
        status=_number(values, "status"),
        said=" ".join(values.get("said", ())).strip(),
        moved_aside=tuple(values.get("moved_aside", ())),
        log_from=_number(values, "log_from") or 0,
        process=_identity(values),
        doubts=parse_doubts(values),
    )


def parse_stop(output: str) -> StopReport:
    """The answer to `stop_server`."""
    values = _parse_lines(output)
    outcome = _last(values, "outcome")
    return StopReport(
        StopOutcome(outcome) if outcome in set(StopOutcome) else StopOutcome.UNKNOWN,
        _identity(values),
        parse_doubts(values),
        tuple(each for found in parse_listeners(values).values() for each in found),
    )


def parse_alive(output: str) -> ProcessLook:
    """The answer to `ask_alive`; of one that broke off nothing is known."""
    values = _parse_lines(output)
    is_whole = _last(values, "end") == "yes"
    return ProcessLook(
        is_gone=is_whole and _last(values, "alive") != "yes",
        is_alive=is_whole and _last(values, "alive") == "yes",
        is_listening=is_whole and _last(values, "listening") == "yes",
    )


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
    """Values of the form `number rest`."""
    for text in _all(values, name):
        number, _, rest = text.partition(" ")
        if number.isascii() and number.isdecimal() and len(number) < 20:
            yield int(number), rest


def _limit(values: dict[str, list[str]], name: str, *, none: int = 0) -> int | None:
    return none if _last(values, name) == "unlimited" else _number(values, name)


def _kib(values: dict[str, list[str]], name: str) -> int | None:
    kib = _number(values, name)
    return None if kib is None else kib * 1024

"""What a host said: parsed into values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tasks.answer import last_value as _last
from tasks.answer import number_value as _number
from tasks.answer import parse_lines as _parse_lines


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A server process. The same pid in another boot, or with another start, is another one.

    Attributes:
        boot: the host's boot id.
        pid: process id.
        started: start time in clock ticks since boot (proc(5), stat field 22).
        owner: uid that it runs as.
        by: id of the DAG that started it; empty when it was not started by this program.
    """

    boot: str
    pid: int
    started: int
    owner: int
    by: str

    def same_process(self, other: ProcessIdentity) -> bool:
        return (self.boot, self.pid, self.started) == (other.boot, other.pid, other.started)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What stage 2 knows of a server's host; `complete` is False when the answer broke off."""

    complete: bool
    uid: int
    boot: str
    home: str  #: `directory`, `other`, or empty when there is nothing
    home_owner: int | None
    home_writable: bool
    binary_present: bool
    binary_executable: bool
    initialised: bool  #: the server has completed a first start here
    has_tools: bool
    free_bytes: int | None
    listening: bool  #: something listens on the SQL port
    process: ProcessIdentity | None


class StartOutcome(StrEnum):
    """What the start script found or did."""

    RUNNING = "running"
    LAUNCHED = "launched"
    NEVER_STARTED = "never_started"  # and this flavour's first start is not ours to make
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
    """

    outcome: StartOutcome
    status: int | None
    said: str
    moved_aside: tuple[str, ...]
    log_from: int
    process: ProcessIdentity | None


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
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class StopReport:
    """How the stop went; `process` is what ran there, None when nothing did."""

    outcome: StopOutcome
    process: ProcessIdentity | None


def parse_facts(output: str) -> HostFacts:
    """The answer to `ask_facts`."""
    values = _parse_lines(output)
    return HostFacts(
        complete=_last(values, "end") == "yes",
        uid=_number(values, "uid") or 0,
        boot=_last(values, "boot"),
        home=_last(values, "home"),
        home_owner=_number(values, "home_owner"),
        home_writable=_last(values, "home_writable") == "yes",
        binary_present=_last(values, "binary") == "present",
        binary_executable=_last(values, "binary_executable") == "yes",
        initialised=_last(values, "initialised") == "yes",
        has_tools=_last(values, "tools") == "yes",
        free_bytes=_number(values, "free_bytes"),
        listening=_last(values, "listening") == "yes",
        process=_parse_process(values),
    )


def parse_process(output: str) -> ProcessIdentity | None:
    """The answer to `ask_process`; None when nothing runs there."""
    return _parse_process(_parse_lines(output))


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
        process=_parse_process(values),
    )


def parse_stop(output: str) -> StopReport:
    """The answer to `stop_server`."""
    values = _parse_lines(output)
    outcome = _last(values, "outcome")
    return StopReport(
        StopOutcome(outcome) if outcome in set(StopOutcome) else StopOutcome.UNKNOWN,
        _parse_process(values),
    )


def parse_alive(output: str) -> bool | None:
    """The answer to `ask_alive`; None when it broke off."""
    values = _parse_lines(output)
    return (_last(values, "alive") == "yes") if _last(values, "end") == "yes" else None


def _parse_process(values: dict[str, list[str]]) -> ProcessIdentity | None:
    pid, started = _number(values, "pid"), _number(values, "started")
    if pid is None or started is None:
        return None
    owner = _number(values, "owner")
    return ProcessIdentity(
        _last(values, "boot"), pid, started, -1 if owner is None else owner, _last(values, "by")
    )

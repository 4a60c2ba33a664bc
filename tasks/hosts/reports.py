"""Parsed responses of the scripts that start and stop a server. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dagengine.remote import join_ends
from tasks.hosts.fence import HomeFence, parse_fence
from tasks.hosts.identity import (
    Doubt,
    Listener,
    ProcessIdentity,
    describe_lock_holder,
    parse_doubts,
    parse_listeners,
)
from tasks.hosts.identity import parse_process as _identity
from tasks.hosts.output import last_value as _last
from tasks.hosts.output import number_value as _number
from tasks.hosts.output import parse_lines as _parse_lines


class StartOutcome(StrEnum):
    """Result of the start script."""

    RUNNING = "running"
    LAUNCHED = "launched"
    HUNG = "hung"  # the launch did not end; whether the server runs is unknown
    STUCK = "stuck"  # a change of files before the launch did not end
    CHANGED = "changed"  # the home has changed since stage 2
    DOUBTFUL = "doubtful"  # a process may be the server
    UNANSWERED = "unanswered"  # the home's file system does not answer
    LOCKED = "locked"
    STALE = "stale"  # a newer token has acted in this home
    FOREIGN = "foreign"  # another store controls this home, or its fence is damaged
    UNRECORDED = "unrecorded"  # the token could not be recorded in the home
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class StartReport:
    """Parsed response of the start script.

    Attributes:
        outcome: see StartOutcome.
        status: exit status of the server program's launcher, None if it was not run.
        output_tail: last lines of the launcher's output; of more than 4 KiB both ends.
        moved_aside: leftovers of an earlier failed first start, moved out of the way.
        log_from: size of the server's log before the start, in bytes.
        process: the server, None if it was not identified.
        doubts: processes that may be the server.
        stuck_pid: the command that changes files and did not end, None if there is none.
        lock_holder: the process that keeps the lock of the home; empty if it is unknown.
        fence: the fence of the home, before the command.
        unrecorded: why the token could not be recorded; empty if it was.
    """

    outcome: StartOutcome
    status: int | None
    output_tail: str
    moved_aside: tuple[str, ...]
    log_from: int
    process: ProcessIdentity | None
    doubts: tuple[Doubt, ...] = ()
    stuck_pid: int | None = None
    lock_holder: str = ""
    fence: HomeFence = field(default_factory=HomeFence)
    unrecorded: str = ""


class StopOutcome(StrEnum):
    """Result of the stop script."""

    GONE = "gone"  # no process runs there
    OTHER_DAG = "other_dag"  # started by another task or by other means
    STALE = "stale"  # a newer token has acted in this home
    FOREIGN = "foreign"  # another store controls this home, or its fence is damaged
    OTHER_USER = "other_user"  # it runs as a user other than the login
    STOPPED = "stopped"  # after SIGTERM
    KILLED = "killed"  # after SIGKILL
    ALIVE = "alive"  # it did not end in time
    REFUSED = "refused"  # this login may not signal it
    LOCKED = "locked"
    DOUBTFUL = "doubtful"  # a process may be the server
    UNANSWERED = "unanswered"  # the home's file system does not answer
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class StopReport:
    """Parsed response of the stop script.

    Attributes:
        outcome: see StopOutcome.
        process: the server, None if none was identified.
        doubts: processes that may be the server.
        listeners: sockets that listen on the SQL port after the end.
        lock_holder: the process that keeps the lock of the home; empty if it is unknown.
        fence: the fence of the home, before the command.
        unrecorded: why the token could not be recorded; empty if it was.
        failure: how the script itself failed; empty if it did not.
    """

    outcome: StopOutcome
    process: ProcessIdentity | None
    doubts: tuple[Doubt, ...] = ()
    listeners: tuple[Listener, ...] = ()
    lock_holder: str = ""
    fence: HomeFence = field(default_factory=HomeFence)
    unrecorded: str = ""
    failure: str = ""

    @property
    def contradiction(self) -> Listener | None:
        """The listener on the SQL port that may be the server reported as ended, if any."""
        return next((each for each in self.listeners if each.may_be_server), None)


def parse_start(output: str) -> StartReport:
    """Parse the response to `start_command`."""
    values = _parse_lines(output)
    outcome = _last(values, "outcome")
    return StartReport(
        outcome=StartOutcome(outcome) if outcome in set(StartOutcome) else StartOutcome.UNKNOWN,
        status=_number(values, "status"),
        output_tail=_output_tail(values),
        moved_aside=tuple(values.get("moved_aside", ())),
        log_from=_number(values, "log_from") or 0,
        process=_identity(values),
        doubts=parse_doubts(values),
        stuck_pid=_number(values, "stuck"),
        lock_holder=describe_lock_holder(values),
        fence=parse_fence(values),
        unrecorded=_last(values, "fence_unrecorded"),
    )


def _output_tail(values: Mapping[str, Sequence[str]]) -> str:
    first, last = (" ".join(values.get(name, ())).strip() for name in ("said", "said_last"))
    omitted_bytes = _number(values, "omitted")
    if omitted_bytes is None:
        return first
    return join_ends(first, omitted_bytes, last)


def parse_stop(output: str) -> StopReport:
    """Parse the response to `stop_command`."""
    values = _parse_lines(output)
    outcome = _last(values, "outcome")
    return StopReport(
        StopOutcome(outcome) if outcome in set(StopOutcome) else StopOutcome.UNKNOWN,
        _identity(values),
        parse_doubts(values),
        tuple(each for listeners in parse_listeners(values).values() for each in listeners),
        describe_lock_holder(values),
        parse_fence(values),
        _last(values, "fence_unrecorded"),
    )

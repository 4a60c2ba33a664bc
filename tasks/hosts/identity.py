"""Identity of a home's server, processes that may be it, and listeners on ports. Pure.

Parses the output of `find_server.sh` and `listening.sh`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dagengine.errors import MessageText
from tasks.hosts import messages
from tasks.hosts.output import last_value, number_value

_SERVER_PROGRAMS = ("seekdb", "observer")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A server process. The same pid with another boot id or start time is another process.

    Attributes:
        boot: the host's boot id.
        pid: process id.
        started: start time in clock ticks since boot (proc(5), stat field 22).
        owner: uid of the process.
        by: id of the DAG that started it; empty if this program did not start it.
    """

    boot: str
    pid: int
    started: int
    owner: int
    by: str


class DoubtKind(StrEnum):
    """Reason why a process may be the server of a home although it was not identified as such."""

    UNEXAMINED = "unexamined"
    KILLED = "killed"
    NAME = "name"
    BASE = "base"
    PID_FILE = "pid_file"
    FLAVOUR = "flavour"
    PROGRAM = "program"
    OWNER = "owner"


class Obstacle(StrEnum):
    """Reason why a process could not be examined."""

    DENIED = "denied"  # this login may not read the working directory
    HUNG = "hung"  # its file system does not answer
    NO_SPACE = "space"  # the host has no space for temporary files
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A process that blocks a start and a stop.

    Attributes:
        kind: the reason.
        pid: process id.
        cwd: its working directory, empty if unknown.
        base: base directory in its command line, empty if irrelevant.
        obstacle: why it could not be examined, if it could not.
        user: name or uid of its user, if it could not be examined.
        program: name of the process, if it could not be examined; path of its executable, if that
            is not a server.
    """

    kind: DoubtKind
    pid: int
    cwd: str = ""
    base: str = ""
    obstacle: Obstacle = Obstacle.UNKNOWN
    user: str = ""
    program: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket.

    Attributes:
        uid: owner of the socket.
        pid: of a process that holds it, 0 if not visible to this login.
        name: of that process.
        is_in_home: its working directory is the home of the server.
    """

    uid: int
    pid: int = 0
    name: str = ""
    is_in_home: bool = False

    @property
    def may_be_server(self) -> bool:
        """False only if the process is known to be another program."""
        return not self.pid or self.is_in_home or self.name in (*_SERVER_PROGRAMS, "")

    def __str__(self) -> str:
        if self.pid:
            return messages.LISTENER_PROGRAM(name=self.name, pid=self.pid)
        return messages.LISTENER_OWNER(uid=self.uid)


@dataclass(frozen=True, slots=True)
class TcpConnection:
    """A connection whose local port is a port of the server.

    Attributes:
        port: the port.
        has_ended: whether no process has it open any more, as in TIME_WAIT.
        uid: owner of the socket.
        pid: of a process that holds it, 0 if not visible to this login.
        name: of that process.
    """

    port: int
    has_ended: bool
    uid: int = 0
    pid: int = 0
    name: str = ""

    def __str__(self) -> str:
        return str(Listener(self.uid, self.pid, self.name))


def parse_process(values: Mapping[str, Sequence[str]]) -> ProcessIdentity | None:
    """Return the identified server; None if there is none."""
    pid, started = number_value(values, "pid"), number_value(values, "started")
    if pid is None or started is None:
        return None
    owner = number_value(values, "owner")
    boot, by = last_value(values, "boot"), last_value(values, "by")
    return ProcessIdentity(boot, pid, started, -1 if owner is None else owner, by)


def parse_doubts(values: Mapping[str, Sequence[str]]) -> tuple[Doubt, ...]:
    """Return the processes that may be the server; an unknown kind counts as UNEXAMINED."""
    cwds, bases, obstacles, users, programs = (
        _texts_by_pid(values, f"doubt_{name}")
        for name in ("cwd", "base", "obstacle", "user", "program")
    )
    doubts = []
    for text in dict.fromkeys(values.get("doubt", ())):
        kind, _, number = text.partition(" ")
        known = DoubtKind(kind) if kind in set(DoubtKind) else DoubtKind.UNEXAMINED
        obstacle = obstacles.get(number, "")
        doubts.append(
            Doubt(
                known,
                _number(number),
                cwds.get(number, ""),
                bases.get(number, ""),
                Obstacle(obstacle) if obstacle in set(Obstacle) else Obstacle.UNKNOWN,
                users.get(number, ""),
                programs.get(number, ""),
            )
        )
    return tuple(doubts)


def parse_listeners(values: Mapping[str, Sequence[str]]) -> dict[int, tuple[Listener, ...]]:
    """Return the listening sockets, by port."""
    listeners: dict[int, tuple[Listener, ...]] = {}
    for text in dict.fromkeys(values.get("listener", ())):
        port, uid, pid, name = (*text.split(" ", 3), "", "", "")[:4]
        is_in_home = bool(pid) and pid in values.get("in_home", ())
        listener = Listener(_number(uid), _number(pid), name, is_in_home)
        listeners[_number(port)] = (*listeners.get(_number(port), ()), listener)
    return listeners


def parse_connections(values: Mapping[str, Sequence[str]]) -> tuple[TcpConnection, ...]:
    """Return the connections from ports of the server, those of a process first."""
    connections = []
    for text in dict.fromkeys(values.get("connection", ())):
        port, state, uid, pid, name = (*text.split(" ", 4), "", "", "", "")[:5]
        has_ended = state == "ended"
        connections.append(
            TcpConnection(_number(port), has_ended, _number(uid), _number(pid), name)
        )
    return tuple(sorted(connections, key=lambda each: each.has_ended))


def explain_connection(connection: TcpConnection, key: str) -> tuple[str, str]:
    """Return cause and remedy if a connection keeps a server from its port, named by `key`."""
    port = connection.port
    if connection.has_ended:
        return messages.PORT_IN_TIME_WAIT(port=port), messages.WAIT_AND_RESERVE(port=port, key=key)
    return (
        messages.PORT_IS_SOURCE(port=port, owner=str(connection)),
        messages.CLOSE_AND_RESERVE(port=port, key=key),
    )


def explain_doubt(doubt: Doubt, home: str) -> tuple[str, str]:
    """Return cause and remedy for operators."""
    pid, base = doubt.pid, doubt.base
    directory = doubt.cwd or messages.DIRECTORY_UNKNOWN()
    match doubt.kind:
        case DoubtKind.UNEXAMINED:
            return _explain_unexamined(doubt, home)
        case DoubtKind.BASE:
            cause = messages.DOUBT_BASE(pid=pid, base=base, home=home, directory=directory)
            return cause, _correct_home(doubt)
        case DoubtKind.PID_FILE:
            cause = messages.DOUBT_PID_FILE(pid=pid, home=home, directory=directory)
            return cause, _correct_home(doubt)
        case DoubtKind.FLAVOUR:
            cause = messages.DOUBT_FLAVOUR(pid=pid, home=home)
            return cause, messages.CORRECT_FLAVOUR_OR_HOME()
        case DoubtKind.OWNER:
            cause = messages.DOUBT_OWNER(pid=pid, home=home)
            return cause, messages.STOP_OR_CHANGE_OWNER(pid=pid)
        case DoubtKind.KILLED:
            cause = messages.DOUBT_KILLED(pid=pid, home=home)
            return cause, messages.REPAIR_MOUNT_OR_WAIT(pid=pid)
        case DoubtKind.NAME:
            cause = messages.DOUBT_NAME(
                pid=pid, home=home, executable=doubt.program or messages.PROGRAM_UNKNOWN()
            )
            return cause, messages.STOP_OR_START_PROGRAM(pid=pid)
        case DoubtKind.PROGRAM:
            cause = messages.DOUBT_PROGRAM(pid=pid, home=home, base=base)
            return cause, messages.STOP_AND_START_PROGRAM(pid=pid)


def _explain_unexamined(doubt: Doubt, home: str) -> tuple[str, str]:
    fields = {
        "program": doubt.program or messages.PROGRAM_UNKNOWN(),
        "user": doubt.user or messages.USER_UNKNOWN(),
        "pid": doubt.pid,
        "home": home,
    }
    owner = "root" if not doubt.user or doubt.user.isdecimal() else doubt.user
    logins = "root" if owner == "root" else messages.USER_OR_ROOT(user=owner)
    match doubt.obstacle:
        case Obstacle.DENIED:
            remedy = messages.LOG_IN_AS_OWNER(logins=logins, owner=owner, pid=doubt.pid)
            return messages.UNEXAMINED_DENIED(**fields), remedy
        case Obstacle.HUNG:
            return messages.UNEXAMINED_HUNG(**fields), messages.REPAIR_MOUNT_OR_STOP(pid=doubt.pid)
        case Obstacle.NO_SPACE:
            return messages.UNEXAMINED_NO_SPACE(**fields), messages.FREE_TEMPORARY_SPACE()
        case Obstacle.UNKNOWN:
            return (
                messages.UNEXAMINED_UNKNOWN(**fields),
                messages.LOG_IN_OR_STOP(logins=logins, pid=doubt.pid),
            )


def describe_lock_holder(values: Mapping[str, Sequence[str]]) -> str:
    """Return the process that keeps the lock of a home; empty if no response names it."""
    number, _, name = (values.get("holder") or ("",))[0].partition(" ")
    return messages.LOCK_HOLDER(name=name, pid=_number(number)) if number else ""


def explain_unanswered(path: str) -> tuple[str, str]:
    """Return cause and remedy if a script could not examine a path in time."""
    return messages.PATH_UNANSWERED(path=path), messages.REPAIR_PATH()


def explain_listener(listener: Listener, port: int, home: str) -> tuple[str, str]:
    """Return cause and remedy if the SQL port contradicts a stop."""
    cause = messages.PORT_STILL_OPEN(home=home, port=port, listener=str(listener))
    return cause, messages.CORRECT_HOME_OR_PORT()


def _correct_home(doubt: Doubt) -> MessageText:
    if not doubt.cwd:
        return messages.EXAMINE_DIRECTORY_OR_STOP(pid=doubt.pid)
    return messages.CORRECT_HOME_OR_STOP(directory=doubt.cwd, pid=doubt.pid)


def _texts_by_pid(values: Mapping[str, Sequence[str]], name: str) -> dict[str, str]:
    pairs = (text.partition(" ") for text in values.get(name, ()))
    return {number: text for number, _, text in pairs}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0

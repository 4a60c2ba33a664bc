"""Identity of a home's server, processes that may be it, and listeners on ports. Pure.

Parses the output of `find_server.sh` and `listening.sh`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

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
        program: name of the process, if it could not be examined.
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
        return f"{self.name}, pid {self.pid}" if self.pid else f"a process of uid {self.uid}"


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


def explain_doubt(doubt: Doubt, home: str) -> tuple[str, str]:
    """Return cause and remedy for operators."""
    elsewhere = f"its working directory is {doubt.cwd or 'unknown'}"
    match doubt.kind:
        case DoubtKind.UNEXAMINED:
            return _explain_unexamined(doubt, home)
        case DoubtKind.BASE:
            return (
                f"pid {doubt.pid} has {doubt.base} as base directory, which is the home {home},"
                f" but {elsewhere}",
                f"if it is this server, correct `home` in the cluster file to {doubt.cwd};"
                f" else stop pid {doubt.pid} by hand",
            )
        case DoubtKind.PID_FILE:
            return (
                f"pid {doubt.pid} holds the pid file of {home} open, but {elsewhere}",
                f"if it is this server, correct `home` in the cluster file to {doubt.cwd};"
                f" else stop pid {doubt.pid} by hand",
            )
        case DoubtKind.FLAVOUR:
            return (
                f"a server of another flavour (pid {doubt.pid}) runs in {home}",
                "correct `flavour` or `home` in the cluster file",
            )
        case DoubtKind.OWNER:
            return (
                f"a server program of another user (pid {doubt.pid}) runs in {home}, which does"
                " not belong to that user",
                f"stop pid {doubt.pid} by hand, or give the home to the user of the server",
            )
        case DoubtKind.PROGRAM:
            return (
                f"pid {doubt.pid} runs in {home} with {doubt.base} as base directory, but its"
                " program does not have the name of a server",
                f"if it is this server, stop pid {doubt.pid} by hand and start bin/ of the home",
            )


def _explain_unexamined(doubt: Doubt, home: str) -> tuple[str, str]:
    user = f"user {doubt.user}" if doubt.user else "an unknown user"
    what = (
        f"{doubt.program or 'a server program'} of {user} (pid {doubt.pid}) may be the server of"
        f" {home}, but could not be examined"
    )
    owner = "root" if not doubt.user or doubt.user.isdecimal() else doubt.user
    logins = "root" if owner == "root" else f"{owner} or root"
    by_hand = f"stop pid {doubt.pid} by hand"
    match doubt.obstacle:
        case Obstacle.DENIED:
            return (
                f"{what}: this login may not read its working directory",
                f"log in as {logins} (`ssh.user`), set `ssh.sudo: {owner}`, or {by_hand}",
            )
        case Obstacle.HUNG:
            return (
                f"{what}: the file system of its working directory does not answer",
                f"unmount or repair the dead NFS or FUSE mount on the host, or {by_hand}",
            )
        case Obstacle.NO_SPACE:
            return (
                f"{what}: the host has no space for temporary files",
                "free space in /tmp on the host",
            )
        case Obstacle.UNKNOWN:
            return (
                f"{what}: the reason is unknown",
                f"log in as {logins} (`ssh.user`), or {by_hand}",
            )


def explain_unanswered(path: str) -> tuple[str, str]:
    """Return cause and remedy if a script could not examine a path in time."""
    return (
        f"{path} could not be examined: its file system does not answer, this login may not reach"
        " it, or the host has no space for temporary files",
        "unmount or repair a dead NFS or FUSE mount, permit this login to reach the path, or free"
        " space in /tmp on the host",
    )


def explain_listener(listener: Listener, port: int, home: str) -> tuple[str, str]:
    """Return cause and remedy if the SQL port contradicts a stop."""
    return (
        f"no server of {home} was identified, but its SQL port {port} is open: {listener}",
        "correct `home` or `sql_port` in the cluster file, or log in as the user of that process",
    )


def _texts_by_pid(values: Mapping[str, Sequence[str]], name: str) -> dict[str, str]:
    pairs = (text.partition(" ") for text in values.get(name, ()))
    return {number: text for number, _, text in pairs}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0

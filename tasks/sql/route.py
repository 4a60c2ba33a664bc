"""Choice of a safe route for root's password to a server, from facts about its host. Pure.

The password is sent only to an identified server (identity.py). A unix socket is safe if only the
server's user can have created it; a port is safe if the server owns every socket that listens on
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tasks.cluster.servers import Server
from tasks.hosts.identity import (
    Doubt,
    Listener,
    ProcessIdentity,
    explain_doubt,
    parse_doubts,
    parse_listeners,
    parse_process,
)
from tasks.hosts.output import last_value, number_value, parse_lines
from tasks.sql import messages

SOCKET_FILE = "run/sql.sock"
_LONGEST_PATH_BYTES = 107  # of a unix socket. Source: unix(7), sun_path
_OTHERS_MAY_WRITE = 0o022


@dataclass(frozen=True, slots=True)
class PortSocket:
    """A socket that listens on the SQL port.

    Attributes:
        uid: its owner.
        is_held: whether the identified server has it open.
    """

    uid: int
    is_held: bool


@dataclass(frozen=True, slots=True)
class SqlFacts:
    """Facts from the host about a server and its SQL port.

    Attributes:
        complete: False if the response was truncated or the home does not answer.
        uid: of this login.
        process: the server, None if it was not identified.
        doubts: processes that may be the server.
        are_descriptors_visible: whether this login may see the server's open sockets.
        sockets: those that listen on the SQL port.
        listeners: their holders, if a socket is not the server's.
        has_socket_file: whether HOME/run/sql.sock is a socket.
        directories: owner and mode of the home and of run/.
    """

    complete: bool = False
    uid: int = -1
    process: ProcessIdentity | None = None
    doubts: tuple[Doubt, ...] = ()
    are_descriptors_visible: bool = False
    sockets: tuple[PortSocket, ...] = ()
    listeners: tuple[Listener, ...] = ()
    has_socket_file: bool = False
    directories: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ThroughSocketFile:
    """Route through the server's unix socket on its host."""

    path: str


@dataclass(frozen=True, slots=True)
class ThroughPort:
    """Route through the SQL port."""


@dataclass(frozen=True, slots=True)
class NotListening:
    """Result for a server that is not running or not ready for SQL."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Result for a listener that is not, or not provably, the server."""

    cause: str
    remedy: str


PortRoute: TypeAlias = ThroughPort | NotListening | Refused


def parse_sql_facts(output: str) -> SqlFacts:
    """Parse the output of `sql_listener.sh`."""
    values = parse_lines(output)
    uid = number_value(values, "uid")
    listeners = parse_listeners(values)
    return SqlFacts(
        complete=last_value(values, "end") == "yes" and "unanswered" not in values,
        uid=-1 if uid is None else uid,
        process=parse_process(values),
        doubts=parse_doubts(values),
        are_descriptors_visible=last_value(values, "descriptors") == "visible",
        sockets=_parse_sockets(values),
        listeners=tuple(each for holders in listeners.values() for each in holders),
        has_socket_file=last_value(values, "socket_file") == "yes",
        directories=_parse_directories(values),
    )


def find_socket_file(facts: SqlFacts, server: Server) -> ThroughSocketFile | None:
    """Return the route through the server's unix socket, if it is safe and open to this login."""
    process, path = facts.process, f"{server.home}/{SOCKET_FILE}"
    if process is None or not facts.complete or not facts.has_socket_file:
        return None
    # sshd forwards as the login user; the socket's mode lets only its owner and root connect.
    may_connect = server.address.sudo is None and facts.uid in (0, process.owner)
    is_private = len(facts.directories) == 2 and all(
        uid in (0, process.owner) and not mode & _OTHERS_MAY_WRITE
        for uid, mode in facts.directories
    )
    is_usable = server.sql_via == "ssh" and len(path.encode()) <= _LONGEST_PATH_BYTES
    return ThroughSocketFile(path) if may_connect and is_private and is_usable else None


def sql_host(server: Server) -> str:
    """Return the address of the SQL port, as its host connects to it."""
    return server.ip if server.sql_via == "direct" else "127.0.0.1"


def decide_port(facts: SqlFacts, server: Server) -> PortRoute:
    """Decide whether a login through the SQL port reaches the server and nothing else."""
    process = facts.process
    if not facts.complete:
        return NotListening(messages.FACTS_TRUNCATED())
    if process is None:
        return _decide_without_server(facts, server)
    if not facts.sockets:
        return NotListening(messages.PORT_NOT_LISTENING(port=server.sql_port))
    if facts.are_descriptors_visible:
        is_safe = all(socket.is_held for socket in facts.sockets)
        expected = messages.SERVER_HAS_PID(pid=process.pid)
    else:
        is_safe = all(socket.uid == process.owner for socket in facts.sockets)
        expected = messages.SERVER_HAS_USER(uid=process.owner)
    return ThroughPort() if is_safe else _refuse(facts, server, expected)


def _decide_without_server(facts: SqlFacts, server: Server) -> PortRoute:
    if facts.doubts:
        return Refused(*explain_doubt(facts.doubts[0], server.home))
    if facts.sockets:
        return _refuse(facts, server, messages.SERVER_NOT_IDENTIFIED(home=server.home))
    return NotListening(messages.SERVER_NOT_RUNNING(home=server.home))


def _refuse(facts: SqlFacts, server: Server, expected: str) -> Refused:
    strangers = [listener for listener in facts.listeners if listener.pid] or facts.listeners
    if facts.process is not None:
        pid = facts.process.pid
        strangers = [listener for listener in strangers if listener.pid != pid] or strangers
    owner = str(strangers[0]) if strangers else messages.OWNER_IS_USER(uid=facts.sockets[0].uid)
    return Refused(
        messages.PORT_TAKEN(port=server.sql_port, owner=owner, expected=expected),
        messages.FREE_PORT(),
    )


def _parse_sockets(values: Mapping[str, Sequence[str]]) -> tuple[PortSocket, ...]:
    sockets = []
    for text in values.get("socket", ()):
        uid, _, kind = text.partition(" ")
        known = uid.isascii() and uid.isdecimal() and len(uid) < 20
        sockets.append(PortSocket(int(uid) if known else -1, kind == "held"))
    return tuple(sockets)


def _parse_directories(values: Mapping[str, Sequence[str]]) -> tuple[tuple[int, int], ...]:
    directories = []
    for text in values.get("directory", ()):
        uid, _, mode = text.partition(" ")
        try:
            directories.append((int(uid), int(mode, 8)))
        except ValueError:
            return ()
    return tuple(directories)

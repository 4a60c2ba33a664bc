"""A program that listens on an SQL port, hostile or friendly, and records every byte it receives.

It runs under any program name, working directory and uid, needs the standard library only, and
obeys one JSON command a line: see `ListenerProcess`, which drives it.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

SALT = b"saltsaltsaltsaltsalt"
NATIVE = b"mysql_native_password"
OK = b"\0\0\0\x02\0\0\0"
EOF = b"\xfe\0\0\x02\0"
FULL_AUTHENTICATION = b"\x01\x04"
INFILE = b"\xfb/etc/passwd"
_PR_SET_DUMPABLE = 4


def switch_to(plugin: bytes) -> bytes:
    """The request to authenticate with another plugin."""
    return b"\xfe" + plugin + b"\0" + SALT + b"\0"


class Moment(StrEnum):
    """Moment of a dialog."""

    GREETING = "greeting"
    LOGIN = "login"
    STATEMENT = "statement"  # any statement
    CLUSTER_QUERY = "cluster query"  # any but those that ask for the version or for a constant


Answer: TypeAlias = Callable[[int, str], Iterable[bytes | None]]
"""Returns the bytes to send; None closes the connection, the end of the bytes does not."""


@dataclass(frozen=True)
class Behaviour:
    """How a listener answers.

    Attributes:
        moment: where `answer` replaces the usual packets.
        answer: bytes to send, from the sequence number that the client expects and the statement.
        greeting: plugin that its greeting names.
        replies: to the login and to the packets after it, in order; then statements are expected.
        statement: reply to each statement; None answers it from the prepared rows.
    """

    greeting: bytes = NATIVE
    replies: tuple[bytes, ...] = (OK,)
    statement: bytes | None = None
    moment: Moment | None = None
    answer: Answer | None = None


_DIALOG = b"\xfedialog\0\x04Password: "
_CLEAR = b"\xfemysql_clear_password\0"
FRIENDLY = "friendly"
HOSTILE = {
    "clear by switch": Behaviour(replies=(_CLEAR, OK)),
    "sha256 by switch": Behaviour(replies=(switch_to(b"sha256_password"), OK)),
    "caching_sha2 by switch": Behaviour(
        replies=(switch_to(b"caching_sha2_password"), FULL_AUTHENTICATION, OK)
    ),
    "full authentication at once": Behaviour(replies=(FULL_AUTHENTICATION, OK)),
    "dialog by switch": Behaviour(replies=(_DIALOG, OK)),
    "greets clear": Behaviour(b"mysql_clear_password", (OK,)),
    "greets sha256": Behaviour(b"sha256_password", (OK,)),
    "greets caching_sha2": Behaviour(b"caching_sha2_password", (FULL_AUTHENTICATION, OK)),
    "greets dialog": Behaviour(b"dialog", (_DIALOG, OK)),
    "infile at login": Behaviour(replies=(INFILE, OK)),
    "infile at a statement": Behaviour(replies=(OK,), statement=INFILE),
}


def packet(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence & 255]) + payload


def packets(sequence: int, payloads: Iterable[bytes]) -> bytes:
    return b"".join(packet(sequence + n, payload) for n, payload in enumerate(payloads))


def column(code: int = 253) -> bytes:
    return b"\x03def\0\0\0\x01x\x01x\x0c\x2d\0\0\1\0\0" + bytes([code]) + bytes(5)


def value_of(raw: bytes | None) -> bytes:
    if raw is None:
        return b"\xfb"
    short = len(raw) < 251
    return (bytes([len(raw)]) if short else b"\xfc" + len(raw).to_bytes(2, "little")) + raw


def width_of(statement: str) -> int:
    """The number of columns of a SELECT."""
    return statement.upper().partition(" FROM ")[0].count(",") + 1


def sends(*payloads: bytes, close: bool = False) -> Answer:
    """Whole packets with the right sequence numbers."""
    end = (None,) if close else ()
    return lambda sequence, _: (packets(sequence, payloads), *end)


def sends_raw(*data: bytes | None) -> Answer:
    return lambda sequence, _: data


def sends_result(
    *values: bytes | None, code: int = 253, rows: int = 1, extra: int = 0, end: bytes = EOF
) -> Answer:
    """A result set of the width that the statement asks for; `values` are repeated in each row."""

    def answer(sequence: int, statement: str) -> Iterator[bytes]:
        width = width_of(statement) + extra
        row = b"".join(value_of(values[n % len(values)]) for n in range(width))
        head = [bytes([width]), *[column(code)] * width, EOF]
        yield packets(sequence, [*head, *[row] * rows, end])

    return answer


def sends_endless_rows(sequence: int, _statement: str) -> Iterator[bytes]:
    yield packets(sequence, [b"\x01", column(), EOF])
    number = sequence + 3
    while True:
        yield packets(number, [b"\x01x"] * 256)  # 256 leave the sequence number as it is


def sends_slowly(sequence: int, _statement: str) -> Iterator[bytes]:
    pause = threading.Event()
    data = packets(sequence, [b"\x01", column(), EOF, *[b"\x01x"] * 1000, EOF])
    for at in range(len(data)):
        pause.wait(0.05)
        yield data[at : at + 1]


_ONE = (b"\x01", column(), EOF)
_HUGE = b"\xfe" + b"\xff" * 8
_GREETING, _LOGIN = Moment.GREETING, Moment.LOGIN
_STATEMENT, _QUERY = Moment.STATEMENT, Moment.CLUSTER_QUERY
_ODD: dict[str, tuple[Moment, Answer]] = {
    "greets as HTTP": (_GREETING, sends_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n", None)),
    "greets as SSH": (_GREETING, sends_raw(b"SSH-2.0-x\r\n")),
    "greets with a cut packet": (_GREETING, sends(b"\x0a8.0\0")),
    "greets without end of version": (_GREETING, sends(b"\x0aX\xff")),
    "greets with an empty packet": (_GREETING, sends(b"")),
    "greets with a short error": (_GREETING, sends(b"\xff\x15")),
    "greets with too many connections": (_GREETING, sends(b"\xff\x10\x04Too many")),
    "greets with silence": (_GREETING, sends_raw()),
    "login: closes": (_LOGIN, sends_raw(None)),
    "login: wrong sequence number": (_LOGIN, lambda n, _: [packet(n + 7, OK)]),
    "login: password refused": (_LOGIN, sends(b"\xff\x15\x04#28000denied")),
    "login: error that is not UTF-8": (_LOGIN, sends(b"\xff\x15\x05#\xff\xff\xff\xff\xff\xfe\x80")),
    "login: error with controls": (_LOGIN, sends(b"\xff\x15\x05#HY000\x1b[2J\nWARN: x\0")),
    "login: short OK": (_LOGIN, sends(b"\0\xfe")),
    "login: silence": (_LOGIN, sends_raw()),
    "closes": (_STATEMENT, sends_raw(None)),
    "closes within a packet": (_STATEMENT, sends_raw(b"\x40\0\0\x01\x01", None)),
    "closes within the rows": (_STATEMENT, sends(*_ONE, b"\x01x", close=True)),
    "wrong sequence number": (_STATEMENT, lambda n, _: [packet(n - 1, OK)]),
    "longer than it states": (_STATEMENT, lambda n, _: [packet(n, OK) + b"rest"]),
    "shorter than it states": (_STATEMENT, sends_raw(b"\xff\xff\x7f\x01\x01")),
    "empty packet": (_STATEMENT, sends(b"")),
    "huge number of columns": (_STATEMENT, sends(_HUGE)),
    "NULL as number of columns": (_STATEMENT, sends(b"\xfb")),
    "column cut": (_STATEMENT, sends(b"\x01", b"\x03de")),
    "column of unknown type": (_STATEMENT, sends(b"\x01", column(99), EOF, b"\x01x", EOF)),
    "value with huge length": (_STATEMENT, sends(*_ONE, b"\xfe" + b"\xff" * 7 + b"\x7f", EOF)),
    "value cut": (_STATEMENT, sends(*_ONE, b"\x09x", EOF)),
    "row too long": (_STATEMENT, sends(*_ONE, b"\x01x\x01y", EOF)),
    "error among the columns": (_STATEMENT, sends(b"\x02", column(), b"\xff\x28\x04#HY000x")),
    "error among the rows": (_STATEMENT, sends(*_ONE, b"\x01x", b"\xff\x28\x04#HY000x")),
    "error without number": (_STATEMENT, sends(b"\xff")),
    "error 0": (_STATEMENT, sends(b"\xff\0\0")),
    "password refused at a statement": (_STATEMENT, sends(b"\xff\x15\x04#28000denied")),
    "end before the columns": (_STATEMENT, sends(EOF)),
    "end among the columns": (_STATEMENT, sends(b"\x02", column(), EOF)),
    "another result follows": (_STATEMENT, sends(*_ONE, b"\x01x", b"\xfe\0\0\x0a\0")),
    "no result": (_STATEMENT, sends(OK)),
    "endless rows": (_STATEMENT, sends_endless_rows),
    "slow bytes": (_STATEMENT, sends_slowly),
    "silence": (_STATEMENT, sends_raw()),
    "text that is not UTF-8": (_STATEMENT, sends_result(b"\xff\xfe")),
    "text with NUL and controls": (_STATEMENT, sends_result(b"4\0\x1b[31m\n\xe2\x80\xae")),
    "long text": (_STATEMENT, sends_result(b"9" * 60_000)),
    "whole number with a letter": (_STATEMENT, sends_result(b"1x", code=8)),
    "whole number of 65 digits": (_STATEMENT, sends_result(b"9" * 65, code=8)),
    "infinite number": (_STATEMENT, sends_result(b"1e999", code=5)),
    "binary values": (_STATEMENT, sends_result(b"\xff\0", code=16)),
    "NULL values": (_STATEMENT, sends_result(None)),
    "no rows": (_STATEMENT, sends_result(b"x", rows=0)),
}
_SHAPES: dict[str, Answer] = {
    "a column too many": sends_result(b"1", extra=1),
    "a column too few": sends_result(b"1", extra=-1),
    "numbers for texts": sends_result(b"1", code=8),
    "texts for numbers": sends_result(b"x"),
    "NULL for everything": sends_result(None),
    "negative numbers": sends_result(b"-1"),
    "numbers of 64 digits": sends_result(b"9" * 64),
    "numbers of 5000 digits": sends_result(b"9" * 5000),
    "decimals": sends_result(b"1.5", code=246),
    "not a number": sends_result(b"nan"),
    "last second of the calendar": sends_result(b"253402300799"),
    "members without port": sends_result(b"::,:,]:x"),
    "no rows for the cluster": sends_result(b"x", rows=0),
    "the same row 1000 times": sends_result(b"1", rows=1000),
    "no result for the cluster": sends(OK),
    "error for the cluster": sends(b"\xff\x76\x04#42000x"),
}
ODD_ANSWERS = {
    **{name: Behaviour(moment=moment, answer=answer) for name, (moment, answer) in _ODD.items()},
    **{name: Behaviour(moment=_QUERY, answer=answer) for name, answer in _SHAPES.items()},
}
BEHAVIOURS = HOSTILE | ODD_ANSWERS | {FRIENDLY: Behaviour()}


@dataclass(frozen=True)
class Recording:
    """What a listener received, by connection."""

    connections: tuple[bytes, ...]

    @property
    def received(self) -> bytes:
        return b"".join(self.connections)


class ListenerProcess:
    """A listener in a process of its own, as the program `program` would show in /proc."""

    def __init__(self, program: Path | None, directory: Path, *, uid: int | None = None) -> None:
        """
        Args:
            program: made here, a copy of the interpreter, unless it exists. None runs the
                interpreter under its own name.
            directory: where the process works.
            uid: user that it becomes before it listens; None for the present one.
        """
        # Imported here: the program below needs the standard library only.
        from tests.support.fake_servers import copy_interpreter  # noqa: PLC0415

        interpreter = copy_interpreter(program) if program else Path(sys.executable).resolve()
        self.behaviour = ""
        words = [str(interpreter), "-I", "-S", "-c", Path(__file__).read_text()]
        self._process = subprocess.Popen(
            [*words, "" if uid is None else str(uid)],
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def listen(
        self,
        behaviour: str,
        port: int,
        answers: dict[str, Any] | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        """Listen on a port from now on.

        Args:
            behaviour: a key of BEHAVIOURS.
            port: on a loopback address.
            answers: rows by a part of the statement that they answer; text, number or None.
            address: the loopback address.
        """
        self._command(do="listen", behaviour=behaviour, at=[address, port], answers=answers or {})
        self.behaviour = behaviour

    def listen_at(self, path: Path) -> None:
        """Listen on a unix socket as well; it behaves as the port does."""
        self._command(do="listen at", path=str(path))

    def close_port(self) -> None:
        """Close the port, the sockets and all connections; the process runs on."""
        self._command(do="close")

    def take_recording(self) -> Recording:
        """Return the bytes received since the last call."""
        return Recording(tuple(bytes.fromhex(text) for text in self._command(do="take")))

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _command(self, **command: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline())
        assert reply["error"] == "", reply
        return reply["result"]


# --- the program ---------------------------------------------------------------------------------


@dataclass(eq=False)
class _Connection:
    socket: socket.socket
    behaviour: Behaviour
    received: bytearray = field(default_factory=bytearray)
    unread: bytearray = field(default_factory=bytearray)
    replies: int = 0
    sequence: int = 0

    def play(self, chunks: Iterable[bytes | None]) -> None:
        """Send in the background; the client may not read it."""

        def send_all() -> None:
            try:
                for chunk in chunks:
                    if chunk is None:
                        self.socket.shutdown(socket.SHUT_RDWR)
                    else:
                        self.socket.sendall(chunk)
            except OSError:
                pass  # the client has closed the connection

        threading.Thread(target=send_all, daemon=True).start()

    def send(self, *payloads: bytes) -> None:
        self.socket.sendall(packets(self.sequence, payloads))
        self.sequence += len(payloads)


class _Listener:
    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.sockets: list[socket.socket] = []
        self.behaviour = Behaviour()
        self.answers: dict[str, list[list[Any]]] = {}
        self.connections: list[_Connection] = []

    def obey(self, command: dict[str, Any]) -> Any:
        self.drain()
        match command["do"]:
            case "listen":
                self.behaviour = BEHAVIOURS[command["behaviour"]]
                self.answers = command["answers"]
                port = socket.socket()
                port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.open(port, tuple(command["at"]))
            case "listen at":
                self.open(socket.socket(socket.AF_UNIX), command["path"])
            case "close":
                for listening in self.sockets:
                    self.selector.unregister(listening)
                    listening.close()
                self.sockets.clear()
                for connection in self.connections:
                    self.drop(connection)
            case "take":
                taken = [bytes(connection.received).hex() for connection in self.connections]
                for connection in self.connections:
                    connection.received.clear()
                self.connections = [c for c in self.connections if c.socket.fileno() >= 0]
                return taken
        return None

    def open(self, listening: socket.socket, address: Any) -> None:
        listening.bind(address)
        listening.listen(64)
        self.sockets.append(listening)
        self.selector.register(listening, selectors.EVENT_READ, None)

    def drain(self) -> None:
        while self.pass_once(0):
            pass

    def pass_once(self, timeout_s: float | None) -> bool:
        """Serve what is ready, commands excepted; False when a command waits, or nothing."""
        served = False
        for key, _ in self.selector.select(timeout_s):
            if key.data == "commands":
                continue
            served = True
            if key.data is None:
                assert isinstance(key.fileobj, socket.socket)
                self.accept(key.fileobj)
            else:
                self.read(key.data)
        return served

    def accept(self, listening: socket.socket) -> None:
        accepted, _ = listening.accept()
        connection = _Connection(accepted, self.behaviour)
        self.connections.append(connection)
        self.selector.register(accepted, selectors.EVENT_READ, connection)
        if self.behaviour.moment is Moment.GREETING and self.behaviour.answer is not None:
            connection.play(self.behaviour.answer(0, ""))
            return
        plugin = self.behaviour.greeting
        flags = 0x000BA20A  # with PLUGIN_AUTH, without TLS
        connection.send(
            b"\x0a8.0.0-listener\0\x01\0\0\0" + SALT[:8] + b"\0"
            + (flags & 0xFFFF).to_bytes(2, "little") + b"\x2d\x02\0"
            + (flags >> 16).to_bytes(2, "little") + b"\x15" + bytes(10)
            + SALT[8:] + b"\0" + plugin + b"\0"
        )  # fmt: skip

    def drop(self, connection: _Connection) -> None:
        if connection.socket.fileno() >= 0:
            self.selector.unregister(connection.socket)
            connection.socket.close()

    def read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(65536)
        except OSError:
            data = b""
        connection.received += data
        connection.unread += data
        if not data:
            self.drop(connection)
            return
        try:
            while len(unread := connection.unread) >= 4:
                size = int.from_bytes(unread[:3], "little")
                if len(unread) < size + 4:
                    break
                connection.sequence = unread[3] + 1
                payload = bytes(unread[4 : size + 4])
                del unread[: size + 4]
                self.answer(connection, payload)
        except OSError:
            self.drop(connection)

    def answer(self, connection: _Connection, payload: bytes) -> None:
        behaviour = connection.behaviour
        statement = payload[1:].decode("utf-8", "replace")
        if behaviour.answer is not None and self.is_moment(connection, statement):
            connection.play(behaviour.answer(connection.sequence, statement))
            return
        if connection.replies < len(behaviour.replies):
            connection.send(behaviour.replies[connection.replies])
            connection.replies += 1
        elif behaviour.statement is not None:
            connection.send(behaviour.statement)
        else:
            rows = self.rows_of(statement)
            connection.send(*(_render(rows) if rows is not None else [OK]))

    def is_moment(self, connection: _Connection, statement: str) -> bool:
        """Whether the odd answer is due now."""
        if connection.replies < len(connection.behaviour.replies):
            return connection.behaviour.moment is Moment.LOGIN
        if connection.behaviour.moment is Moment.CLUSTER_QUERY:
            return " from " in statement.lower() or not statement.lower().startswith("select")
        return connection.behaviour.moment is Moment.STATEMENT

    def rows_of(self, statement: str) -> list[list[Any]] | None:
        if not statement.lower().startswith("select"):
            return None
        for part, rows in self.answers.items():
            if part in statement:
                return rows
        return [["1"]]


def _render(rows: list[list[Any]]) -> list[bytes]:
    """A result set of texts; one column if it has no rows."""
    width = len(rows[0]) if rows else 1
    return [bytes([width]), *[column()] * width, EOF, *map(_render_row, rows), EOF]


def _render_row(row: list[Any]) -> bytes:
    values = [None if value is None else str(value).encode() for value in row]
    return b"".join(map(value_of, values))


def _become(uid: int) -> None:
    """Become another user as a program that this user executes, who may not reach this one."""
    os.setgroups([])
    os.setgid(pwd.getpwuid(uid).pw_gid)
    os.setuid(uid)
    # Else the kernel hides what the process has open even from this user. Source: prctl(2)
    assert ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0) == 0


def _main(uid: str) -> None:
    if uid:
        _become(int(uid))
    listener = _Listener()
    listener.selector.register(sys.stdin, selectors.EVENT_READ, "commands")
    while True:
        ready = listener.selector.select(None)
        if any(key.data != "commands" for key, _ in ready):
            listener.pass_once(0)
            continue
        line = sys.stdin.readline()
        if not line:
            return
        result, error = None, ""
        try:
            result = listener.obey(json.loads(line))
        except OSError as exc:
            error = str(exc)
        sys.stdout.write(json.dumps({"result": result, "error": error}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(sys.argv[1])

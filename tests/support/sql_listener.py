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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Behaviour:
    """How a listener answers.

    Attributes:
        greeting: plugin that its greeting names.
        replies: to the login and to the packets after it, in order; then statements are expected.
        statement: reply to each statement; None answers it from the prepared rows.
    """

    greeting: bytes = NATIVE
    replies: tuple[bytes, ...] = (OK,)
    statement: bytes | None = None


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
BEHAVIOURS = HOSTILE | {FRIENDLY: Behaviour()}


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
            program: made here, a link to the interpreter: its name is the process's name. None
                runs the interpreter under its own name.
            directory: where the process works.
            uid: user that it becomes before it listens; None for the present one.
        """
        interpreter = os.path.realpath(sys.executable)
        if program is not None and not program.is_symlink():
            program.symlink_to(interpreter)
        self.behaviour = ""
        words = [str(program or interpreter), "-I", "-S", "-c", Path(__file__).read_text()]
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

    def send(self, *payloads: bytes) -> None:
        data = b""
        for payload in payloads:
            data += len(payload).to_bytes(3, "little") + bytes([self.sequence & 255]) + payload
            self.sequence += 1
        self.socket.sendall(data)


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
        if connection.replies < len(behaviour.replies):
            connection.send(behaviour.replies[connection.replies])
            connection.replies += 1
        elif behaviour.statement is not None:
            connection.send(behaviour.statement)
        else:
            rows = self.rows_of(payload[1:].decode("utf-8", "replace"))
            connection.send(*(_render(rows) if rows is not None else [OK]))

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
    column = b"\x03def\0\0\0\x01x\x01x\x0c\x2d\0\0\1\0\0\xfd\0\0\0\0\0"
    return [bytes([width]), *[column] * width, EOF, *map(_render_row, rows), EOF]


def _render_row(row: list[Any]) -> bytes:
    values = [None if value is None else str(value).encode() for value in row]
    return b"".join(b"\xfb" if v is None else bytes([len(v)]) + v for v in values)


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

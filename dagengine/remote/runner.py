"""The contract between steps and hosts: a Runner runs commands on one host.

This module does not depend on SSH. `remote/ssh/runner.py` and `testing/local_runner.py` implement
the contract; the suite in tests/conformance checks both.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dagengine.remote.command import Command
from dagengine.runtime.addresses import render_host_port
from dagengine.runtime.timers import latest_s

_SESSIONS_FOR_ENDING = 2  # of those that sshd allows per connection


@dataclass(frozen=True, slots=True)
class HostAddress:
    """How to reach a host. Equal addresses share one connection.

    An address refers to secrets only by their location; it never contains one.

    Attributes:
        host: name or IP address, without brackets.
        port: port of sshd, 1..65535.
        user: login name.
        sudo: the user that every command runs as, through sudo; None for the login user.
        key_file: private key; None for the defaults of the SSH library. With an agent, it selects
            one of the agent's keys (the public half is enough); None tries all of them. A user
            certificate is read from `<key_file>-cert.pub` if that exists.
        key_passphrase_env: environment variable with the passphrase of the key file.
        key_passphrase_file: file whose first line is that passphrase.
        agent: sign with an ssh agent: True for the agent of SSH_AUTH_SOCK, or the path of its
            socket.
        known_hosts: file with the trusted host keys; None for the user's own file.
        jump: the bastion to connect through, with its own login settings; None to connect directly.
        connect_timeout_s: limit on the first response, and again on the login, in seconds, per hop.
        command_timeout_s: limit on one query to the host, in seconds.
        keepalive_interval_s: silence after which a keep-alive is sent to the host, in seconds.
        keepalive_misses: number of unanswered keep-alives after which the connection is closed.
            With the defaults, a dead connection is detected, and a new one has failed, before
            `command_timeout_s` expires; the error then names the host as the cause.
        max_sessions: number of sessions that its sshd allows per connection (MaxSessions).
    """

    host: str
    port: int = 22
    user: str = "root"
    key_file: Path | None = None
    known_hosts: Path | None = None
    connect_timeout_s: float = 10.0
    key_passphrase_env: str | None = None
    key_passphrase_file: Path | None = None
    agent: bool | Path = False
    jump: HostAddress | None = None
    command_timeout_s: float = 30.0
    keepalive_interval_s: float = 5.0
    keepalive_misses: int = 2
    max_sessions: int = 10
    sudo: str | None = None

    def route(self) -> tuple[HostAddress, ...]:
        """Return the hosts to log in to, one after another: the bastions, then this host."""
        return (*(self.jump.route() if self.jump else ()), self)

    @property
    def command_sessions(self) -> int:
        """Number of commands that may run at once; the other sessions are for ending commands."""
        return max(1, self.max_sessions - _SESSIONS_FOR_ENDING)

    @property
    def login_bound_s(self) -> float:
        """Limit on connecting and logging in over all hops, in seconds.

        Each hop has three waits: for the first response, for other logins, and for its login.
        """
        return 3 * self.connect_timeout_s + (self.jump.login_bound_s if self.jump else 0.0)

    @property
    def death_bound_s(self) -> float:
        """Longest time until a silent connection is detected as dead, in seconds."""
        return latest_s(self.keepalive_interval_s) * (self.keepalive_misses + 1)

    def __str__(self) -> str:
        return render_host_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended.

    Attributes:
        exit_status: 0..255, or None if a signal ended the command.
        signal: name without SIG if a signal ended the command, else None.
        stdout, stderr: output, decoded with replacement and cut at the runner's limit.
        truncated: True if any output was cut.
    """

    exit_status: int | None
    signal: str | None
    stdout: str
    stderr: str
    truncated: bool = False


class LineStream(Protocol):
    """A running command that exchanges lines with this program."""

    async def read_line(self) -> str | None:
        """Return the next line of stdout, without its end; None after the command's end.

        Raises:
            ConnectionLost: the connection broke, or a line exceeds the limit.
        """
        ...

    def write_line(self, text: str) -> None:
        """Write a line to stdin; does nothing after the command's end. Never waits."""
        ...


class Runner(Protocol):
    """Runs commands on one host."""

    @property
    def address(self) -> HostAddress: ...

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        """Run a command to its end. A non-zero exit status is a result, not an error.

        The command runs in its own process group, without a terminal. On a timeout or a
        cancellation, the whole group is terminated on the host, and the host is checked for
        remaining processes, within a separate time limit, before this method returns or raises.

        Args:
            command: the command to run.
            timeout_s: limit on the whole call, including connecting, in seconds.

        Raises:
            HostUnreachable, HostKeyRejected, AuthenticationFailed, SudoRefused: the command did not
                run.
            CommandTimedOut: the time limit expired; `confirmed_ended` tells whether the command has
                ended.
            ConnectionLost: the command was sent, but its result never arrived.
        """
        ...

    def stream(
        self, command: Command, *, timeout_s: float
    ) -> AbstractAsyncContextManager[LineStream]:
        """Start a command that runs until the context ends, and exchange lines with it.

        It occupies one session of the connection. Leaving the context closes stdin and stdout; the
        command must end by itself then. The command's own `stdin` is not used.

        Args:
            command: the command to run.
            timeout_s: limit on connecting and opening its session, in seconds.

        Raises:
            HostUnreachable, HostKeyRejected, AuthenticationFailed: the command did not run.
            ConnectionLost: the connection broke while the command was sent.
        """
        ...

    def tunnel(self, host: str, port: int) -> AbstractAsyncContextManager[Path]:
        """Open a unix socket (mode 0600) on this machine that leads to `host:port`.

        The host resolves and connects to `host:port`. If nothing listens there, connections to the
        socket are closed immediately.

        Raises:
            HostUnreachable, HostKeyRejected, AuthenticationFailed: no connection to the host.
        """
        ...

    async def ensure_forwarding(self, host: str, port: int) -> None:
        """Return if the host may forward connections to `host:port`, also if nothing listens there.

        Opens and closes a connection, if something listens.

        Raises:
            ForwardingProhibited: its sshd does not permit it.
            HostUnreachable, HostKeyRejected, AuthenticationFailed: no connection to the host.
        """
        ...

    def tunnel_to_socket(self, path: str) -> AbstractAsyncContextManager[Path]:
        """Open a unix socket (mode 0600) on this machine that leads to a unix socket on the host.

        The host connects as the login user, regardless of `sudo`. If the socket is missing or
        refuses, or sshd forbids forwarding, connections are closed immediately.

        Args:
            path: path of the socket on the host, at most 107 bytes.

        Raises:
            HostUnreachable, HostKeyRejected, AuthenticationFailed: no connection to the host.
        """
        ...


class RunnerPool(Protocol):
    """Provides runners; reuses one connection per address."""

    def runner(self, address: HostAddress) -> Runner:
        """Return the runner for an address; it connects on first use."""
        ...

    async def close(self) -> None:
        """Close every connection within a bounded time. Safe to call twice."""
        ...

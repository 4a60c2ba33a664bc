"""The contract between steps and hosts: a Runner runs commands on one host.

Nothing here knows SSH; `ssh.py` and `local.py` keep this contract, and the conformance
suite in tests/conformance proves it for each.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dagengine.remote.command import Command


@dataclass(frozen=True, slots=True)
class HostAddress:
    """How a host is reached. Equal addresses share one connection.

    It names the places of secrets, never a secret itself.

    Attributes:
        host: name or ip, without brackets.
        port: of sshd, 1..65535.
        user: login name.
        sudo: whom every command runs as, through sudo; None for the login itself.
        key_file: private key, None for the defaults of the SSH library. With an agent: which of
            the agent's keys (the public half is enough), None for all of them. A user
            certificate is taken from `<key_file>-cert.pub` when that exists.
        key_passphrase_env: variable that holds the passphrase of the key file.
        key_passphrase_file: file whose first line is that passphrase.
        agent: sign with an ssh agent: True for the one of SSH_AUTH_SOCK, else its socket.
        known_hosts: file with the host keys that are trusted, None for the user's own.
        jump: the bastion to go through, logged in to as any host; None to connect directly.
        connect_timeout_s: bound on the first answer, and again on logging in, in seconds, for each
            hop.
        command_timeout_s: bound on one question to the host, in seconds.
        keepalive_interval_s: after so many silent seconds the host is asked for a sign of life.
        keepalive_misses: how many may stay unanswered before the connection is given up. By
            default a dead connection is noticed, and a new one has failed, before the time of a
            question is over: so it is the host that is named as the cause.
        max_sessions: how many sessions its sshd carries on a connection (its MaxSessions).
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

    @property
    def login_bound_s(self) -> float:
        """Bound on connecting and logging in on every hop, in seconds: to get an answer, to wait
        for other logins, to log in.
        """
        return 3 * self.connect_timeout_s + (self.jump.login_bound_s if self.jump else 0.0)

    @property
    def death_bound_s(self) -> float:
        """Within so many seconds a silent connection is noticed to be dead."""
        return self.keepalive_interval_s * (self.keepalive_misses + 1)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended.

    Attributes:
        exit_status: 0..255, or None when a signal ended it.
        signal: name without SIG when a signal ended it, else None.
        stdout, stderr: decoded with replacement, each cut at the runner's limit.
        truncated: True when something was cut.
    """

    exit_status: int | None
    signal: str | None
    stdout: str
    stderr: str
    truncated: bool = False


class Runner(Protocol):
    """Runs commands on one host."""

    @property
    def address(self) -> HostAddress: ...

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        """Run a command to its end. A non-zero exit status is a result, not an error.

        The command runs in a process group of its own, without a terminal. When the time is
        up, or the caller is cancelled, the whole group is ended on the host and looked for,
        within a bound of its own, before this returns or raises.

        Args:
            command: what to run.
            timeout_s: bound on the whole call, connecting included, in seconds.

        Raises:
            HostUnreachable, HostKeyRejected, AuthenticationFailed, SudoRefused: it was not run.
            CommandTimedOut: it ran out of time; `proven_ended` says whether it is gone.
            ConnectionLost: it was sent and the answer never came.
        """
        ...

    def tunnel(self, host: str, port: int) -> AbstractAsyncContextManager[Path]:
        """A unix socket on this machine (mode 0600) that leads to `host:port` as seen from there.

        Raises:
            HostUnreachable, HostKeyRejected, AuthenticationFailed: no connection to the host.
                A port on which nothing listens shows as a connection closed at once.
        """
        ...

    def tunnel_to_socket(self, path: str) -> AbstractAsyncContextManager[Path]:
        """A unix socket on this machine (mode 0600) that leads to a unix socket on the host.

        The host connects as the login user, whatever `sudo` says. A socket that is missing or
        refuses, and an sshd that forbids it, show as a connection closed at once.

        Args:
            path: of the socket on the host, at most 107 bytes.

        Raises:
            HostUnreachable, HostKeyRejected, AuthenticationFailed: no connection to the host.
        """
        ...


class RunnerPool(Protocol):
    """Gives runners; one connection for each address, reused."""

    def runner(self, address: HostAddress) -> Runner:
        """The runner for an address; connects when it is first used."""
        ...

    async def close(self) -> None:
        """Close every connection. Bounded; safe to call twice."""
        ...

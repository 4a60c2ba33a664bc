"""Errors between this process and a host."""

from __future__ import annotations

from typing import ClassVar

from dagengine.error_codes import Code
from dagengine.errors.base import DagengineError


class RemoteError(DagengineError):
    """Base class of errors between this process and a host; `host` is `address:port`."""

    err_code: ClassVar[str] = Code.REMOTE_REQUEST_FAILED

    def __init__(self, message: str, *, host: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.host = host


class HostUnreachable(RemoteError):
    """Raised when a connection could not be established within its time limit."""

    retryable = True


class HostKeyRejected(RemoteError):
    """Raised when the host's key is unknown, changed or revoked."""


class AuthenticationFailed(RemoteError):
    """Raised when the host does not accept the SSH user or key."""


class SudoRefused(RemoteError):
    """Raised when the login succeeded but sudo refused to switch to the user in `ssh.sudo`."""


class CommandTimedOut(RemoteError):
    """Raised when a command exceeded its time limit.

    `confirmed_ended` is True when the command is confirmed to have ended on the host.
    """

    def __init__(self, message: str, *, host: str, confirmed_ended: bool, remedy: str = "") -> None:
        super().__init__(message, host=host, remedy=remedy)
        self.confirmed_ended = confirmed_ended


class ConnectionLost(RemoteError):
    """Raised when the connection broke after a command was sent; it is unknown whether it ran."""

    retryable = True


class ForwardingProhibited(RemoteError):
    """Raised when the host's sshd does not permit a forwarded connection."""


class TunnelRefused(RemoteError):
    """Raised when the host refused a forwarded connection: nothing listens on the port (yet)."""

    retryable = True

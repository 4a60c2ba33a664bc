"""The exceptions that this package raises deliberately.

    DagengineError
    ├── ConfigError                 a file, key or variable is invalid
    ├── ApiError                    an error response (operations packages add their own)
    │   ├── BindFailed              the request body does not have the route's type
    │   ├── IllegalArgument         the value of a parameter is invalid
    │   ├── RouteNotFound           unknown path or method
    │   ├── TaskNotFound            unknown DAG, node or sub-task
    │   ├── InvalidId               a generic id cannot be decoded
    │   ├── OperatorRefused         the operator is not allowed in this state
    │   ├── IdempotencyKeyReused    the key was used for a different request
    │   ├── LockHeld                another DAG holds the lock
    │   └── Conflict                the DAG was changed concurrently
    ├── UnknownOperation            the DAG's operation or version is not registered
    ├── EngineStopped               the engine was stopped before the call was done
    ├── SecurityError               a request was rejected (see dagengine.security)
    ├── StoreError
    │   ├── StaleWrite              a guarded write changed no row
    │   ├── NotSerializable         a value cannot be stored
    │   ├── StoreInUse              another controller owns this store
    │   ├── StoreUnavailable        unreadable, read-only, full or corrupt
    │   ├── StoreTooNew             written by a newer version
    │   └── StoreTooOld             the schema is older than the first that can be upgraded
    ├── ClientError                 raised by dagengine.client
    │   ├── ControllerUnreachable   no controller responds at the URL
    │   └── ApiRefused              the controller returned an error
    └── RemoteError
        ├── HostUnreachable         no connection to the host
        ├── HostKeyRejected         the host key is unknown, changed or revoked
        ├── AuthenticationFailed    the host rejected the SSH user or key
        ├── SudoRefused             login succeeded, but sudo to the configured user failed
        ├── CommandTimedOut         ended locally and, as far as known, on the host
        ├── ConnectionLost          the command was sent, its result is unknown; probe the host
        └── TunnelRefused           nothing listens on that port of the host

An error states what happened to which thing and, in `remedy`, what to do next.
An HTTP caller sees `err_code` and `http_status` (protocol section 8). Old clients
react to the integer `legacy_code`. `retryable` means that the same call may succeed
later without a fix.

Texts come from the catalogue of each package, `messages.py`. Messages and remedies are then
`MessageText` and keep the key and the fields of the message.
"""

from __future__ import annotations

from typing import ClassVar

from dagengine import messages
from dagengine.messages import Message as Message  # noqa: PLC0414  # for `tasks`
from dagengine.messages import MessageText as MessageText  # noqa: PLC0414


class DagengineError(Exception):
    """Base class of all errors that this package raises deliberately.

    Attributes:
        message: what happened, and to which thing.
        remedy: what to do next; empty when the message is sufficient.
    """

    err_code: ClassVar[str] = "Common.Unexpected"
    http_status: ClassVar[int] = 500
    legacy_code: ClassVar[int] = 0
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class ConfigError(DagengineError):
    """Raised when a file, key or variable is invalid; the message names it."""

    err_code = "Config.Invalid"


# --- API responses -----------------------------------------------------------------


class ApiError(DagengineError):
    """Base class of errors that are sent as a response; subclasses set the three codes."""

    err_code = "Common.BadRequest"
    http_status = 400


class BindFailed(ApiError):
    """Raised when the request body is not an object of the type that the route expects."""

    err_code = "Common.BindJsonFailed"


class IllegalArgument(ApiError):
    """Raised when the route or the operation does not accept the value of a parameter."""

    err_code = "Common.IllegalArgument"


class RouteNotFound(ApiError):
    """Raised when the path does not exist or does not support the method."""

    err_code = "Common.NotFound"
    http_status = 404


class TaskNotFound(ApiError):
    """Raised when a DAG, node or sub-task does not exist.

    The message begins with `Task not found`; clients depend on it.
    """

    err_code = "Task.NotFound"
    http_status = 404

    def __init__(self, detail: str) -> None:
        super().__init__(messages.TASK_NOT_FOUND(detail=detail))


class InvalidId(ApiError):
    """Raised when a generic id cannot be decoded."""

    err_code = "Task.GenericID.Invalid"

    def __init__(self, generic_id: str, detail: str = "") -> None:
        if detail:
            super().__init__(messages.INVALID_ID_REASON(generic_id=generic_id, detail=detail))
        else:
            super().__init__(messages.INVALID_ID(generic_id=generic_id))
        self.generic_id = generic_id


class OperatorRefused(ApiError):
    """Raised when an operator is not allowed in this state; `err_code` identifies the rule."""

    def __init__(self, err_code: str, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.err_code = err_code  # type: ignore[misc]  # one class for the eleven codes of protocol 5.3


class IdempotencyKeyReused(ApiError):
    """Raised when the idempotency key was already used for a different request."""

    err_code = "Request.IdempotencyKey.Reused"
    http_status = 409


class LockHeld(ApiError):
    """Raised when another DAG holds the lock that this DAG needs."""

    err_code = "OB.Cluster.UnderMaintenanceWithDag"
    http_status = 500
    retryable = True


class Conflict(ApiError):
    """Raised when the DAG was changed concurrently (protocol 5.3: a lost race)."""

    err_code = "Gorm.NoRowAffected"
    http_status = 500
    retryable = True


class UnknownOperation(DagengineError):
    """Raised when a DAG's operation, or its version, is not registered in this engine."""

    err_code = "Task.Template.Empty"


class EngineStopped(DagengineError):
    """Raised when the engine was stopped before the call was done.

    Durable work continues when the engine starts again.
    """

    http_status = 503


# --- security ----------------------------------------------------------------------


class SecurityError(DagengineError):
    """Raised when a request is rejected; dagengine.security defines the subclasses."""

    err_code = "Security.Authentication.Unauthorized"
    http_status = 401
    legacy_code = 10008


# --- store -------------------------------------------------------------------------


class StoreError(DagengineError):
    """Base class of errors of the store."""


class StaleWrite(StoreError):
    """Raised when a guarded write changed no row: the state has changed, the work is discarded."""

    err_code = "Gorm.NoRowAffected"


class NotSerializable(StoreError):
    """Raised when a value cannot be stored: it is not JSON, or its text is not valid Unicode."""


class StoreInUse(StoreError):
    """Raised when another controller owns this store."""


class StoreUnavailable(StoreError):
    """Raised when the store file cannot be opened, read or written."""


class StoreTooNew(StoreError):
    """Raised when the store was written by a newer version of this program."""


class StoreTooOld(StoreError):
    """Raised when the store's schema was never released and no migration upgrades it."""


# --- client ------------------------------------------------------------------------


class ClientError(DagengineError):
    """Base class of errors of a call to a controller."""


class ControllerUnreachable(ClientError):
    """Raised when no server responds at the URL, or its response is not a controller's."""

    retryable = True


class ApiRefused(ClientError):
    """Raised when the controller returned an error.

    Attributes:
        status: the HTTP status.
        code: the errCode of the response.
        legacy: the integer code; 0 when the response has none.
    """

    def __init__(self, message: str, *, status: int, code: str, legacy: int) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.legacy = legacy

    def __str__(self) -> str:
        return f"[{self.code}]: {self.message}"


# --- remote ------------------------------------------------------------------------


class RemoteError(DagengineError):
    """Base class of errors between this process and a host; `host` is `address:port`."""

    err_code = "Agent.RPC.RequestError"

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


class TunnelRefused(RemoteError):
    """Raised when the host refused a forwarded connection: nothing listens on the port (yet)."""

    retryable = True

"""Every error that this package raises on purpose.

    DagengineError
    ├── ConfigError                 a file, key or variable is wrong
    ├── ApiError                    an answer to a caller (operations add their own)
    │   ├── BindFailed              the body is not what the route takes
    │   ├── IllegalArgument         a parameter has a value that is not taken
    │   ├── RouteNotFound           no such path or method
    │   ├── TaskNotFound            no such DAG, node or sub-task
    │   ├── InvalidId               a generic id that cannot be decoded
    │   ├── OperatorRefused         the operator is not allowed now
    │   ├── IdempotencyKeyReused    the key was used for something else
    │   ├── LockHeld                another DAG holds the lock
    │   └── Conflict                somebody else changed it first
    ├── UnknownOperation            a DAG of an operation, or a version, that is not known here
    ├── EngineStopped               the engine was left before it was done
    ├── SecurityError               a request that was not let in (see dagengine.security)
    ├── StoreError
    │   ├── StaleWrite              a guarded write that changed no row
    │   ├── NotSerializable         a value that no store can keep
    │   ├── StoreInUse              another controller owns this store
    │   ├── StoreUnavailable        unreadable, read-only, full or corrupt
    │   ├── StoreTooNew             written by a newer version
    │   └── StoreTooOld             of a schema before the first that can be upgraded
    ├── ClientError                 what dagengine.client raises
    │   ├── ControllerUnreachable   nothing answers at the URL
    │   └── ApiRefused              the controller answered with an error
    └── RemoteError
        ├── HostUnreachable         no connection
        ├── HostKeyRejected         the host is not who it was
        ├── AuthenticationFailed    the host does not let us in
        ├── SudoRefused             the host lets us in, but not become the user we want to be
        ├── CommandTimedOut         ended here and, as far as known, there
        ├── ConnectionLost          sent, answer unknown: ask for facts
        └── TunnelRefused           nothing listens on that port of the host

An error says what happened, to which thing, and (in `remedy`) what to do next.
`err_code` and `http_status` are what an HTTP caller sees (protocol section 8);
`legacy_code` is the integer that old clients react to; `retryable` says that the
same call may succeed later without anybody mending anything.
"""

from __future__ import annotations

from typing import ClassVar


class DagengineError(Exception):
    """Base of all errors raised on purpose.

    Attributes:
        message: what happened, to which thing.
        remedy: what to do next; empty when there is nothing to add.
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
    """A file, key or variable is wrong; the message names it."""

    err_code = "Config.Invalid"


# --- answers to callers ------------------------------------------------------------


class ApiError(DagengineError):
    """Base of errors that are a legitimate answer; subclasses set the three codes."""

    err_code = "Common.BadRequest"
    http_status = 400


class BindFailed(ApiError):
    """The request body is not an object of the type that the route takes."""

    err_code = "Common.BindJsonFailed"


class IllegalArgument(ApiError):
    """A parameter has a value that the route, or the operation, does not take."""

    err_code = "Common.IllegalArgument"


class RouteNotFound(ApiError):
    """No such path, or not with this method."""

    err_code = "Common.NotFound"
    http_status = 404


class TaskNotFound(ApiError):
    """No such DAG, node or sub-task. The message begins with `Task not found` (binding)."""

    err_code = "Task.NotFound"
    http_status = 404

    def __init__(self, detail: str) -> None:
        super().__init__(f"Task not found: {detail}")


class InvalidId(ApiError):
    """A generic id that cannot be decoded."""

    err_code = "Task.GenericID.Invalid"

    def __init__(self, generic_id: str, detail: str = "") -> None:
        suffix = f": {detail}" if detail else ""
        super().__init__(f"Invalid ID: {generic_id}{suffix}")
        self.generic_id = generic_id


class OperatorRefused(ApiError):
    """The operator is not allowed in this state; `err_code` says which rule refused."""

    def __init__(self, err_code: str, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.err_code = err_code  # type: ignore[misc]  # one class for the eleven codes of protocol 5.3


class IdempotencyKeyReused(ApiError):
    """The idempotency key was used before, for a request that asked for something else."""

    err_code = "Request.IdempotencyKey.Reused"
    http_status = 409


class LockHeld(ApiError):
    """Another DAG holds the lock that this one needs."""

    err_code = "OB.Cluster.UnderMaintenanceWithDag"
    http_status = 500
    retryable = True


class Conflict(ApiError):
    """Somebody else changed the DAG first (protocol 5.3: a lost race)."""

    err_code = "Gorm.NoRowAffected"
    http_status = 500
    retryable = True


class UnknownOperation(DagengineError):
    """A DAG names an operation, or a version of one, that is not registered here."""

    err_code = "Task.Template.Empty"


class EngineStopped(DagengineError):
    """The engine was left before this was done; what is durable goes on when it is entered."""

    http_status = 503


# --- security ----------------------------------------------------------------------


class SecurityError(DagengineError):
    """A request that was not let in; dagengine.security defines the cases."""

    err_code = "Security.Authentication.Unauthorized"
    http_status = 401
    legacy_code = 10008


# --- store -------------------------------------------------------------------------


class StoreError(DagengineError):
    """The store could not do what was asked."""


class StaleWrite(StoreError):
    """A guarded write changed no row: the world moved on, its work is dropped."""

    err_code = "Gorm.NoRowAffected"


class NotSerializable(StoreError):
    """A value that the store cannot keep: not JSON, or text that is no Unicode."""


class StoreInUse(StoreError):
    """Another controller owns this store."""


class StoreUnavailable(StoreError):
    """The store file cannot be opened, read or written."""


class StoreTooNew(StoreError):
    """The store was written by a newer version of this program."""


class StoreTooOld(StoreError):
    """The store has a schema that was never released and that no migration upgrades."""


# --- client ------------------------------------------------------------------------


class ClientError(DagengineError):
    """A call to a controller did not work."""


class ControllerUnreachable(ClientError):
    """Nothing answers at the URL, or not as a controller does."""

    retryable = True


class ApiRefused(ClientError):
    """The controller answered with an error.

    Attributes:
        status: the HTTP status.
        code: the errCode of the answer.
        legacy: the integer code, 0 when there was none.
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
    """Something between this process and a host; `host` names it as `address:port`."""

    err_code = "Agent.RPC.RequestError"

    def __init__(self, message: str, *, host: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.host = host


class HostUnreachable(RemoteError):
    """No connection could be made within its bound."""

    retryable = True


class HostKeyRejected(RemoteError):
    """The host's key is unknown, changed or revoked."""


class AuthenticationFailed(RemoteError):
    """The host does not accept our user or key."""


class SudoRefused(RemoteError):
    """The host lets us in, but sudo does not let us become the user that `ssh.sudo` names."""


class CommandTimedOut(RemoteError):
    """The command ran longer than its bound; `proven_ended` says whether it is gone."""

    def __init__(self, message: str, *, host: str, proven_ended: bool, remedy: str = "") -> None:
        super().__init__(message, host=host, remedy=remedy)
        self.proven_ended = proven_ended


class ConnectionLost(RemoteError):
    """The command was sent and the connection broke: whether it ran is unknown."""

    retryable = True


class TunnelRefused(RemoteError):
    """The host refused a forwarded connection: nothing listens there (yet)."""

    retryable = True

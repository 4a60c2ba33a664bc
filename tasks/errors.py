"""Error codes of the operations, and the errors of their routes (protocol section 8)."""

from __future__ import annotations

from enum import StrEnum

from dagengine import Problem
from dagengine.errors import ApiError, DagengineError
from dagengine.errors import Code as CoreCode


class Code(StrEnum):
    """Error codes of this package, as sent to API clients; the values are part of the protocol."""

    AGENT_NOT_EXIST = "Agent.NotExist"
    CANCEL_TIMEOUT = CoreCode.CANCEL_TIMEOUT
    CHECK_FAILED = "OB.Server.Process.CheckFailed"
    CLUSTER_TIMEOUT = "OB.Cluster.AsyncOperationTimeout"
    CLUSTER_UNDER_MAINTENANCE = CoreCode.UNDER_MAINTENANCE
    FORCE_STOP_OR_TERMINATE_REQUIRED = "OB.Cluster.ForceStopOrTerminateRequired"
    FORCE_STOP_REQUIRED = "OB.Cluster.ForceStopRequired"
    FREEZE_TIMEOUT = "OB.Cluster.MinorFreezeTimeout"
    ILLEGAL_ARGUMENT = CoreCode.ILLEGAL_ARGUMENT
    INVALID_ADDRESS = "Common.InvalidAddress"
    INVALID_IP = "Common.InvalidIp"
    INVALID_PORT = "Common.InvalidPort"
    LOGIN_REFUSED = CoreCode.INCORRECT_OCEANBASE_PASSWORD
    NOT_STARTED = "OB.Server.HasNotBeenStarted"
    PROCESS_NOT_EXIST = "OB.Server.Process.NotExist"
    REPLICA_INVALID = "OB.Cluster.Tenant.Replica.Invalid"
    REQUEST_FAILED = CoreCode.REQUEST_FAILED
    SCOPE_INVALID = "OB.Cluster.Scope.Invalid"
    SQL_ERROR = CoreCode.SQL_ERROR
    SQL_NOT_READY = "Agent.OceanBase.Useless"
    STOPPED_IN_MULTI_ZONE = "OB.Server.StoppedInMultiZone"
    STOP_FAILED = "OB.Server.Process.StopFailed"
    STOP_MODE_CONFLICT = "OB.Cluster.StopModeConflict"
    ZONE_NOT_EXIST = "OB.Zone.NotExist"


def retryable_problem(code: str, message: str, remedy: str) -> Problem:
    """Build the problem of a step that can be retried; the remedy gets the suffix "then RETRY"."""
    return Problem(code, message, f"{remedy}, then RETRY")


class StoredParamsInvalid(DagengineError):
    """Raised when the stored parameters of a task cannot be decoded."""

    err_code = Code.ILLEGAL_ARGUMENT


class ScopeInvalid(ApiError):
    """Raised when the scope's type is not GLOBAL, ZONE or SERVER."""

    err_code = Code.SCOPE_INVALID


class TargetEmpty(ApiError):
    """Raised when a ZONE or SERVER scope has no targets."""

    err_code = Code.ILLEGAL_ARGUMENT


class ZoneNotExist(ApiError):
    """Raised when the scope names a zone that the cluster does not have."""

    err_code = Code.ZONE_NOT_EXIST


class ServerNotExist(ApiError):
    """Raised when the scope names a server that the cluster does not have."""

    err_code = Code.AGENT_NOT_EXIST


class InvalidAddress(ApiError):
    """Raised when a target is not an address."""

    err_code = Code.INVALID_ADDRESS


class InvalidPort(ApiError):
    """Raised when the port of a target is out of range."""

    err_code = Code.INVALID_PORT


class InvalidIp(ApiError):
    """Raised when the host of a target is not an IP address."""

    err_code = Code.INVALID_IP


SCOPE_ERRORS: tuple[type[ApiError], ...] = (
    *(ScopeInvalid, TargetEmpty, ZoneNotExist, ServerNotExist),
    *(InvalidAddress, InvalidPort, InvalidIp),
)
"""Errors that a request's scope can cause."""


class StopRefused(ApiError):
    """Base class of the reasons for which a stop with a valid scope is refused."""

    has_tried = True


class ForceStopOrTerminateRequired(StopRefused):
    """Raised when a request would end processes without `force` or `terminate`."""

    err_code = Code.FORCE_STOP_OR_TERMINATE_REQUIRED


class StopModeConflict(StopRefused):
    """Raised when a request sets both `force` and `terminate`."""

    err_code = Code.STOP_MODE_CONFLICT


class ForceStopRequired(StopRefused):
    """Raised when the database does not answer, so that only a forced stop works."""

    err_code = Code.FORCE_STOP_REQUIRED


class StoppedInMultiZone(StopRefused):
    """Raised when servers would be stopped in more than one zone."""

    err_code = Code.STOPPED_IN_MULTI_ZONE


class ReplicaInvalid(StopRefused):
    """Raised when a log stream would lose its majority."""

    err_code = Code.REPLICA_INVALID


STOP_ERRORS: tuple[type[ApiError], ...] = (
    *(ForceStopOrTerminateRequired, StopModeConflict, ForceStopRequired),
    *(StoppedInMultiZone, ReplicaInvalid),
)
"""Errors that a stop request can cause, in addition to SCOPE_ERRORS."""

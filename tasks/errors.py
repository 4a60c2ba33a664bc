"""Errors of the operations and of their routes (protocol section 8)."""

from __future__ import annotations

from dagengine.errors import ApiError, DagengineError


class StoredParamsInvalid(DagengineError):
    """Raised when the stored parameters of a task cannot be decoded."""

    err_code = "Common.IllegalArgument"

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(
            f"the stored parameter '{key}' of this task is invalid: {reason}",
            remedy="cancel this task and send the request again",
        )


class ScopeInvalid(ApiError):
    """Raised when the scope's type is not GLOBAL, ZONE or SERVER."""

    err_code = "OB.Cluster.Scope.Invalid"


class TargetEmpty(ApiError):
    """Raised when a ZONE or SERVER scope has no targets."""

    err_code = "Common.IllegalArgument"


class ZoneNotExist(ApiError):
    """Raised when the scope names a zone that the cluster does not have."""

    err_code = "OB.Zone.NotExist"


class ServerNotExist(ApiError):
    """Raised when the scope names a server that the cluster does not have."""

    err_code = "Agent.NotExist"


class InvalidAddress(ApiError):
    """Raised when a target is not an address."""

    err_code = "Common.InvalidAddress"


class InvalidPort(ApiError):
    """Raised when the port of a target is out of range."""

    err_code = "Common.InvalidPort"


class InvalidIp(ApiError):
    """Raised when the host of a target is not an IP address."""

    err_code = "Common.InvalidIp"


SCOPE_ERRORS: tuple[type[ApiError], ...] = (
    *(ScopeInvalid, TargetEmpty, ZoneNotExist, ServerNotExist),
    *(InvalidAddress, InvalidPort, InvalidIp),
)
"""Errors that a request's scope can cause."""


class ForceStopOrTerminateRequired(ApiError):
    """Raised when a request would end processes without `force` or `terminate`."""

    err_code = "OB.Cluster.ForceStopOrTerminateRequired"


class StopModeConflict(ApiError):
    """Raised when a request sets both `force` and `terminate`."""

    err_code = "OB.Cluster.StopModeConflict"


class ForceStopRequired(ApiError):
    """Raised when the database does not answer, so that only a forced stop works."""

    err_code = "OB.Cluster.ForceStopRequired"


class StoppedInMultiZone(ApiError):
    """Raised when servers would be stopped in more than one zone."""

    err_code = "OB.Server.StoppedInMultiZone"


class ReplicaInvalid(ApiError):
    """Raised when a log stream would lose its majority."""

    err_code = "OB.Cluster.Tenant.Replica.Invalid"


STOP_ERRORS: tuple[type[ApiError], ...] = (
    *(ForceStopOrTerminateRequired, StopModeConflict, ForceStopRequired),
    *(StoppedInMultiZone, ReplicaInvalid),
)
"""Errors that a stop request can cause, in addition to SCOPE_ERRORS."""

"""Answers of the operations' routes that are errors (protocol section 8)."""

from __future__ import annotations

from dagengine import ApiError


class ScopeInvalid(ApiError):
    """The scope's type is none of GLOBAL, ZONE, SERVER."""

    err_code = "OB.Cluster.Scope.Invalid"


class TargetEmpty(ApiError):
    """ZONE and SERVER need targets."""

    err_code = "Common.IllegalArgument"


class ZoneNotExist(ApiError):
    """The cluster has no such zone."""

    err_code = "OB.Zone.NotExist"


class ServerNotExist(ApiError):
    """The cluster has no such server."""

    err_code = "Agent.NotExist"


class InvalidAddress(ApiError):
    """Not an address at all."""

    err_code = "Common.InvalidAddress"


class InvalidPort(ApiError):
    """A port out of range."""

    err_code = "Common.InvalidPort"


class InvalidIp(ApiError):
    """Not an ip address."""

    err_code = "Common.InvalidIp"


SCOPE_ERRORS: tuple[type[ApiError], ...] = (
    *(ScopeInvalid, TargetEmpty, ZoneNotExist, ServerNotExist),
    *(InvalidAddress, InvalidPort, InvalidIp),
)
"""What may be wrong with a scope."""


class ForceStopOrTerminateRequired(ApiError):
    """A stop that ends processes has to be asked for in words."""

    err_code = "OB.Cluster.ForceStopOrTerminateRequired"


class StopModeConflict(ApiError):
    """Force and terminate are two ways."""

    err_code = "OB.Cluster.StopModeConflict"


class ForceStopRequired(ApiError):
    """The database does not answer: only a forced stop works."""

    err_code = "OB.Cluster.ForceStopRequired"


class StoppedInMultiZone(ApiError):
    """Something would be stopped in more than one zone."""

    err_code = "OB.Server.StoppedInMultiZone"


class ReplicaInvalid(ApiError):
    """A log stream would lose its majority."""

    err_code = "OB.Cluster.Tenant.Replica.Invalid"


STOP_ERRORS: tuple[type[ApiError], ...] = (
    *(ForceStopOrTerminateRequired, StopModeConflict, ForceStopRequired),
    *(StoppedInMultiZone, ReplicaInvalid),
)
"""What may be wrong with a stop, besides its scope."""

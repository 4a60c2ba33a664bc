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

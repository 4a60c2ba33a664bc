"""Errors that are sent as responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dagengine import messages
from dagengine.error_codes import Code
from dagengine.errors.base import DagengineError

OWNER_HEADER = "Dagengine-Owner"
"""Response header with the URL of the controller that owns the cluster."""

_TAKE_OVER_S = 3  # about how long another controller takes to take a cluster over


class ApiError(DagengineError):
    """Base class of errors that are sent as a response; subclasses set the three codes."""

    err_code: ClassVar[str] = Code.BAD_REQUEST
    http_status = 400


class BindFailed(ApiError):
    """Raised when the request body is not an object of the type that the route expects."""

    err_code: ClassVar[str] = Code.BIND_FAILED


class IllegalArgument(ApiError):
    """Raised when the route or the operation does not accept the value of a parameter."""

    err_code: ClassVar[str] = Code.ILLEGAL_ARGUMENT


class RouteNotFound(ApiError):
    """Raised when the path does not exist or does not support the method."""

    err_code: ClassVar[str] = Code.ROUTE_NOT_FOUND
    http_status = 404


class TaskNotFound(ApiError):
    """Raised when a DAG, node or sub-task does not exist.

    The message begins with `Task not found`; clients depend on it.
    """

    err_code: ClassVar[str] = Code.TASK_NOT_FOUND
    http_status = 404

    def __init__(self, detail: str) -> None:
        super().__init__(messages.TASK_NOT_FOUND(detail=detail))


class InvalidId(ApiError):
    """Raised when a generic id cannot be decoded."""

    err_code: ClassVar[str] = Code.ID_INVALID

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

    err_code: ClassVar[str] = Code.IDEMPOTENCY_KEY_REUSED
    http_status = 409


class PlanChanged(ApiError):
    """Raised when a request no longer has the effects of the plan that it names.

    Attributes:
        data: the content of the response: the new plan; empty until it is rendered.
    """

    err_code: ClassVar[str] = Code.PLAN_CHANGED
    http_status = 412

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.data: Mapping[str, object] = {}


class LockHeld(ApiError):
    """Raised when another DAG holds the lock that this DAG needs."""

    err_code: ClassVar[str] = Code.UNDER_MAINTENANCE
    http_status = 500
    retryable = True


class Conflict(ApiError):
    """Raised when the DAG was changed concurrently (protocol 5.3: a lost race)."""

    err_code: ClassVar[str] = Code.NO_ROW_AFFECTED
    http_status = 500
    retryable = True


class ClusterUnknown(ApiError):
    """Raised when the service has no such cluster, or does not show it to the caller."""

    err_code: ClassVar[str] = Code.CLUSTER_UNKNOWN
    http_status = 404

    def __init__(self, cluster: str) -> None:
        super().__init__(messages.CLUSTER_UNKNOWN(cluster=cluster))


class ClusterNotServed(ApiError):
    """Raised when the controller cannot run the cluster's DAGs, such as for an invalid file."""

    err_code: ClassVar[str] = Code.REMOTE_REQUEST_FAILED
    http_status = 503
    retryable = True

    def __init__(self, cluster: str) -> None:
        super().__init__(
            messages.CLUSTER_NOT_SERVED(cluster=cluster), remedy=messages.SEE_CLUSTER_REFUSAL()
        )


class NotOwner(ApiError):
    """Raised when another controller owns the cluster and the request cannot be forwarded.

    `owner_url` is the URL of the owner, empty if it is not known.
    """

    err_code: ClassVar[str] = Code.REQUEST_FAILED
    http_status = 421
    retryable = True

    def __init__(self, cluster: str, owner_url: str = "") -> None:
        remedy = messages.CALL_OWNER(url=owner_url) if owner_url else messages.CALL_LATER()
        super().__init__(messages.NOT_OWNER(cluster=cluster), remedy=remedy)
        self.owner_url = owner_url

    @property
    def response_headers(self) -> Mapping[str, str]:
        return {OWNER_HEADER: self.owner_url} if self.owner_url else {}


class OwnerUnavailable(ApiError):
    """Raised when no controller can answer for the cluster at present; nothing was done."""

    err_code: ClassVar[str] = Code.REQUEST_FAILED
    http_status = 503
    retryable = True

    def __init__(self, cluster: str) -> None:
        super().__init__(messages.OWNER_UNAVAILABLE(cluster=cluster), remedy=messages.CALL_LATER())

    @property
    def response_headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(_TAKE_OVER_S)}


class OwnerLost(OwnerUnavailable):
    """Raised when the owner was lost after a request was sent to it, so that it may have acted."""

    def __init__(self, cluster: str) -> None:
        ApiError.__init__(
            self, messages.OWNER_LOST(cluster=cluster), remedy=messages.REPEAT_WITH_KEY()
        )


class ClusterInUse(ApiError):
    """Raised when a cluster cannot be forgotten: it is configured, or has unfinished DAGs."""

    err_code: ClassVar[str] = Code.CLUSTER_IN_USE
    http_status = 409


class UnknownOperation(DagengineError):
    """Raised when a DAG's operation, or its version, is not registered in this engine."""

    err_code: ClassVar[str] = Code.OPERATION_UNKNOWN


class EngineStopped(DagengineError):
    """Raised when the engine was stopped before the call was done.

    Durable work continues when the engine starts again.
    """

    http_status = 503

"""Errors of calls to a controller."""

from __future__ import annotations

from typing import ClassVar

from dagengine.error_codes import Code
from dagengine.errors.base import DagengineError
from dagengine.lines import clean_line

_WITHOUT_OWNER = frozenset({421, 503})  # 421: of a controller that has lost the cluster


class ClientError(DagengineError):
    """Base class of errors of a call to a controller."""


class ControllerUnreachable(ClientError):
    """Raised when no server responds at the URL, or its response is not JSON."""

    retryable = True


class ResponseMalformed(ControllerUnreachable):
    """Raised when a response does not have the form of a controller's of this version."""

    retryable = False


class DagIdUnknown(ClientError):
    """Raised when no DAG, or more than one, matches the id that a user typed."""

    err_code: ClassVar[str] = Code.ID_INVALID


class ApiRefused(ClientError):
    """Raised when the controller returned an error.

    Attributes:
        status: the HTTP status.
        code: the errCode of the response.
        legacy: the integer code; 0 when the response has none.
        data: `data` of the response, such as the new plan of a request whose plan has changed;
            None when the response has none.
    """

    def __init__(
        self, message: str, *, status: int, code: str, legacy: int, data: object = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.legacy = legacy
        self.data = data

    @property
    def is_temporary(self) -> bool:
        """Whether the same call may succeed later, such as once the cluster has an owner again."""
        return self.status in _WITHOUT_OWNER

    def __str__(self) -> str:
        return f"[{clean_line(self.code)}]: {self.message}"

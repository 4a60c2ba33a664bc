"""The base of all errors, and errors of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dagengine.error_codes import Code
from dagengine.lines import clean_line


class DagengineError(Exception):
    """Base class of all errors that this package raises deliberately.

    Message and remedy are one line each, without control characters: they may quote a host.

    Attributes:
        message: what happened, and to which thing.
        remedy: what to do next; empty when the message is sufficient.
        has_tried: whether the business step of a request raises it, after body and scope were
            accepted. A response then has `data`, which is null (protocol 1.1).
    """

    err_code: ClassVar[str] = Code.UNEXPECTED
    http_status: ClassVar[int] = 500
    legacy_code: ClassVar[int] = 0
    retryable: ClassVar[bool] = False
    has_tried: ClassVar[bool] = False

    def __init__(self, message: str, *, remedy: str = "") -> None:
        self.message = clean_line(message)
        self.remedy = clean_line(remedy)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message

    @property
    def response_headers(self) -> Mapping[str, str]:
        """Return the HTTP headers that belong to the error's response."""
        return {}


class ConfigError(DagengineError):
    """Raised when a file, key or variable is invalid; the message names it."""

    err_code: ClassVar[str] = Code.CONFIG_INVALID

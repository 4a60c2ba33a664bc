"""The base of errors about credentials."""

from __future__ import annotations

from typing import ClassVar

from dagengine.error_codes import Code
from dagengine.errors.base import DagengineError


class SecurityError(DagengineError):
    """Raised when a request is rejected; dagengine.security defines the subclasses."""

    err_code: ClassVar[str] = Code.UNAUTHORIZED
    http_status = 401
    legacy_code = 10008

"""Errors of stores."""

from __future__ import annotations

from typing import ClassVar

from dagengine.error_codes import Code
from dagengine.errors.base import DagengineError


class StoreError(DagengineError):
    """Base class of errors of the store."""


class StaleWrite(StoreError):
    """Raised when a guarded write changed no row: the state has changed, the work is discarded."""

    err_code: ClassVar[str] = Code.NO_ROW_AFFECTED


class NotSerializable(StoreError):
    """Raised when a value cannot be stored: it is not JSON, or its text is not valid Unicode."""


class StoreInUse(StoreError):
    """Raised when another controller owns this store."""


class StoreUnavailable(StoreError):
    """Raised when the store file cannot be opened, read or written."""


class MembershipRefused(StoreError):
    """Raised when a shared store refuses a controller or a request of it; the message says why."""


class OwnershipLost(StoreError):
    """Raised when another controller owns the cluster, or owned it since this write was prepared.

    Nothing was written, and nothing may be reported: the cluster's engine must end.
    """


class StoreTooNew(StoreError):
    """Raised when the store was written by a newer version of this program."""


class StoreTooOld(StoreError):
    """Raised when `open` cannot upgrade the store's schema, which is older than needed."""

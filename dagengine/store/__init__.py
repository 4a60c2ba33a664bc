"""The contract for authors of stores, and the store in an SQLite file.

Records of DAGs, nodes and sub-tasks are in `dagengine`, errors in `dagengine.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagengine.runtime.lazy_exports import lazy_exports

# The contract.
__all__ = [
    "BatchRefused",
    "DagRows",
    "LastIds",
    "Retention",
    "Store",
]

# What a store writes.
__all__ += [
    "AttemptClosed",
    "AuditAppended",
    "Batch",
    "Change",
    "DagChanged",
    "DagCreated",
    "IdempotencyKeyUsed",
    "LockReleased",
    "LockTaken",
    "LogAppended",
    "NodeChanged",
    "RequestReserved",
    "SubTaskChanged",
    "TargetConfirmed",
    "TargetUnconfirmed",
]

# What it returns, besides the records in `dagengine`.
__all__ += [
    "DagStateChanged",
    "EventPayload",
    "LockRecord",
    "LogRecord",
    "NodeStateChanged",
    "SubTaskStateChanged",
    "UnconfirmedRecord",
]

# The implementation for one controller.
__all__ += [
    "SqliteStore",
]

# The module that defines each name. The block for type checkers has the same names.
_SOURCES = {
    "dagengine.model.changes": (
        "AttemptClosed AuditAppended Batch Change DagChanged DagCreated "
        "IdempotencyKeyUsed LockReleased LockTaken LogAppended NodeChanged "
        "RequestReserved SubTaskChanged TargetConfirmed TargetUnconfirmed"
    ),
    "dagengine.model.events": "DagStateChanged EventPayload NodeStateChanged SubTaskStateChanged",
    "dagengine.model.records": "LockRecord LogRecord UnconfirmedRecord",
    "dagengine.store.contract": "BatchRefused DagRows LastIds Retention Store",
    "dagengine.store.sqlite.store": "SqliteStore",
}

if TYPE_CHECKING:
    from dagengine.model.changes import (
        AttemptClosed,
        AuditAppended,
        Batch,
        Change,
        DagChanged,
        DagCreated,
        IdempotencyKeyUsed,
        LockReleased,
        LockTaken,
        LogAppended,
        NodeChanged,
        RequestReserved,
        SubTaskChanged,
        TargetConfirmed,
        TargetUnconfirmed,
    )
    from dagengine.model.events import (
        DagStateChanged,
        EventPayload,
        NodeStateChanged,
        SubTaskStateChanged,
    )
    from dagengine.model.records import LockRecord, LogRecord, UnconfirmedRecord
    from dagengine.store.contract import (
        BatchRefused,
        DagRows,
        LastIds,
        Retention,
        Store,
    )
    from dagengine.store.sqlite.store import SqliteStore
else:
    __getattr__, __dir__ = lazy_exports(__name__, _SOURCES)

"""The contract for authors of stores, and the store in an SQLite file.

Records of DAGs, nodes and sub-tasks are in `dagengine`, errors in `dagengine.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagengine.runtime.lazy_exports import lazy_exports

# The contract.
__all__ = [
    "BatchRefused",
    "CredentialStore",
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
    "Access",
    "DagStateChanged",
    "EventPayload",
    "LockRecord",
    "LogRecord",
    "NodeStateChanged",
    "SessionEntry",
    "SessionRecord",
    "StoreIdentity",
    "SubTaskStateChanged",
    "TokenRecord",
    "UnconfirmedRecord",
]

# The implementation for one controller.
__all__ += [
    "SqliteStore",
]

# The implementation for several controllers with one database.
__all__ += [
    "MysqlSettings",
    "MysqlStore",
    "Ownership",
    "SessionLimits",
    "make_tls_context",
]

# The module that defines each name. The block for type checkers has the same names.
_SOURCES = {
    "dagengine.model.changes": (
        "AttemptClosed AuditAppended Batch Change DagChanged DagCreated "
        "IdempotencyKeyUsed LockReleased LockTaken LogAppended NodeChanged "
        "RequestReserved SubTaskChanged TargetConfirmed TargetUnconfirmed"
    ),
    "dagengine.model.credentials": "Access SessionEntry SessionRecord TokenRecord",
    "dagengine.model.events": "DagStateChanged EventPayload NodeStateChanged SubTaskStateChanged",
    "dagengine.model.fencing": "Ownership StoreIdentity",
    "dagengine.model.records": "LockRecord LogRecord UnconfirmedRecord",
    "dagengine.store.contract": "BatchRefused CredentialStore DagRows LastIds Retention Store",
    "dagengine.store.mysql.settings": "MysqlSettings SessionLimits make_tls_context",
    "dagengine.store.mysql.store": "MysqlStore",
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
    from dagengine.model.credentials import Access, SessionEntry, SessionRecord, TokenRecord
    from dagengine.model.events import (
        DagStateChanged,
        EventPayload,
        NodeStateChanged,
        SubTaskStateChanged,
    )
    from dagengine.model.fencing import Ownership, StoreIdentity
    from dagengine.model.records import LockRecord, LogRecord, UnconfirmedRecord
    from dagengine.store.contract import (
        BatchRefused,
        CredentialStore,
        DagRows,
        LastIds,
        Retention,
        Store,
    )
    from dagengine.store.mysql.settings import MysqlSettings, SessionLimits, make_tls_context
    from dagengine.store.mysql.store import MysqlStore
    from dagengine.store.sqlite.store import SqliteStore
else:
    __getattr__, __dir__ = lazy_exports(__name__, _SOURCES)

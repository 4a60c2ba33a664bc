"""The public API: declare operations, run them, follow them.

    declare   Operation, Stage, StepContext and the outcomes of a step
    run       Engine, SqliteStore, Submission
    follow    events, and the records that the engine returns

Other audiences have modules of their own:

    dagengine.errors      all errors
    dagengine.store       the contract for authors of stores
    dagengine.remote      commands on hosts, over SSH
    dagengine.extension   plug-ins: routes, commands, a view of the cluster
    dagengine.client      callers of the HTTP API
    dagengine.testing     tests of operations
    dagengine.mysql       SQL on servers

Everything else may change without notice. A name is imported when it is first used, so that
`import dagengine` loads no SSH, HTTP, YAML or cryptography library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagengine.runtime.lazy_exports import lazy_exports

__version__ = "0.2.0"

__all__ = ["__version__"]

# Declaring operations.
__all__ += [
    "Cancelled",
    "ConfirmStoppedFunction",
    "Failed",
    "FencingToken",
    "Flags",
    "Interrupted",
    "Json",
    "LockResult",
    "Operation",
    "Outcome",
    "Problem",
    "ResultUnknown",
    "Stage",
    "StageKind",
    "StepContext",
    "StepFunction",
    "Succeeded",
    "TimedOut",
    "UndoFunction",
    "Wait",
]

# Running them.
__all__ += [
    "AgentAddress",
    "Clock",
    "Engine",
    "IdempotencyKey",
    "Operator",
    "Retention",
    "SqliteStore",
    "State",
    "Submission",
    "SystemClock",
]

# Following them.
__all__ += [
    "AttemptRecord",
    "AuditRecord",
    "DagDetail",
    "DagRecord",
    "DagUpdated",
    "EngineEvent",
    "EventReader",
    "EventRecord",
    "Events",
    "LineLogged",
    "NodeDetail",
    "NodeRecord",
    "NodeUpdated",
    "SubTaskDetail",
    "SubTaskRecord",
    "SubTaskUpdated",
    "Subscription",
]

# Several controllers.
__all__ += [
    "ActGuard",
]

# The module that defines each name. The block for type checkers has the same names.
_SOURCES = {
    "dagengine.act_guard": "ActGuard",
    "dagengine.engine.engine": "Engine",
    "dagengine.engine.events": (
        "DagUpdated EngineEvent EventReader Events LineLogged NodeUpdated SubTaskUpdated "
        "Subscription"
    ),
    "dagengine.model.events": "EventRecord",
    "dagengine.model.fencing": "FencingToken",
    "dagengine.model.ids": "AgentAddress",
    "dagengine.model.operation": "IdempotencyKey Operation Stage Submission",
    "dagengine.model.outcome": (
        "Cancelled Failed Interrupted Json Outcome Problem ResultUnknown Succeeded TimedOut"
    ),
    "dagengine.model.records": (
        "AttemptRecord AuditRecord DagDetail DagRecord NodeDetail NodeRecord "
        "SubTaskDetail SubTaskRecord"
    ),
    "dagengine.model.stage_kinds": "Flags StageKind Wait",
    "dagengine.model.states": "Operator State",
    "dagengine.model.step": (
        "ConfirmStoppedFunction LockResult StepContext StepFunction UndoFunction"
    ),
    "dagengine.runtime.clock": "Clock SystemClock",
    "dagengine.store.contract": "Retention",
    "dagengine.store.sqlite.store": "SqliteStore",
}

if TYPE_CHECKING:
    from dagengine.act_guard import ActGuard
    from dagengine.engine.engine import Engine
    from dagengine.engine.events import (
        DagUpdated,
        EngineEvent,
        EventReader,
        Events,
        LineLogged,
        NodeUpdated,
        Subscription,
        SubTaskUpdated,
    )
    from dagengine.model.events import EventRecord
    from dagengine.model.fencing import FencingToken
    from dagengine.model.ids import AgentAddress
    from dagengine.model.operation import IdempotencyKey, Operation, Stage, Submission
    from dagengine.model.outcome import (
        Cancelled,
        Failed,
        Interrupted,
        Json,
        Outcome,
        Problem,
        ResultUnknown,
        Succeeded,
        TimedOut,
    )
    from dagengine.model.records import (
        AttemptRecord,
        AuditRecord,
        DagDetail,
        DagRecord,
        NodeDetail,
        NodeRecord,
        SubTaskDetail,
        SubTaskRecord,
    )
    from dagengine.model.stage_kinds import Flags, StageKind, Wait
    from dagengine.model.states import Operator, State
    from dagengine.model.step import (
        ConfirmStoppedFunction,
        LockResult,
        StepContext,
        StepFunction,
        UndoFunction,
    )
    from dagengine.runtime.clock import Clock, SystemClock
    from dagengine.store.contract import Retention
    from dagengine.store.sqlite.store import SqliteStore
else:
    __getattr__, __dir__ = lazy_exports(__name__, _SOURCES)

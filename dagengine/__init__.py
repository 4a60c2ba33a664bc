"""The public face: all that operation packages and embedders need.

`__all__` names it by what it is for:

    embedding an engine       Engine, SqliteStore, Submission, …   docs/howto/embed.md
    writing an operation      Operation, Stage, StepContext, outcomes
    writing a store           Store and what it is given
    running commands          Command, Runner, SshPool, …          docs/ssh.md
    extending the front end   Extension, Route, Call, …

Public as well are `dagengine.testing`, the kit for tests of operations, `dagengine.client`, for
callers of the HTTP API, and `dagengine.mysql`, for SQL on servers. Everything else
inside this package may change without notice.
"""

from __future__ import annotations

from dagengine.api.envelope import render_time
from dagengine.api.extension import (
    Call,
    ClusterView,
    Handler,
    Plan,
    Planner,
    Refusal,
    Route,
    ServerPlan,
    ServerState,
)
from dagengine.api.schemas.tasks import (
    AgentDto,
    Contents,
    StatusAgentDto,
    StatusDto,
    Time,
)
from dagengine.engine.engine import Engine
from dagengine.engine.events import (
    DagMoved,
    EngineEvent,
    EventReader,
    Events,
    LineLogged,
    NodeMoved,
    Subscription,
    SubTaskMoved,
)
from dagengine.errors import (
    ApiError,
    CommandTimedOut,
    ConfigError,
    Conflict,
    ConnectionLost,
    DagengineError,
    EngineStopped,
    HostKeyRejected,
    HostUnreachable,
    IdempotencyKeyReused,
    IllegalArgument,
    InvalidId,
    LockHeld,
    LoginRefused,
    OperatorRefused,
    RemoteError,
    StaleWrite,
    StoreError,
    StoreInUse,
    StoreTooNew,
    StoreUnusable,
    SudoRefused,
    TaskNotFound,
    TunnelRefused,
    UnknownOperation,
    Unstorable,
)
from dagengine.extension import Command as ExtensionCommand
from dagengine.extension import Extension, ExtensionPoint, Surroundings
from dagengine.model.changes import (
    AttemptClosed,
    Audited,
    Batch,
    Change,
    DagChanged,
    DagCreated,
    KeyUsed,
    LockReleased,
    LockTaken,
    LogAppended,
    NodeChanged,
    RequestReserved,
    SubTaskChanged,
    TargetProven,
    TargetUnproven,
)
from dagengine.model.events import (
    DagEntered,
    EventRecord,
    Happening,
    NodeEntered,
    SubTaskEntered,
)
from dagengine.model.ids import AgentAddress
from dagengine.model.operation import (
    Flags,
    IdempotencyKey,
    LockReply,
    Operation,
    SettleFunction,
    Stage,
    StageKind,
    StepContext,
    StepFunction,
    Submission,
    UndoFunction,
    Wait,
)
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
    LockRecord,
    LogRecord,
    NodeDetail,
    NodeRecord,
    SubTaskDetail,
    SubTaskRecord,
    UnprovenRecord,
)
from dagengine.model.states import Operator, State
from dagengine.remote.command import Command, Secret, script
from dagengine.remote.runner import CommandResult, HostAddress, Runner, RunnerPool
from dagengine.remote.ssh.host_keys import HostKey, HostKeys, Trust
from dagengine.remote.ssh.pool import SshPool
from dagengine.runtime.clock import Clock, SystemClock
from dagengine.runtime.strict_yaml import YamlRefused, outline_yaml, read_yaml
from dagengine.runtime.watched_file import PasswordFile
from dagengine.server.config import (
    ApiConfig,
    EngineConfig,
    StoreConfig,
    load_config,
)
from dagengine.server.self_check import Health, Inspection, inspect_controller, inspect_file
from dagengine.store.contract import (
    BatchRefused,
    DagRows,
    LastIds,
    Retention,
    Store,
)
from dagengine.store.sqlite.store import SqliteStore

__version__ = "0.1.0"

__all__ = ["__version__"]

# Embedding an engine: what it is given, what its calls answer and what they raise.
__all__ += [
    "AgentAddress",
    "AttemptRecord",
    "AuditRecord",
    "Clock",
    "ConfigError",
    "Conflict",
    "DagDetail",
    "DagEntered",
    "DagMoved",
    "DagRecord",
    "DagRows",
    "DagengineError",
    "Engine",
    "EngineEvent",
    "EngineStopped",
    "EventReader",
    "EventRecord",
    "Events",
    "Happening",
    "IdempotencyKey",
    "IdempotencyKeyReused",
    "IllegalArgument",
    "InvalidId",
    "LineLogged",
    "LockHeld",
    "LockRecord",
    "LogRecord",
    "NodeDetail",
    "NodeEntered",
    "NodeMoved",
    "NodeRecord",
    "Operator",
    "OperatorRefused",
    "Retention",
    "SqliteStore",
    "StaleWrite",
    "State",
    "StoreError",
    "StoreInUse",
    "StoreTooNew",
    "StoreUnusable",
    "SubTaskDetail",
    "SubTaskEntered",
    "SubTaskMoved",
    "SubTaskRecord",
    "Submission",
    "Subscription",
    "SystemClock",
    "TaskNotFound",
    "UnknownOperation",
    "UnprovenRecord",
    "Unstorable",
    "Wait",
]

# Writing an operation: its stages, its steps and how these end.
__all__ += [
    "Cancelled",
    "Failed",
    "Flags",
    "Interrupted",
    "Json",
    "LockReply",
    "Operation",
    "Outcome",
    "Problem",
    "ResultUnknown",
    "SettleFunction",
    "Stage",
    "StageKind",
    "StepContext",
    "StepFunction",
    "Succeeded",
    "TimedOut",
    "UndoFunction",
]

# Writing a store: the contract, and what is written.
__all__ += [
    "AttemptClosed",
    "Audited",
    "Batch",
    "BatchRefused",
    "Change",
    "DagChanged",
    "DagCreated",
    "KeyUsed",
    "LastIds",
    "LockReleased",
    "LockTaken",
    "LogAppended",
    "NodeChanged",
    "RequestReserved",
    "Store",
    "SubTaskChanged",
    "TargetProven",
    "TargetUnproven",
]

# Running commands on hosts.
__all__ += [
    "Command",
    "CommandResult",
    "CommandTimedOut",
    "ConnectionLost",
    "HostAddress",
    "HostKey",
    "HostKeyRejected",
    "HostKeys",
    "HostUnreachable",
    "LoginRefused",
    "PasswordFile",
    "RemoteError",
    "Runner",
    "RunnerPool",
    "Secret",
    "SshPool",
    "SudoRefused",
    "Trust",
    "TunnelRefused",
    "script",
]

# Extending the front end: routes and commands beside those that are there.
__all__ += [
    "AgentDto",
    "ApiConfig",
    "ApiError",
    "Call",
    "ClusterView",
    "Contents",
    "EngineConfig",
    "Extension",
    "ExtensionCommand",
    "ExtensionPoint",
    "Handler",
    "Health",
    "Inspection",
    "Plan",
    "Planner",
    "Refusal",
    "Route",
    "ServerPlan",
    "ServerState",
    "StatusAgentDto",
    "StatusDto",
    "StoreConfig",
    "Surroundings",
    "Time",
    "YamlRefused",
    "inspect_controller",
    "inspect_file",
    "load_config",
    "outline_yaml",
    "read_yaml",
    "render_time",
]

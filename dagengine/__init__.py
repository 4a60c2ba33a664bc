"""The public API for operation packages and embedders.

`__all__` lists the names by purpose:

    embedding an engine       Engine, SqliteStore, Submission, …   docs/howto/embed.md
    writing an operation      Operation, Stage, StepContext, outcomes
    writing a store           Store and the types of its arguments
    running commands          Command, Runner, SshPool, …          docs/ssh.md
    extending the front end   Extension, Route, Call, …

Three more packages are public: `dagengine.testing`, which supports tests of operations;
`dagengine.client`, for callers of the HTTP API; and `dagengine.mysql`, for SQL on servers.
Everything else in this package may change without notice.
"""

from __future__ import annotations

from dagengine.api.envelope import render_time
from dagengine.api.extension import (
    Call,
    ClusterView,
    Handler,
    NoBody,
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
    DagUpdated,
    EngineEvent,
    EventReader,
    Events,
    LineLogged,
    NodeUpdated,
    Subscription,
    SubTaskUpdated,
)
from dagengine.errors import (
    ApiError,
    AuthenticationFailed,
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
    NotSerializable,
    OperatorRefused,
    RemoteError,
    StaleWrite,
    StoreError,
    StoreInUse,
    StoreTooNew,
    StoreTooOld,
    StoreUnavailable,
    SudoRefused,
    TaskNotFound,
    TunnelRefused,
    UnknownOperation,
)
from dagengine.extension import Command as CliCommand
from dagengine.extension import Extension, ExtensionContext, Plugin
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
    EventRecord,
    NodeStateChanged,
    SubTaskStateChanged,
)
from dagengine.model.ids import AgentAddress
from dagengine.model.operation import (
    ConfirmStoppedFunction,
    Flags,
    IdempotencyKey,
    LockResult,
    Operation,
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
    UnconfirmedRecord,
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
from dagengine.server.self_check import (
    SelfCheckResult,
    SelfCheckStatus,
    inspect_controller,
    inspect_file,
)
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

# Embedding an engine: arguments, return values and exceptions.
__all__ += [
    "AgentAddress",
    "AttemptRecord",
    "AuditRecord",
    "Clock",
    "ConfigError",
    "Conflict",
    "DagDetail",
    "DagRecord",
    "DagRows",
    "DagStateChanged",
    "DagUpdated",
    "DagengineError",
    "Engine",
    "EngineEvent",
    "EngineStopped",
    "EventPayload",
    "EventReader",
    "EventRecord",
    "Events",
    "IdempotencyKey",
    "IdempotencyKeyReused",
    "IllegalArgument",
    "InvalidId",
    "LineLogged",
    "LockHeld",
    "LockRecord",
    "LogRecord",
    "NodeDetail",
    "NodeRecord",
    "NodeStateChanged",
    "NodeUpdated",
    "NotSerializable",
    "Operator",
    "OperatorRefused",
    "Retention",
    "SqliteStore",
    "StaleWrite",
    "State",
    "StoreError",
    "StoreInUse",
    "StoreTooNew",
    "StoreTooOld",
    "StoreUnavailable",
    "SubTaskDetail",
    "SubTaskRecord",
    "SubTaskStateChanged",
    "SubTaskUpdated",
    "Submission",
    "Subscription",
    "SystemClock",
    "TaskNotFound",
    "UnconfirmedRecord",
    "UnknownOperation",
    "Wait",
]

# Writing an operation: stages, steps and outcomes.
__all__ += [
    "Cancelled",
    "ConfirmStoppedFunction",
    "Failed",
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
]

# Writing a store: the contract, and the changes that it writes.
__all__ += [
    "AttemptClosed",
    "AuditAppended",
    "Batch",
    "BatchRefused",
    "Change",
    "DagChanged",
    "DagCreated",
    "IdempotencyKeyUsed",
    "LastIds",
    "LockReleased",
    "LockTaken",
    "LogAppended",
    "NodeChanged",
    "RequestReserved",
    "Store",
    "SubTaskChanged",
    "TargetConfirmed",
    "TargetUnconfirmed",
]

# Running commands on hosts.
__all__ += [
    "AuthenticationFailed",
    "Command",
    "CommandResult",
    "CommandTimedOut",
    "ConnectionLost",
    "HostAddress",
    "HostKey",
    "HostKeyRejected",
    "HostKeys",
    "HostUnreachable",
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

# Extending the front end: additional routes and commands.
__all__ += [
    "AgentDto",
    "ApiConfig",
    "ApiError",
    "Call",
    "CliCommand",
    "ClusterView",
    "Contents",
    "EngineConfig",
    "Extension",
    "ExtensionContext",
    "Handler",
    "NoBody",
    "Plan",
    "Planner",
    "Plugin",
    "Refusal",
    "Route",
    "SelfCheckResult",
    "SelfCheckStatus",
    "ServerPlan",
    "ServerState",
    "StatusAgentDto",
    "StatusDto",
    "StoreConfig",
    "Time",
    "YamlRefused",
    "inspect_controller",
    "inspect_file",
    "load_config",
    "outline_yaml",
    "read_yaml",
    "render_time",
]

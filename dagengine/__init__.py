"""The public face: all that operation packages and embedders need.

Everything else inside this package may change without notice.
"""

from __future__ import annotations

from dagengine.api.envelope import render_time
from dagengine.api.route import (
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
from dagengine.api.schemas import AgentDto, Contents, StatusDto, Time
from dagengine.clock import Clock, SystemClock
from dagengine.config import load_config
from dagengine.engine.engine import Engine
from dagengine.engine.events import (
    DagMoved,
    EngineEvent,
    LineLogged,
    NodeMoved,
    Subscription,
    SubTaskMoved,
)
from dagengine.errors import (
    ApiError,
    CommandTimedOut,
    ConfigError,
    ConnectionLost,
    DagengineError,
    HostKeyRejected,
    HostUnreachable,
    IllegalArgument,
    LoginRefused,
    RemoteError,
    StoreError,
    SudoRefused,
    TunnelRefused,
)
from dagengine.extension import Command as ExtensionCommand
from dagengine.extension import Extension, ExtensionPoint, Surroundings
from dagengine.inspection import Health, Inspection, inspect_controller, inspect_file
from dagengine.model.ids import AgentAddress
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
)
from dagengine.model.spec import (
    Flags,
    IdempotencyKey,
    LockReply,
    Operation,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Wait,
)
from dagengine.model.states import Operator, State
from dagengine.password_file import PasswordFile
from dagengine.remote.base import CommandResult, HostAddress, Runner, RunnerPool
from dagengine.remote.command import Command, Secret, script
from dagengine.remote.host_keys import HostKey, HostKeys, Trust
from dagengine.remote.pool import SshPool
from dagengine.store.base import Retention
from dagengine.store.sqlite.store import SqliteStore

__version__ = "0.1.0"

__all__ = [
    "AgentAddress",
    "AgentDto",
    "ApiError",
    "AttemptRecord",
    "AuditRecord",
    "Call",
    "Cancelled",
    "Clock",
    "ClusterView",
    "Command",
    "CommandResult",
    "CommandTimedOut",
    "ConfigError",
    "ConnectionLost",
    "Contents",
    "DagDetail",
    "DagMoved",
    "DagRecord",
    "DagengineError",
    "Engine",
    "EngineEvent",
    "Extension",
    "ExtensionCommand",
    "ExtensionPoint",
    "Failed",
    "Flags",
    "Handler",
    "Health",
    "HostAddress",
    "HostKey",
    "HostKeyRejected",
    "HostKeys",
    "HostUnreachable",
    "IdempotencyKey",
    "IllegalArgument",
    "Inspection",
    "Interrupted",
    "Json",
    "LineLogged",
    "LockRecord",
    "LockReply",
    "LogRecord",
    "LoginRefused",
    "NodeDetail",
    "NodeMoved",
    "NodeRecord",
    "Operation",
    "Operator",
    "Outcome",
    "PasswordFile",
    "Plan",
    "Planner",
    "Problem",
    "Refusal",
    "RemoteError",
    "ResultUnknown",
    "Retention",
    "Route",
    "Runner",
    "RunnerPool",
    "Secret",
    "ServerPlan",
    "ServerState",
    "SqliteStore",
    "SshPool",
    "Stage",
    "StageKind",
    "State",
    "StatusDto",
    "StepContext",
    "StoreError",
    "SubTaskDetail",
    "SubTaskMoved",
    "SubTaskRecord",
    "Submission",
    "Subscription",
    "Succeeded",
    "SudoRefused",
    "Surroundings",
    "SystemClock",
    "Time",
    "TimedOut",
    "Trust",
    "TunnelRefused",
    "Wait",
    "inspect_controller",
    "inspect_file",
    "load_config",
    "render_time",
    "script",
]

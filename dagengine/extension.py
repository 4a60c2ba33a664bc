"""The interface for plug-ins: operations, routes, commands and a view of the cluster.

A package registers one `Plugin` under the entry point group `dagengine.operations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagengine.runtime.lazy_exports import lazy_exports

# The plug-in.
__all__ = [
    "CliCommand",
    "Extension",
    "ExtensionContext",
    "Plugin",
]

# Routes and dry runs.
__all__ += [
    "AgentDto",
    "Call",
    "ClusterView",
    "Contents",
    "Handler",
    "Plan",
    "Planner",
    "Refusal",
    "Route",
    "ServerPlan",
    "ServerState",
    "StatusAgentDto",
    "StatusDto",
    "Time",
    "render_time",
]

# Commands.
__all__ += [
    "ApiConfig",
    "EngineConfig",
    "SelfCheckResult",
    "SelfCheckStatus",
    "StoreConfig",
    "inspect_controller",
    "inspect_file",
    "load_config",
]

# Files, addresses and pauses.
__all__ += [
    "PasswordFile",
    "YamlRefused",
    "outline_yaml",
    "read_yaml",
]

# The module that defines each name. The block for type checkers has the same names.
_SOURCES = {
    "dagengine.api.envelope": "render_time",
    "dagengine.api.extension": (
        "Call ClusterView Handler Plan Planner Refusal Route ServerPlan ServerState"
    ),
    "dagengine.api.schemas.tasks": "AgentDto Contents StatusAgentDto StatusDto Time",
    "dagengine.runtime.strict_yaml": "YamlRefused outline_yaml read_yaml",
    "dagengine.runtime.watched_file": "PasswordFile",
    "dagengine.server.config": "ApiConfig EngineConfig StoreConfig load_config",
    "dagengine.server.extension": "CliCommand Extension ExtensionContext Plugin",
    "dagengine.server.self_check": (
        "SelfCheckResult SelfCheckStatus inspect_controller inspect_file"
    ),
}

if TYPE_CHECKING:
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
    from dagengine.runtime.strict_yaml import YamlRefused, outline_yaml, read_yaml
    from dagengine.runtime.watched_file import PasswordFile
    from dagengine.server.config import (
        ApiConfig,
        EngineConfig,
        StoreConfig,
        load_config,
    )
    from dagengine.server.extension import (
        CliCommand,
        Extension,
        ExtensionContext,
        Plugin,
    )
    from dagengine.server.self_check import (
        SelfCheckResult,
        SelfCheckStatus,
        inspect_controller,
        inspect_file,
    )
else:
    __getattr__, __dir__ = lazy_exports(__name__, _SOURCES)

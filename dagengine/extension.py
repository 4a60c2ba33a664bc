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
    "NoBody",
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
    "ExitCode",
    "SelfCheckResult",
    "SelfCheckStatus",
    "StoreConfig",
    "inspect_controller",
    "inspect_file",
    "load_config",
]

# Files, addresses and pauses.
__all__ += [
    "Backoff",
    "PasswordFile",
    "WatchedFile",
    "YamlRefused",
    "outline_yaml",
    "parse_host_port",
    "read_yaml",
    "render_host_port",
]

# The module that defines each name. The block for type checkers has the same names.
_SOURCES = {
    "dagengine.api.envelope": "render_time",
    "dagengine.api.extension": (
        "Call ClusterView Handler NoBody Plan Planner Refusal Route ServerPlan ServerState"
    ),
    "dagengine.api.schemas.base": "AgentDto Contents Time",
    "dagengine.api.schemas.controller": "StatusAgentDto StatusDto",
    "dagengine.cli.exit_codes": "ExitCode",
    "dagengine.runtime.addresses": "parse_host_port render_host_port",
    "dagengine.runtime.backoff": "Backoff",
    "dagengine.runtime.strict_yaml": "YamlRefused outline_yaml read_yaml",
    "dagengine.runtime.watched_file": "PasswordFile WatchedFile",
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
        NoBody,
        Plan,
        Planner,
        Refusal,
        Route,
        ServerPlan,
        ServerState,
    )
    from dagengine.api.schemas.base import AgentDto, Contents, Time
    from dagengine.api.schemas.controller import StatusAgentDto, StatusDto
    from dagengine.cli.exit_codes import ExitCode
    from dagengine.runtime.addresses import parse_host_port, render_host_port
    from dagengine.runtime.backoff import Backoff
    from dagengine.runtime.strict_yaml import YamlRefused, outline_yaml, read_yaml
    from dagengine.runtime.watched_file import PasswordFile, WatchedFile
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

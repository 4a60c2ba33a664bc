"""The interface for plug-ins: operations, routes, commands and a view of the cluster.

A package registers one `Plugin` under the entry point group `dagengine.operations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagengine.runtime.lazy_exports import lazy_exports

# The plug-in.
__all__ = [
    "CliCommand",
    "CommandGroup",
    "Extension",
    "ExtensionContext",
    "Plugin",
]

# Routes and dry runs.
__all__ += [
    "AgentDto",
    "Call",
    "Caller",
    "CallerKind",
    "ClusterView",
    "Contents",
    "CurrentPlan",
    "GaugeMetric",
    "Handler",
    "MetricSource",
    "NoBody",
    "ObservedState",
    "Plan",
    "PlanDigest",
    "PlanPart",
    "Planner",
    "Refusal",
    "Right",
    "Route",
    "Sample",
    "ServerPlan",
    "ServerState",
    "StatusAgentDto",
    "StatusDto",
    "Time",
    "make_plan",
    "parse_digest",
    "parse_key",
    "plan_changed_error",
    "render_time",
    "submit_planned",
]

# Pages.
__all__ += [
    "Badge",
    "ChangeSignal",
    "Download",
    "Instant",
    "Message",
    "Page",
    "PageAction",
    "PageCall",
    "PageResult",
    "PageView",
    "Redirect",
    "ServerCount",
    "Texts",
    "Translator",
    "View",
    "make_instant",
    "render_duration",
    "strip_prefix",
]

# The servers of a shared store.
__all__ += [
    "ServerIdentity",
    "compare_with_store",
    "read_server_identity",
    "read_store_identity",
]

# Commands.
__all__ += [
    "MAX_CHOSEN_EPOCH",
    "ApiConfig",
    "ClusterConfig",
    "ClusterEntry",
    "EngineConfig",
    "EngineFile",
    "ExitCode",
    "SelfCheckResult",
    "SelfCheckStatus",
    "ServiceConfig",
    "StoreConfig",
    "audit_command",
    "check_store_is_local",
    "find_engine_file",
    "inspect_controller",
    "inspect_file",
    "inspect_shared_store",
    "load_config",
    "new_app",
    "read_fencing_token",
    "render_epilog",
]

# Files, addresses and pauses.
__all__ += [
    "Backoff",
    "PasswordFile",
    "StructureCheck",
    "WatchedFile",
    "YamlRefused",
    "create_file",
    "locate",
    "outline_yaml",
    "parse_host_port",
    "read_yaml",
    "read_yaml_text",
    "refuse_empty",
    "render_host_port",
    "render_yaml_value",
    "run_in_process_time",
    "value_error",
    "wait_until_may_act",
]

# Output of commands.
__all__ += [
    "escape_controls",
    "expand_home",
    "find_user_name",
    "print_lines",
    "write_document",
    "write_lines",
    "write_question",
]

# The module that defines each name. The block for type checkers has the same names.
_SOURCES = {
    "dagengine.api.caller": "Caller CallerKind Right",
    "dagengine.api.binding": "parse_key",
    "dagengine.api.envelope": "render_time",
    "dagengine.api.extension": (
        "Call ClusterView GaugeMetric Handler MetricSource NoBody ObservedState Plan Planner "
        "Refusal Route Sample ServerPlan ServerState"
    ),
    "dagengine.api.plans.digest": "PlanDigest parse_digest",
    "dagengine.api.plans.calls": "CurrentPlan make_plan plan_changed_error submit_planned",
    "dagengine.api.schemas.tasks": "PlanPart",
    "dagengine.api.schemas.base": "AgentDto Contents Time",
    "dagengine.api.schemas.controller": "StatusAgentDto StatusDto",
    "dagengine.cli.application": "new_app render_epilog",
    "dagengine.cli.exit_codes": "ExitCode",
    "dagengine.act_guard": "wait_until_may_act",
    "dagengine.cli.options": "EngineFile",
    "dagengine.cli.views.screen": "print_lines",
    "dagengine.model.fencing": "MAX_CHOSEN_EPOCH",
    "dagengine.runtime.addresses": "parse_host_port render_host_port",
    "dagengine.runtime.backoff": "Backoff",
    "dagengine.runtime.new_file": "create_file",
    "dagengine.runtime.timers": "run_in_process_time",
    "dagengine.runtime.strict_yaml": "outline_yaml read_yaml",
    "dagengine.runtime.terminal": "write_document write_lines write_question",
    "dagengine.runtime.watched_file": "PasswordFile WatchedFile",
    "dagengine.runtime.yaml_structure": "StructureCheck YamlRefused read_yaml_text",
    "dagengine.server.config": (
        "ApiConfig ClusterConfig ClusterEntry EngineConfig ServiceConfig StoreConfig "
        "find_engine_file load_config"
    ),
    "dagengine.server.extension": "CliCommand CommandGroup Extension ExtensionContext Plugin",
    "dagengine.server.local_store": "audit_command read_fencing_token",
    "dagengine.server.self_check": (
        "SelfCheckResult SelfCheckStatus inspect_controller inspect_file"
    ),
    "dagengine.server.shared.local_commands": "check_store_is_local",
    "dagengine.server.shared.self_check": (
        "compare_with_store inspect_shared_store read_store_identity"
    ),
    "dagengine.server.config.value_errors": "locate refuse_empty render_yaml_value value_error",
    "dagengine.messages": "Message",
    "dagengine.translation": "Translator",
    "dagengine.store.mysql.identity": "ServerIdentity read_server_identity",
    "dagengine.web.changes": "ChangeSignal",
    "dagengine.web.page": (
        "Download Page PageAction PageCall PageResult PageView Redirect ServerCount View"
    ),
    "dagengine.web.texts": "Texts",
    "dagengine.web.times": "Instant make_instant render_duration",
    "dagengine.web.views.badges": "Badge",
    "dagengine.web.views.summary": "strip_prefix",
    "dagengine.local_user": "expand_home find_user_name",
    "dagengine.text": "escape_controls",
}

if TYPE_CHECKING:
    from dagengine.act_guard import wait_until_may_act
    from dagengine.api.binding import parse_key
    from dagengine.api.caller import Caller, CallerKind, Right
    from dagengine.api.envelope import render_time
    from dagengine.api.extension import (
        Call,
        ClusterView,
        GaugeMetric,
        Handler,
        MetricSource,
        NoBody,
        ObservedState,
        Plan,
        Planner,
        Refusal,
        Route,
        Sample,
        ServerPlan,
        ServerState,
    )
    from dagengine.api.plans.calls import (
        CurrentPlan,
        make_plan,
        plan_changed_error,
        submit_planned,
    )
    from dagengine.api.plans.digest import PlanDigest, parse_digest
    from dagengine.api.schemas.base import AgentDto, Contents, Time
    from dagengine.api.schemas.controller import StatusAgentDto, StatusDto
    from dagengine.api.schemas.tasks import PlanPart
    from dagengine.cli.application import new_app, render_epilog
    from dagengine.cli.exit_codes import ExitCode
    from dagengine.cli.options import EngineFile
    from dagengine.cli.views.screen import print_lines
    from dagengine.local_user import expand_home, find_user_name
    from dagengine.messages import Message
    from dagengine.model.fencing import MAX_CHOSEN_EPOCH
    from dagengine.runtime.addresses import parse_host_port, render_host_port
    from dagengine.runtime.backoff import Backoff
    from dagengine.runtime.new_file import create_file
    from dagengine.runtime.strict_yaml import outline_yaml, read_yaml
    from dagengine.runtime.terminal import write_document, write_lines, write_question
    from dagengine.runtime.timers import run_in_process_time
    from dagengine.runtime.watched_file import PasswordFile, WatchedFile
    from dagengine.runtime.yaml_structure import StructureCheck, YamlRefused, read_yaml_text
    from dagengine.server.config import (
        ApiConfig,
        ClusterConfig,
        ClusterEntry,
        EngineConfig,
        ServiceConfig,
        StoreConfig,
        find_engine_file,
        load_config,
    )
    from dagengine.server.config.value_errors import (
        locate,
        refuse_empty,
        render_yaml_value,
        value_error,
    )
    from dagengine.server.extension import (
        CliCommand,
        CommandGroup,
        Extension,
        ExtensionContext,
        Plugin,
    )
    from dagengine.server.local_store import audit_command, read_fencing_token
    from dagengine.server.self_check import (
        SelfCheckResult,
        SelfCheckStatus,
        inspect_controller,
        inspect_file,
    )
    from dagengine.server.shared.local_commands import check_store_is_local
    from dagengine.server.shared.self_check import (
        compare_with_store,
        inspect_shared_store,
        read_store_identity,
    )
    from dagengine.store.mysql.identity import ServerIdentity, read_server_identity
    from dagengine.text import escape_controls
    from dagengine.translation import Translator
    from dagengine.web.changes import ChangeSignal
    from dagengine.web.page import (
        Download,
        Page,
        PageAction,
        PageCall,
        PageResult,
        PageView,
        Redirect,
        ServerCount,
        View,
    )
    from dagengine.web.texts import Texts
    from dagengine.web.times import Instant, make_instant, render_duration
    from dagengine.web.views.badges import Badge
    from dagengine.web.views.summary import strip_prefix
else:
    __getattr__, __dir__ = lazy_exports(__name__, _SOURCES)

"""`?dryRun=true`: the plan of a start or stop, from fresh facts of the hosts; changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeAlias

from dagengine import Clock
from dagengine.errors import DagengineError
from dagengine.extension import Call, Plan, Planner, ServerPlan
from dagengine.remote import Command, RunnerPool
from tasks.cluster.cluster_file import ClusterFile, Server
from tasks.cluster.flavour import OCEANBASE
from tasks.flavours.stop_cluster import make_stop_steps
from tasks.flavours.stop_safety import StopMode
from tasks.hosts.commands import start_command, stop_command
from tasks.hosts.facts import HostFacts
from tasks.hosts.home_state import describe_kind
from tasks.operations.lock_stage import LOCK_KEY
from tasks.operations.names import START_OB, STOP_OB
from tasks.preflight.checks import SKIP_CHECKS
from tasks.preflight.decide import Blocked, NoOp, decide_start
from tasks.preflight.decide_stop import NothingRuns, Stop, decide_stop
from tasks.preflight.inspect import gather_facts
from tasks.preflight.result import StartTarget
from tasks.routes.start import (
    ResolvedScope,
    StartRequest,
    read_skips,
    reload_cluster,
    resolve_request,
)
from tasks.routes.stop import StopRequest, choose_mode
from tasks.sql.cluster import (
    MINOR_FREEZE,
    render_minor_freeze,
    render_server_change,
    render_zone_change,
)

_LOOK_S = 10.0  # limit for one host; all hosts are queried at the same time
_MARKER = "(id of the task)"

HostAnswers: TypeAlias = Mapping[str, HostFacts | ServerPlan]
"""By server: the facts of its host, or a plan that explains why they are unknown."""


def start_planner(cluster: ClusterFile, pool: RunnerPool, clock: Clock) -> Planner:
    """Return the planner of POST /ob/start."""

    async def plan(call: Call) -> Plan:
        request = call.body
        assert isinstance(request, StartRequest)
        reload_cluster(cluster)
        asked = resolve_request(cluster, request)
        skips = read_skips(request.skip_checks or ()).get(SKIP_CHECKS, [])
        found = await _ask_all(cluster, pool, clock, asked)
        sizes = {
            name: facts.program_bytes
            for name, facts in found.items()
            if isinstance(facts, HostFacts) and facts.program_bytes is not None
        }

        def decide(server: Server, facts: HostFacts) -> ServerPlan:
            others = {name: size for name, size in sizes.items() if name != server.name}
            return _plan_start(server, facts, StartTarget(server, others), skips)

        return Plan(START_OB, LOCK_KEY, _decide_all(cluster, found, decide))

    return plan


def stop_planner(cluster: ClusterFile, pool: RunnerPool, clock: Clock) -> Planner:
    """Return the planner of POST /ob/stop."""

    async def plan(call: Call) -> Plan:
        request = call.body
        assert isinstance(request, StopRequest)
        reload_cluster(cluster)
        asked = resolve_request(cluster, request)
        mode = choose_mode(asked.kind, bool(request.force), bool(request.terminate))
        await make_stop_steps(cluster, pool, clock).check(mode, asked.kind, asked.targets)
        if mode is StopMode.PLAIN:  # a plain stop queries no host, and neither does its plan
            servers = map(cluster.server, asked.targets)
            plans = tuple(_plan_plain_stop(server, asked) for server in servers)
            return Plan(STOP_OB, LOCK_KEY, plans)
        found = await _ask_all(cluster, pool, clock, asked)
        kill_after_s = cluster.current.kill_after_s

        def decide(server: Server, facts: HostFacts) -> ServerPlan:
            return _plan_stop(server, facts, mode, kill_after_s)

        return Plan(STOP_OB, LOCK_KEY, _decide_all(cluster, found, decide))

    return plan


# --- judging: pure -----------------------------------------------------------------------------


def _plan_start(
    server: Server, facts: HostFacts, start_target: StartTarget, skips: list[str]
) -> ServerPlan:
    decision = decide_start(facts, start_target, skips)
    checks = tuple(check_result.as_evidence() for check_result in decision.check_results)
    match decision:
        case Blocked(_, message, remedy):
            return ServerPlan(server.name, "blocked", f"{message}; {remedy}", checks)
        case NoOp(reason):
            return ServerPlan(server.name, "nothing", reason, checks)
        case _:
            said = describe_kind(decision.kind)
            command = _show(start_command(server, _MARKER, decision.kind))
            return ServerPlan(server.name, "start", said, checks, (command,))


def _plan_stop(server: Server, facts: HostFacts, mode: StopMode, kill_after_s: float) -> ServerPlan:
    match decide_stop(facts, home=server.home, sql_port=server.sql_port):
        case Blocked(_, message, remedy):
            return ServerPlan(server.name, "blocked", f"{message}; {remedy}")
        case NothingRuns():
            return ServerPlan(server.name, "nothing", "does not run")
        case Stop(process):
            command = _show(stop_command(server, kill_after_s))
            first = (_freeze_of(server),) if mode is StopMode.TERMINATE else ()
            said = f"runs, pid {process.pid}; mode {mode}"
            return ServerPlan(server.name, "stop", said, commands=(*first, command))


def _freeze_of(server: Server) -> str:
    """Return the server's minor freeze; an OceanBase cluster freezes all in one statement."""
    return render_minor_freeze([server]) if server.flavour is OCEANBASE else MINOR_FREEZE


def _plan_plain_stop(server: Server, asked: ResolvedScope) -> ServerPlan:
    statement = (
        render_zone_change("STOP", server.zone)
        if asked.kind == "ZONE"
        else render_server_change("STOP", server)
    )
    said = "goes out of service by SQL; its process runs on"
    return ServerPlan(server.name, "stop", said, commands=(statement,))


def _show(command: Command) -> str:
    """Render a script as its name and arguments, with masked secrets and without its text."""
    return Command(command.argv[3:]).render_masked()


# --- asking ------------------------------------------------------------------------------------


async def _ask_all(
    cluster: ClusterFile, pool: RunnerPool, clock: Clock, asked: ResolvedScope
) -> dict[str, HostFacts | ServerPlan]:
    async with asyncio.TaskGroup() as group:
        asking = {
            name: group.create_task(
                _ask_one(cluster.server(name), pool, clock), name=f"look at {name}"
            )
            for name in asked.targets
        }
    return {name: task.result() for name, task in asking.items()}


async def _ask_one(server: Server, pool: RunnerPool, clock: Clock) -> HostFacts | ServerPlan:
    """Return the host's facts; if it cannot be queried, a plan that contains the reason."""
    try:
        async with asyncio.timeout(_LOOK_S):
            return await gather_facts(server, pool.runner(server.address), clock)
    except TimeoutError:
        return ServerPlan(server.name, "unknown", f"its host said nothing within {_LOOK_S:g} s")
    except DagengineError as exc:
        return ServerPlan(server.name, "unknown", str(exc))


def _decide_all(
    cluster: ClusterFile, found: HostAnswers, decide: Callable[[Server, HostFacts], ServerPlan]
) -> tuple[ServerPlan, ...]:
    return tuple(
        facts if isinstance(facts, ServerPlan) else decide(cluster.server(name), facts)
        for name, facts in found.items()
    )

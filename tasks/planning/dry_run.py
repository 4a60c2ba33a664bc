"""`?dryRun=true`: the plan of a start or stop, from fresh facts of the hosts; changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

from dagengine import Engine
from dagengine.errors import DagengineError
from dagengine.extension import Call, Plan, Planner, ServerPlan
from dagengine.remote import Command
from tasks.cluster.access import ClusterAccess
from tasks.cluster.scope import ScopeKind
from tasks.cluster.servers import Server
from tasks.flavours.base import DatabaseActions, StopMode
from tasks.flavours.select import select_actions
from tasks.hosts.commands import FACTS_LIMIT_S, start_command, stop_command
from tasks.hosts.facts import HostFacts
from tasks.hosts.home_state import describe_kind
from tasks.operations.lock_stage import LOCK_KEY
from tasks.operations.params import StopParams
from tasks.planning import messages
from tasks.planning.start import (
    StartRequest,
    reload_cluster,
    resolve_start,
    start_submission,
)
from tasks.planning.stop import (
    StopRequest,
    ZoneStopRequest,
    resolve_stop,
    resolve_zone_stop,
    stop_submission,
)
from tasks.preflight.decide import Blocked, NoOp, decide_start
from tasks.preflight.decide_stop import NothingRuns, Stop, block_rejected, decide_stop
from tasks.preflight.inspect import gather_facts
from tasks.preflight.result import Severity, StartTarget

HostAnswers: TypeAlias = Mapping[str, HostFacts | ServerPlan]
"""By server: the facts of its host, or a plan that explains why they are unknown."""


def start_planner(access: ClusterAccess) -> Planner[StartRequest]:
    """Return the planner of POST /ob/start."""

    async def plan(call: Call[StartRequest]) -> Plan:
        reload_cluster(access.cluster)
        targets, params = resolve_start(access.cluster, call.body)
        answers = await _query_all(access, targets)
        sizes = {
            name: facts.program_bytes
            for name, facts in answers.items()
            if isinstance(facts, HostFacts) and facts.program_bytes is not None
        }

        def decide(server: Server, facts: HostFacts) -> ServerPlan:
            others = {name: size for name, size in sizes.items() if name != server.name}
            start_target = StartTarget(server, others, call.engine.next_fencing_token(LOCK_KEY))
            return _plan_start(server, facts, start_target, params.skip_checks)

        plans, notices = _decide_all(access, answers, decide), access.cluster.find_notices()
        return Plan(start_submission(targets, params), LOCK_KEY, plans, tuple(notices))

    return plan


def stop_planner(access: ClusterAccess) -> Planner[StopRequest]:
    """Return the planner of POST /ob/stop."""

    async def plan(call: Call[StopRequest]) -> Plan:
        reload_cluster(access.cluster)
        targets, params = resolve_stop(access.cluster, call.body)
        return await _plan_stops(access, call.engine, targets, params)

    return plan


def zone_stop_planner(access: ClusterAccess) -> Planner[ZoneStopRequest]:
    """Return the planner of POST /ob/zone/{zone}/stop."""

    async def plan(call: Call[ZoneStopRequest]) -> Plan:
        reload_cluster(access.cluster)
        targets, params = resolve_zone_stop(access.cluster, call)
        return await _plan_stops(access, call.engine, targets, params)

    return plan


async def _plan_stops(
    access: ClusterAccess, engine: Engine, targets: tuple[str, ...], params: StopParams
) -> Plan:
    notices, submission = tuple(access.cluster.find_notices()), stop_submission(targets, params)
    mode, scope, actions = params.mode, params.scope.kind, select_actions(access)
    await actions.check_stop(mode, scope, targets)
    if mode is StopMode.PLAIN:  # a plain stop queries no host, and neither does its plan
        servers = map(access.server, targets)
        plans = tuple(_plan_plain_stop(server, scope, actions, params.freeze) for server in servers)
        return Plan(submission, LOCK_KEY, plans, notices)
    answers = await _query_all(access, targets)
    kill_after_s, token = access.cluster.current.kill_after_s, engine.next_fencing_token(LOCK_KEY)

    def decide(server: Server, facts: HostFacts) -> ServerPlan:
        freeze = (actions.render_freeze(server),) if mode is StopMode.TERMINATE else ()
        commands = (*freeze, _show(stop_command(server, kill_after_s, token=token)))
        if (refusal := block_rejected(facts, server, token)) is not None:
            return _render_block(server, refusal)
        return _plan_stop(server, facts, mode, commands)

    return Plan(submission, LOCK_KEY, _decide_all(access, answers, decide), notices)


# --- decisions: pure ---------------------------------------------------------------------------


def _plan_start(
    server: Server, facts: HostFacts, start_target: StartTarget, skips: Collection[str]
) -> ServerPlan:
    decision = decide_start(facts, start_target, skips)
    checks = tuple(check_result.as_evidence() for check_result in decision.check_results)
    decisive = tuple(
        f"{check_result.level} {check_result.check}"
        for check_result in decision.check_results
        if check_result.level in (Severity.BLOCK, Severity.SKIPPED)
    )
    match decision:
        case Blocked(_, message, remedy):
            text = messages.BLOCKED(reason=message, remedy=remedy)
            return ServerPlan(server.name, "blocked", text, checks, basis=decisive)
        case NoOp(reason):
            return ServerPlan(server.name, "nothing", reason, checks, basis=decisive)
        case _:
            kind = describe_kind(decision.kind)
            words = (server, messages.TASK_ID(), decision.kind, start_target.token)
            command = _show(start_command(*words))
            basis = (str(decision.kind), *decisive)
            return ServerPlan(server.name, "start", kind, checks, (command,), basis)


def _plan_stop(
    server: Server, facts: HostFacts, mode: StopMode, commands: tuple[str, ...]
) -> ServerPlan:
    with_freeze = mode is StopMode.TERMINATE
    home, sql_port = server.home, server.sql_port
    match decide_stop(facts, home=home, sql_port=sql_port, with_freeze=with_freeze):
        case Blocked() as refusal:
            return _render_block(server, refusal)
        case NothingRuns():
            return ServerPlan(server.name, "nothing", messages.NOT_RUNNING())
        case Stop(process):
            reason = messages.STOP_PLANNED(pid=process.pid, mode=mode)
            basis = (process.boot, str(process.pid), str(process.started))
            return ServerPlan(server.name, "stop", reason, commands=commands, basis=basis)


def _render_block(server: Server, block: Blocked) -> ServerPlan:
    text = messages.BLOCKED(reason=block.message, remedy=block.remedy)
    return ServerPlan(server.name, "blocked", text)


def _plan_plain_stop(
    server: Server, scope: ScopeKind, actions: DatabaseActions, has_freeze: bool
) -> ServerPlan:
    statement = actions.render_plain_stop(server, scope)
    freeze = (actions.render_freeze(server),) if has_freeze else ()
    reason = messages.PLAIN_STOP_PLANNED()
    return ServerPlan(server.name, "stop", reason, commands=(*freeze, statement))


def _show(command: Command) -> str:
    """Render a script as its name and arguments, with masked secrets and without its text."""
    return Command(command.argv[3:]).render_masked()


# --- queries -----------------------------------------------------------------------------------


async def _query_all(access: ClusterAccess, targets: Sequence[str]) -> HostAnswers:
    async with asyncio.TaskGroup() as group:
        queries = {
            name: group.create_task(
                _query_one(access, access.server(name)), name=f"query the host of {name}"
            )
            for name in targets
        }
    return {name: task.result() for name, task in queries.items()}


async def _query_one(access: ClusterAccess, server: Server) -> HostFacts | ServerPlan:
    """Return the host's facts; if it cannot be queried, a plan that contains the reason.

    All hosts are queried at the same time, so the limit of one is the limit of all.
    """
    try:
        async with asyncio.timeout(FACTS_LIMIT_S):
            return await gather_facts(server, access.runner(server), access.clock)
    except TimeoutError:
        reason = messages.HOST_SILENT(limit_s=FACTS_LIMIT_S)
        return ServerPlan(server.name, "unknown", reason)
    except DagengineError as exc:
        return ServerPlan(server.name, "unknown", str(exc))


def _decide_all(
    access: ClusterAccess,
    answers: HostAnswers,
    decide: Callable[[Server, HostFacts], ServerPlan],
) -> tuple[ServerPlan, ...]:
    return tuple(
        facts if isinstance(facts, ServerPlan) else decide(access.server(name), facts)
        for name, facts in answers.items()
    )

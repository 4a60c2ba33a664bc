"""`Stop OB`: takes servers out of service by SQL, or ends processes, optionally after a freeze."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from dagengine import (
    Failed,
    FencingToken,
    Flags,
    Operation,
    Outcome,
    Problem,
    Stage,
    StageKind,
    StepContext,
    Succeeded,
)
from dagengine.errors import RemoteError
from dagengine.remote import Runner
from tasks.cluster.access import ClusterAccess
from tasks.cluster.observation import NOT_RUNNING
from tasks.cluster.servers import Server
from tasks.errors import Code, retryable_problem
from tasks.flavours.base import StopMode
from tasks.flavours.select import select_actions
from tasks.hosts.commands import (
    STOP_MARGIN_S,
    facts_command,
)
from tasks.hosts.facts import parse_facts
from tasks.hosts.fence import ProbeOutcome
from tasks.hosts.query import run_query
from tasks.operations import messages
from tasks.operations.host_fence import adopt_attempt, probe_home
from tasks.operations.lock_stage import LOCK_KEY, LOCK_STAGE, take_lock
from tasks.operations.names import STOP_OB
from tasks.operations.params import StopParams, with_params
from tasks.operations.stop_process import is_stopped, stop_process
from tasks.operations.unconfirmed import resolve_unconfirmed
from tasks.preflight.decide import Blocked
from tasks.preflight.decide_stop import (
    NothingRuns,
    Stop,
    StopDecision,
    block_rejected,
    decide_stop,
)

CHECK = "Check servers"
FREEZE = "Minor freeze before stop server"
STOP = "Stop observers"
SQL = "Stop servers and zones"
VERIFY = "Verify the stop"

_RESPONSE_MARGIN_S = 30.0
_LONGEST_STOP_S = 600.0 + STOP_MARGIN_S + 2 * _RESPONSE_MARGIN_S
_LONGEST_FREEZE_S = 3600.0 + 600.0
_BEFORE = Flags(
    can_cancel=True, can_continue=True, can_retry=True, can_rollback=True, can_pass=True
)
"""Flags of stages that change nothing, so that a rollback has nothing to undo."""
_AFTER = Flags(
    can_cancel=True, can_continue=True, can_retry=True, can_rollback=False, can_pass=True
)
"""Flags of stages that stop servers; only a start undoes that, not a rollback (protocol 5.2)."""


def stop_operation(access: ClusterAccess) -> Operation:
    """Return the operation; every attempt reads the current cluster file."""
    steps = _Steps(access)
    typed = partial(with_params, StopParams.from_json)
    normal, lane = StageKind.NORMAL, StageKind.PARALLEL
    stop = Stage(
        STOP,
        lane,
        typed(steps.stop),
        confirm_stopped=steps.confirm_stopped,
        flags=_AFTER,
        timeout_s=_LONGEST_STOP_S,
    )
    return Operation(
        STOP_OB,
        (
            Stage(LOCK_STAGE, normal, typed(steps.lock), flags=_BEFORE, timeout_s=300),
            Stage(CHECK, lane, typed(steps.check), flags=_BEFORE, timeout_s=120),
            Stage(FREEZE, normal, typed(steps.freeze), flags=_BEFORE, timeout_s=_LONGEST_FREEZE_S),
            stop,
            Stage(SQL, normal, typed(steps.stop_by_sql), flags=_AFTER, timeout_s=700),
            Stage(VERIFY, normal, typed(steps.verify), flags=_AFTER, timeout_s=300),
        ),
        lock_key=LOCK_KEY,
        takes_lock=LOCK_STAGE,
    )


@dataclass(frozen=True, slots=True)
class _Steps:
    access: ClusterAccess

    async def lock(self, context: StepContext, params: StopParams) -> Outcome:
        """Run stage 1."""
        return await take_lock(context, params.force_pass, self.access.cluster.find_notices())

    async def check(self, context: StepContext, params: StopParams) -> Outcome:
        """Run stage 2."""
        assert context.target is not None
        if params.mode is StopMode.PLAIN:
            await context.log(messages.STOPPED_BY_SQL(server=context.target))
            return Succeeded({"runs": True})
        server, runner = self._server(context.target)
        if (unresolved := await resolve_unconfirmed(context, server, runner)) is not None:
            return unresolved
        address = server.address
        context.wait_for("ssh", messages.FACTS(host=address.host, port=address.port))
        with_freeze = params.mode is StopMode.TERMINATE
        token = context.fencing_token
        match await _decide(server, runner, with_freeze=with_freeze, token=token):
            case Blocked(code, message, remedy):
                text = messages.SERVER_PROBLEM(server=server.name, reason=message)
                return Failed(retryable_problem(code, text, remedy))
            case NothingRuns():
                await context.log(messages.NOT_RUNNING(server=server.name))
                return Succeeded({"runs": False})
            case Stop(process):
                await context.log(messages.STOPPABLE(server=server.name, pid=process.pid))
                return Succeeded({"runs": True})

    async def freeze(self, context: StepContext, params: StopParams) -> Outcome:
        """Run stage 3."""
        if not params.has_freeze:
            await context.log(messages.FREEZE_NOT_REQUESTED())
            return Succeeded()
        names = [name for name in context.healthy_targets if _is_running(context, name)]
        return await select_actions(self.access).freeze(context, names)

    async def stop(self, context: StepContext, params: StopParams) -> Outcome:
        """Run stage 4."""
        assert context.target is not None
        if params.mode is StopMode.PLAIN:
            await context.log(messages.PROCESS_KEPT(server=context.target))
            return Succeeded()
        server, runner = self._server(context.target)
        if (refusal := await adopt_attempt(context, server, runner)) is not None:
            return refusal
        kill_after_s = self.access.cluster.current.kill_after_s
        outcome = await stop_process(context, server, runner, kill_after_s)
        if is_stopped(outcome):
            self.access.record(server, NOT_RUNNING)
        return outcome

    async def confirm_stopped(self, context: StepContext) -> bool:
        """Return whether nothing of stage 4 is running, that is, its lock can be taken."""
        assert context.target is not None
        if StopParams.from_json(context.params).mode is StopMode.PLAIN:
            return True
        server, runner = self._server(context.target)
        return (await probe_home(context, server, runner)).outcome is ProbeOutcome.DONE

    async def stop_by_sql(self, context: StepContext, params: StopParams) -> Outcome:
        """Run stage 5."""
        if params.mode is not StopMode.PLAIN:
            await context.log(messages.STOP_BY_SQL_UNNECESSARY())
            return Succeeded()
        return await select_actions(self.access).stop_by_sql(context, params.scope)

    async def verify(self, context: StepContext, params: StopParams) -> Outcome:
        """Run stage 6."""
        if params.mode is StopMode.PLAIN:
            await context.log(messages.STOP_CONFIRMED_BY_CLUSTER())
            return Succeeded()
        names = context.healthy_targets
        results = await asyncio.gather(*(self._find_remaining(name) for name in names))
        problems = [problem for problem in results if problem is not None]
        gone = [name for name, problem in zip(names, results, strict=True) if problem is None]
        for name in gone:
            await context.log(messages.STOP_VERIFIED(server=name))
        evidence = {name: {"level": "none", "verified": True} for name in gone}
        if problems:
            for problem in problems[:-1]:
                await context.log(problem.render())
            return Failed(problems[-1], evidence)
        summary = messages.SERVERS_STOPPED(count=len(gone), total=len(context.targets))
        return Succeeded(evidence=evidence, summary=summary)

    # --- internal functions ---

    def _server(self, name: str) -> tuple[Server, Runner]:
        server = self.access.server(name)
        return server, self.access.runner(server)

    async def _find_remaining(self, name: str) -> Problem | None:
        server, runner = self._server(name)
        try:
            decision = await _decide(server, runner)
        except RemoteError as exc:
            text = messages.HOST_PROBLEM(host=exc.host, reason=exc.message)
            return Problem(exc.err_code, text, exc.remedy)
        match decision:
            case NothingRuns():
                return None
            case Stop(process):
                text = messages.RUNS_AGAIN(server=name, pid=process.pid)
                return retryable_problem(Code.STOP_FAILED, text, messages.IDENTIFY_STARTER())
            case Blocked(code, message, remedy):
                text = messages.SERVER_PROBLEM(server=name, reason=message)
                return retryable_problem(code, text, remedy)


def _is_running(context: StepContext, name: str) -> bool:
    """Return whether the server ran in stage 2; True if stage 2 was passed."""
    data = context.data_of(CHECK, name)
    return data is None or bool(data.get("runs", True))


async def _decide(
    server: Server,
    runner: Runner,
    *,
    with_freeze: bool = False,
    token: FencingToken | None = None,
) -> StopDecision:
    result = await run_query(runner, facts_command(server))
    facts = parse_facts(result.stdout)
    if token is not None and (refusal := block_rejected(facts, server, token)) is not None:
        return refusal
    home, sql_port = server.home, server.sql_port
    return decide_stop(facts, home=home, sql_port=sql_port, with_freeze=with_freeze)

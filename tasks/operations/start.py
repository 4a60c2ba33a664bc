"""`Start OB`: six stages; each step queries, decides, acts and verifies, and is repeatable."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from dagengine import (
    Failed,
    Flags,
    Operation,
    Outcome,
    Stage,
    StageKind,
    StepContext,
    Succeeded,
)
from dagengine.errors import ConnectionLost, DagengineError
from dagengine.remote import Runner
from tasks.cluster.access import ClusterAccess
from tasks.cluster.observation import AVAILABLE, NOT_RUNNING, RESTRICTED
from tasks.cluster.servers import Server
from tasks.errors import Code, retryable_problem
from tasks.flavours.select import select_actions
from tasks.hosts.commands import (
    START_DEADLINE_S,
    first_start_options,
    start_command,
)
from tasks.hosts.fence import ProbeOutcome
from tasks.hosts.home_state import StartKind
from tasks.hosts.identity import ProcessIdentity
from tasks.hosts.query import ensure_completed
from tasks.hosts.reports import StartOutcome, StartReport, parse_start
from tasks.operations import messages
from tasks.operations.first_start import remove_first_start_marker
from tasks.operations.health import (
    LIMIT_S,
    STABLE_LIMIT_S,
    Healthy,
    MonitoredServer,
    is_gone,
    wait_until_healthy,
)
from tasks.operations.health_outcome import (
    exit_outcome,
    health_outcome,
    password_refused_outcome,
)
from tasks.operations.host_fence import (
    adopt_attempt,
    find_rejection,
    probe_home,
)
from tasks.operations.lock_stage import LOCK_KEY, LOCK_STAGE, take_lock
from tasks.operations.names import START_OB
from tasks.operations.params import StartParams, with_params
from tasks.operations.start_outcome import failed_start_outcome, unknown_start_outcome
from tasks.operations.stop_process import is_stopped, stop_process
from tasks.operations.unconfirmed import resolve_unconfirmed
from tasks.preflight.decide import Blocked, NoOp, Start
from tasks.preflight.inspect import HostInspector
from tasks.sql.connection import SqlNotReady, SqlPasswordRefused, query_value

CHECK = "Check servers"
START = "Start observers"
HEALTH = "Wait for observers to become healthy"
CLUSTER = "Start servers and zones"
VERIFY = "Verify the cluster"

_RESPONSE_MARGIN_S = 30.0
_START_LIMIT_S = 2 * (START_DEADLINE_S + _RESPONSE_MARGIN_S) + 20  # a lost command is repeated once
_FLAGS = Flags(can_cancel=True, can_continue=True, can_retry=True, can_rollback=True, can_pass=True)


def start_operation(access: ClusterAccess) -> Operation:
    """Return the operation; every attempt reads the current cluster file."""
    steps = _Steps(access, HostInspector(access.clock))
    typed = partial(with_params, StartParams.from_json)
    normal, lane = StageKind.NORMAL, StageKind.PARALLEL
    return Operation(
        START_OB,
        (
            Stage(LOCK_STAGE, normal, typed(steps.lock), flags=_FLAGS, timeout_s=300),
            Stage(CHECK, lane, typed(steps.check), flags=_FLAGS, timeout_s=120),
            Stage(
                START,
                lane,
                typed(steps.start),
                confirm_stopped=steps.confirm_stopped,
                undo=steps.undo_start,
                flags=_FLAGS,
                timeout_s=_START_LIMIT_S,
            ),
            Stage(
                HEALTH,
                lane,
                typed(steps.wait),
                flags=_FLAGS,
                timeout_s=LIMIT_S + STABLE_LIMIT_S + 60,
            ),
            Stage(CLUSTER, normal, typed(steps.start_cluster), flags=_FLAGS, timeout_s=700),
            Stage(VERIFY, normal, typed(steps.verify), flags=_FLAGS, timeout_s=1500),
        ),
        lock_key=LOCK_KEY,
        takes_lock=LOCK_STAGE,
    )


@dataclass(frozen=True, slots=True)
class _Steps:
    access: ClusterAccess
    inspector: HostInspector

    async def lock(self, context: StepContext, params: StartParams) -> Outcome:
        """Run stage 1."""
        return await take_lock(context, params.force_pass, self.access.cluster.find_notices())

    async def check(self, context: StepContext, params: StartParams) -> Outcome:
        """Run stage 2."""
        server, runner = self._server(context)
        if (unresolved := await resolve_unconfirmed(context, server, runner)) is not None:
            return unresolved
        address = server.address
        context.wait_for("ssh", messages.FACTS(host=address.host, port=address.port))
        return await self.inspector.check(context, server, runner, params.skip_checks)

    async def start(self, context: StepContext, params: StartParams) -> Outcome:
        """Run stage 3."""
        server, runner = self._server(context)
        with self.access.starts.follow(server.name):
            return await self._start(context, params, server, runner)

    async def _start(
        self, context: StepContext, params: StartParams, server: Server, runner: Runner
    ) -> Outcome:
        if (refusal := await adopt_attempt(context, server, runner)) is not None:
            return refusal
        context.wait_for("ssh", messages.SERVER_START(server=server.name))
        decision = self._cached_decision(context) or await self.inspector.decide(
            context, server, runner, params.skip_checks
        )
        match decision:
            case Blocked(code, message, remedy):
                text = messages.SERVER_PROBLEM(server=server.name, reason=message)
                return Failed(retryable_problem(code, text, remedy))
            case NoOp(reason, process):
                ours = process.by == context.generic_id
                line = messages.STARTED_BEFORE if ours else messages.START_UNNECESSARY
                await context.log(line(server=server.name, reason=reason))
                awaits_password = decision.awaits_password
                return _started(process, 0, was_running=not ours, awaits_password=awaits_password)
            case _:
                kind = decision.kind
        if kind is StartKind.LATER:
            how = messages.CONFIGURED_BEFORE()
        else:
            how = messages.WITH_OPTIONS(options=" ".join(first_start_options(server)))
        await context.log(messages.STARTING(server=server.name, program=server.binary, how=how))
        self.access.cluster.root_password()  # fail before root could be left without one
        report = await self._launch(context, server, runner, kind)
        if (problem := find_rejection(report, context.fencing_token, server)) is not None:
            return Failed(problem)
        for path in report.moved_aside:
            await context.log(messages.LEFTOVERS_MOVED(server=server.name, path=path))
        return await self._start_outcome(context, server, runner, report, decision)

    async def undo_start(self, context: StepContext) -> Outcome:
        """Roll back stage 3: end the server if this DAG started it."""
        server, runner = self._server(context)
        if (refusal := await self.inspector.refuse_stop(server, runner)) is not None:
            return Failed(refusal)
        outcome = await stop_process(
            context,
            server,
            runner,
            self.access.cluster.current.kill_after_s,
            context.generic_id,
        )
        if is_stopped(outcome):
            self.access.record(server, NOT_RUNNING)
        return outcome

    async def confirm_stopped(self, context: StepContext) -> bool:
        """Return whether nothing of stage 3 is running, that is, its lock can be taken."""
        server, runner = self._server(context)
        return (await probe_home(context, server, runner)).outcome is ProbeOutcome.DONE

    async def wait(self, context: StepContext, params: StartParams) -> Outcome:
        """Run stage 4."""
        server, runner = self._server(context)
        with self.access.starts.follow(server.name):
            return await self._wait(context, params, server, runner)

    async def _wait(
        self, context: StepContext, params: StartParams, server: Server, runner: Runner
    ) -> Outcome:
        if (refusal := await adopt_attempt(context, server, runner)) is not None:
            return refusal
        monitored = await self._monitored_server(context, params, server)
        if isinstance(monitored, Failed):
            return monitored
        try:
            result = await wait_until_healthy(monitored, context, self.access.clock)
        except SqlPasswordRefused:
            source = self.access.cluster.current.root_password.name
            return password_refused_outcome(monitored, source)
        outcome = await health_outcome(result, monitored, context)
        if isinstance(result, Healthy):
            state = RESTRICTED if server.flavour.forms_cluster else AVAILABLE
            self.access.record(server, state, version=result.version)
            if server.flavour.can_initialise:
                # From now on the home holds a database, even if its log is removed.
                refusal = await remove_first_start_marker(context, server, runner)
                return refusal or outcome
        return outcome

    async def start_cluster(self, context: StepContext, params: StartParams) -> Outcome:
        """Run stage 5."""
        return await select_actions(self.access).start_cluster(context, params.scope)

    async def verify(self, context: StepContext, params: StartParams) -> Outcome:
        """Run stage 6."""
        async with asyncio.TaskGroup() as group:
            verifying = {
                name: group.create_task(
                    self._verify_one(context, params, name), name=f"verify {name}"
                )
                for name in context.healthy_targets
            }
        problems = [failed.problem for task in verifying.values() if (failed := task.result())]
        sound = [name for name, task in verifying.items() if task.result() is None]
        confirmed = await select_actions(self.access).confirm_service(context, sound)
        problems += confirmed.problems
        if problems:
            for problem in problems[:-1]:
                await context.log(problem.render())
            return Failed(problems[-1], confirmed.evidence)
        summary = messages.SERVERS_IN_SERVICE(count=len(sound), total=len(context.targets))
        return Succeeded(evidence=confirmed.evidence, summary=summary)

    # --- internal functions ---

    def _server(self, context: StepContext) -> tuple[Server, Runner]:
        assert context.target is not None
        server = self.access.server(context.target)
        return server, self.access.runner(server)

    def _cached_decision(self, context: StepContext) -> Start | None:
        """Return stage 2's recent decision, if any; the start script verifies it under the lock."""
        data = None if context.resumed else context.data_of(CHECK, context.target)
        if not data or "kind" not in data:
            return None
        return Start(StartKind(data["kind"]), awaits_password=bool(data["awaits_password"]))

    async def _monitored_server(
        self, context: StepContext, params: StartParams, server: Server
    ) -> MonitoredServer | Failed:
        """Return the process from stage 3, or the running one if stage 3 was passed."""
        cluster, runner = self.access.cluster, self.access.runner(server)
        password, logins = cluster.root_password(), cluster.logins
        data = context.data_of(START, server.name)
        if data is not None:
            process = ProcessIdentity(**data["process"])
            is_first, awaits = bool(data.get("is_first")), bool(data.get("awaits_password"))
            log_from = data["log_from"]
            return MonitoredServer(
                *(server, runner, process, log_from, password, logins), is_first, awaits
            )
        decision = await self.inspector.decide(context, server, runner, params.skip_checks)
        if isinstance(decision, NoOp):
            awaits = decision.awaits_password
            return MonitoredServer(
                *(server, runner, decision.process, 0, password, logins), awaits_password=awaits
            )
        message = messages.STAGE_PASSED(server=server.name, stage=START)
        return _failed(message, messages.START_IT())

    async def _launch(
        self, context: StepContext, server: Server, runner: Runner, kind: StartKind
    ) -> StartReport:
        command = start_command(server, context.generic_id, kind, context.fencing_token)
        try:
            result = await runner.run(command, timeout_s=START_DEADLINE_S + _RESPONSE_MARGIN_S)
        except ConnectionLost as exc:
            # Repeating is safe: the script inspects the home first, under the lost command's lock.
            await context.log(messages.CONNECTION_LOST(server=server.name, reason=exc.message))
            result = await runner.run(command, timeout_s=START_DEADLINE_S + _RESPONSE_MARGIN_S)
        ensure_completed(result, command, runner)
        return parse_start(result.stdout)

    async def _start_outcome(
        self,
        context: StepContext,
        server: Server,
        runner: Runner,
        report: StartReport,
        decision: Start,
    ) -> Outcome:
        if report.outcome in (StartOutcome.HUNG, StartOutcome.STUCK):
            return unknown_start_outcome(server, report)
        process, is_first = report.process, decision.kind is not StartKind.LATER
        if process is not None:
            ours = process.by == context.generic_id
            line = messages.STARTED if ours else messages.FOUND_RUNNING
            await context.log(line(server=server.name, pid=process.pid))
            return _started(
                process,
                report.log_from,
                was_running=not ours,
                is_first=is_first,
                awaits_password=decision.awaits_password,
            )
        if report.status == 0 and not report.doubts:
            gone = ProcessIdentity("", 0, 0, 0, "")
            logins = self.access.cluster.logins
            monitored = MonitoredServer(server, runner, gone, report.log_from, "", logins, is_first)
            return await exit_outcome(monitored, context)
        return failed_start_outcome(server, report)

    async def _verify_one(
        self, context: StepContext, params: StartParams, name: str
    ) -> Failed | None:
        try:
            return await self._reinspect(context, params, self.access.server(name))
        except DagengineError as exc:
            # An unreachable host must not affect the verification of the other servers.
            return _check_failed(name, exc)

    async def _reinspect(
        self, context: StepContext, params: StartParams, server: Server
    ) -> Failed | None:
        monitored = await self._monitored_server(context, params, server)
        if isinstance(monitored, Failed):
            return monitored
        gone, refused = await asyncio.gather(
            is_gone(monitored), _query_again(monitored), return_exceptions=True
        )
        if isinstance(gone, BaseException):
            raise gone
        if isinstance(refused, BaseException):
            raise refused
        if gone or (refused is not None and await is_gone(monitored)):
            return await exit_outcome(monitored, context)
        if refused is not None:
            return refused
        pid = monitored.process.pid
        await context.log(messages.SAME_PROCESS(server=server.name, pid=pid))
        return None


async def _query_again(monitored: MonitoredServer) -> Failed | None:
    """Log in a second time, and run a query."""
    try:
        async with monitored.log_in(monitored.password) as connection:
            await query_value(connection, "select 1")
    except (SqlNotReady, SqlPasswordRefused) as exc:
        return _check_failed(monitored.server.name, exc)
    return None


def _started(
    process: ProcessIdentity,
    log_from: int,
    *,
    was_running: bool,
    is_first: bool = False,
    awaits_password: bool = False,
) -> Succeeded:
    data: Mapping[str, Any] = {
        "process": asdict(process),
        "log_from": log_from,
        "is_first": is_first,
        "awaits_password": awaits_password,
    }
    return Succeeded(data, {"pid": process.pid, "started": not was_running})


def _failed(message: str, remedy: str) -> Failed:
    return Failed(retryable_problem(Code.NOT_STARTED, message, remedy))


def _check_failed(name: str, exc: DagengineError) -> Failed:
    message = messages.SERVER_PROBLEM(server=name, reason=exc.message)
    return Failed(retryable_problem(exc.err_code, message, exc.remedy or messages.CHECK_SERVER()))

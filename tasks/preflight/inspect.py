"""Inspection of a server's host: collect facts, run the checks, report the results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dagengine import Clock, Failed, Outcome, Problem, StepContext, Succeeded
from dagengine.errors import ForwardingProhibited
from dagengine.remote import Runner
from tasks.cluster.servers import Server
from tasks.errors import retryable_problem
from tasks.hosts.commands import facts_command
from tasks.hosts.facts import HostFacts, clock_difference_s, parse_facts
from tasks.hosts.home_state import describe_kind
from tasks.hosts.meta_db import add_parameters
from tasks.hosts.query import run_query
from tasks.preflight import messages
from tasks.preflight.decide import Blocked, Decision, NoOp, decide_start
from tasks.preflight.decide_stop import decide_stop
from tasks.preflight.result import CheckResult, Severity, StartTarget
from tasks.sql.route import sql_host

_EXCERPT_LENGTH = 200


async def gather_facts(
    server: Server, runner: Runner, clock: Clock, *, with_version: bool = False
) -> HostFacts:
    """Query a host's facts in one round trip; `complete` is False if the response was truncated.

    Raises:
        RemoteError: the host could not be queried.
    """
    sent_ms = clock.now().timestamp() * 1000
    result = await run_query(runner, facts_command(server, with_version=with_version))
    received_ms = clock.now().timestamp() * 1000
    facts = parse_facts(result.stdout)
    if not facts.complete:
        return replace(
            facts, output_tail=(result.stderr or result.stdout).strip()[-_EXCERPT_LENGTH:]
        )
    if facts.process is None and server.sql_port not in facts.listening:
        facts = await _add_forwarding(server, runner, facts)
    if facts.process is None and server.flavour.can_initialise:
        facts = replace(facts, files=await add_parameters(runner, server.home, facts.files))
    if facts.now_ms is None or facts.now_ms < 0:
        return facts
    return replace(facts, clock_off_s=clock_difference_s(sent_ms, facts.now_ms, received_ms))


async def _add_forwarding(server: Server, runner: Runner, facts: HostFacts) -> HostFacts:
    """Add whether sshd will forward to the SQL port, which a start would notice only later."""
    try:
        await runner.ensure_forwarding(sql_host(server), server.sql_port)
    except ForwardingProhibited as exc:
        return replace(facts, forwarding_problem=exc.message, forwarding_remedy=exc.remedy)
    return facts


class HostInspector:
    """Inspects the hosts of a start, and remembers the builds seen in the current DAG."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._dag = ""
        self._programs: dict[str, int] = {}

    async def check(
        self, context: StepContext, server: Server, runner: Runner, skip: Collection[str]
    ) -> Outcome:
        """Run stage 2: log one line per problem, or a single line if there are none."""
        decision = await self.decide(context, server, runner, skip)
        check_results = decision.check_results
        evidence = describe_check_results(check_results)
        blocked = isinstance(decision, Blocked)
        for line in render_check_results(server.name, check_results, but_first_block=blocked):
            await context.log(line)
        match decision:
            case Blocked(code, message, remedy):
                cause = messages.SERVER_PROBLEM(server=server.name, problem=message)
                return Failed(retryable_problem(code, cause, remedy), evidence)
            case NoOp(reason):
                await context.log(messages.NOTHING_TO_START(server=server.name, reason=reason))
                return Succeeded(evidence=evidence)
            case _:
                kind, count = describe_kind(decision.kind), len(check_results)
                await context.log(
                    messages.START_PERMITTED(server=server.name, kind=kind, count=count)
                )
                data = {"kind": str(decision.kind), "awaits_password": decision.awaits_password}
                return Succeeded(data, evidence)

    async def decide(
        self, context: StepContext, server: Server, runner: Runner, skip: Collection[str]
    ) -> Decision:
        """Query the host and decide.

        Args:
            context: of the step.
            server: the server to be started.
            runner: for its host.
            skip: names of checks whose block is ignored.

        Raises:
            RemoteError: the host could not be queried.
        """
        facts = await gather_facts(server, runner, self._clock)
        others = self._other_programs(context, server, facts)
        return decide_start(facts, StartTarget(server, others, context.fencing_token), skip)

    async def refuse_stop(self, server: Server, runner: Runner) -> Problem | None:
        """Return why the server must not be stopped from here; None if it may be stopped."""
        facts = await gather_facts(server, runner, self._clock)
        decision = decide_stop(facts, home=server.home)
        is_ours = facts.process is not None and facts.process.owner == facts.uid
        if isinstance(decision, Blocked) and (facts.process is None or is_ours):
            cause = messages.SERVER_PROBLEM(server=server.name, problem=decision.message)
            return Problem(decision.code, cause, decision.remedy)
        return None

    def _other_programs(
        self, context: StepContext, server: Server, facts: HostFacts
    ) -> Mapping[str, int]:
        if self._dag != context.generic_id:
            self._dag, self._programs = context.generic_id, {}
        others = {name: size for name, size in self._programs.items() if name != server.name}
        if facts.program_bytes is not None:
            self._programs[server.name] = facts.program_bytes
        return others


def render_check_results(
    name: str, check_results: Sequence[CheckResult], *, but_first_block: bool
) -> list[str]:
    """Return log lines for all problems, except the first block if the outcome reports it."""
    formats = {
        Severity.BLOCK: messages.ALSO_BLOCKED,
        Severity.WARN: messages.WARNED,
        Severity.SKIPPED: messages.SKIPPED,
    }
    reported = [result for result in check_results if result.level in formats]
    if but_first_block:
        first = next((each for each in reported if each.level is Severity.BLOCK), None)
        reported = [each for each in reported if each is not first]
    return [formats[each.level](server=name, check_result=str(each)) for each in reported]


def describe_check_results(check_results: Sequence[CheckResult]) -> dict[str, Any]:
    """Return the same results for `additional_data.evidence`."""
    problems = [
        check_result.as_evidence()
        for check_result in check_results
        if check_result.level is not Severity.OK
    ]
    return {"checks": problems} if problems else {}

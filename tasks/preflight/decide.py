"""Decision of a start, from the facts about a host. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from tasks.hosts.facts import HostFacts
from tasks.hosts.home_state import Contradictory, Empty, FailedFirstStart, HasData, StartKind
from tasks.hosts.identity import ProcessIdentity
from tasks.preflight.checks import CHECKS, run_checks
from tasks.preflight.result import CheckResult, Severity, SkipPolicy, StartTarget


@dataclass(frozen=True, slots=True)
class Blocked:
    """Decision that the server must not be started.

    Attributes:
        code: stable errCode.
        message: the problem and its location.
        remedy: the next step for the operator.
        verdicts: of every check; empty if the checks could not run.
    """

    code: str
    message: str
    remedy: str
    check_results: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True)
class NoOp:
    """Decision that nothing needs to be done.

    Attributes:
        reason: the reason.
        process: the running server.
        verdicts: of every check.
        awaits_password: whether no first start was ever confirmed, so that root may have no
            password yet.
    """

    reason: str
    process: ProcessIdentity
    check_results: tuple[CheckResult, ...] = ()
    awaits_password: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Decision for a first or later start; `awaits_password` as for NoOp."""

    kind: StartKind
    check_results: tuple[CheckResult, ...] = ()
    awaits_password: bool = False


Decision: TypeAlias = Blocked | NoOp | Start


def decide_start(
    facts: HostFacts, start_target: StartTarget, skip: Collection[str] = ()
) -> Decision:
    """Decide what a start does with a server.

    Args:
        facts: about its host.
        start_target: the server to be started.
        skip: names of checks whose block is ignored.
    """
    if not facts.complete:
        return block_truncated(facts, start_target.server.address.user)
    check_results = tuple(run_checks(facts, start_target, skip))
    for check_result in check_results:
        if check_result.level is Severity.BLOCK:
            return Blocked(
                check_result.code, check_result.cause, _remedy(check_result, facts), check_results
            )
    if facts.process is not None:
        reason = f"already running, pid {facts.process.pid}"
        return NoOp(reason, facts.process, check_results, bool(facts.files.first_start))
    match start_target.home_state(facts):
        case Empty():
            return Start(StartKind.FIRST, check_results, awaits_password=True)
        case FailedFirstStart():
            return Start(StartKind.LEFTOVER, check_results, awaits_password=True)
        case HasData():
            return Start(StartKind.LATER, check_results, bool(facts.files.first_start))
        case Contradictory(cause, remedy):  # the check `first-start` blocks, and cannot be skipped
            return Blocked("OB.Server.HasNotBeenStarted", cause, remedy, check_results)


def block_truncated(facts: HostFacts, user: str = "the SSH user") -> Blocked:
    """Block because the facts are incomplete."""
    return Blocked(
        "Agent.RPC.RequestFailed",
        f"the response of the host was truncated: {facts.said!r}",
        f"check the login shell of {user}",
    )


def _remedy(check_result: CheckResult, facts: HostFacts) -> str:
    """Return the remedy, with a hint if the check may be skipped without harm."""
    skip = next(check.skip for check in CHECKS if check.name == check_result.check)
    if skip is SkipPolicy.NO or (skip is SkipPolicy.NOT_BY_ROOT and facts.uid == 0):
        return check_result.remedy
    return f"{check_result.remedy} (or start with --skip-check {check_result.check})"

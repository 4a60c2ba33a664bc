"""Decision of a start, from the facts about a host. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from tasks.errors import Code
from tasks.hosts.facts import HostFacts
from tasks.hosts.home_state import Contradictory, Empty, FailedFirstStart, HasData, StartKind
from tasks.hosts.identity import ProcessIdentity
from tasks.preflight import messages
from tasks.preflight.checks import CHECKS
from tasks.preflight.registry import CheckRegistry
from tasks.preflight.result import CheckResult, Severity, StartTarget


@dataclass(frozen=True, slots=True)
class Blocked:
    """Decision that the server must not be started.

    Attributes:
        code: stable errCode.
        message: the problem and its location.
        remedy: the next step for the operator.
        check_results: of every check; empty if the checks could not run.
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
        check_results: of every check.
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
    facts: HostFacts,
    start_target: StartTarget,
    skip: Collection[str] = (),
    checks: CheckRegistry = CHECKS,
) -> Decision:
    """Decide what a start does with a server.

    Args:
        facts: about its host.
        start_target: the server to be started.
        skip: names of checks whose block is ignored.
        checks: the checks to run.
    """
    if not facts.complete:
        return block_truncated(facts, start_target.server.address.user)
    check_results = tuple(checks.run(facts, start_target, skip))
    for check_result in check_results:
        if check_result.level is Severity.BLOCK:
            remedy = check_result.remedy
            if checks[check_result.check].may_be_skipped(facts):
                remedy = messages.OR_SKIP_CHECK(remedy=remedy, check=check_result.check)
            return Blocked(check_result.code, check_result.cause, remedy, check_results)
    if facts.process is not None:
        reason = messages.ALREADY_RUNNING(pid=facts.process.pid)
        return NoOp(reason, facts.process, check_results, bool(facts.files.first_start))
    match start_target.home_state(facts):
        case Empty():
            return Start(StartKind.FIRST, check_results, awaits_password=True)
        case FailedFirstStart():
            return Start(StartKind.LEFTOVER, check_results, awaits_password=True)
        case HasData():
            return Start(StartKind.LATER, check_results, bool(facts.files.first_start))
        case Contradictory(cause, remedy):  # the check `first-start` blocks, and cannot be skipped
            return Blocked(Code.NOT_STARTED, cause, remedy, check_results)


def block_truncated(facts: HostFacts, user: str = "") -> Blocked:
    """Block because the facts are incomplete; `user` is the one of the login, if known."""
    return Blocked(
        Code.REQUEST_FAILED,
        messages.RESPONSE_TRUNCATED(output=facts.output_tail),
        messages.CHECK_LOGIN_SHELL(user=user or messages.SSH_USER()),
    )

"""Decision of a start, from the facts about a host. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from tasks.hosts.facts import HostFacts
from tasks.hosts.home_state import Contradictory, Empty, FailedFirstStart, HasData, StartKind
from tasks.hosts.identity import ProcessIdentity
from tasks.preflight.checks import CHECKS, decide_verdicts
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
    verdicts: tuple[CheckResult, ...] = ()


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
    verdicts: tuple[CheckResult, ...] = ()
    awaits_password: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Decision for a first or later start; `awaits_password` as for NoOp."""

    kind: StartKind
    verdicts: tuple[CheckResult, ...] = ()
    awaits_password: bool = False


Decision: TypeAlias = Blocked | NoOp | Start


def decide_start(facts: HostFacts, wish: StartTarget, skip: Collection[str] = ()) -> Decision:
    """Decide what a start does with a server.

    Args:
        facts: about its host.
        wish: the server to be started.
        skip: names of checks whose block is ignored.
    """
    if not facts.complete:
        return Blocked(
            "Agent.RPC.RequestFailed",
            f"the host's answer broke off: {facts.said!r}",
            f"look at the login shell of {wish.server.address.user}",
        )
    verdicts = tuple(decide_verdicts(facts, wish, skip))
    for verdict in verdicts:
        if verdict.level is Severity.BLOCK:
            return Blocked(verdict.code, verdict.cause, _remedy(verdict, facts), verdicts)
    if facts.process is not None:
        reason = f"already running, pid {facts.process.pid}"
        return NoOp(reason, facts.process, verdicts, bool(facts.files.first_start))
    match wish.home_state(facts):
        case Empty():
            return Start(StartKind.FIRST, verdicts, awaits_password=True)
        case FailedFirstStart():
            return Start(StartKind.LEFTOVER, verdicts, awaits_password=True)
        case HasData():
            return Start(StartKind.LATER, verdicts, bool(facts.files.first_start))
        case Contradictory(cause, remedy):  # the check `first-start` blocks, and cannot be skipped
            return Blocked("OB.Server.HasNotBeenStarted", cause, remedy, verdicts)


def _remedy(verdict: CheckResult, facts: HostFacts) -> str:
    """Return the remedy, with a hint if the check may be skipped without harm."""
    skip = next(check.skip for check in CHECKS if check.name == verdict.check)
    if skip is SkipPolicy.NO or (skip is SkipPolicy.NOT_BY_ROOT and facts.uid == 0):
        return verdict.remedy
    return f"{verdict.remedy} (or start with --skip-check {verdict.check})"

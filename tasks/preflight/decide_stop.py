"""Decision of a stop, from the facts about a host. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from dagengine import FencingToken
from tasks.cluster.servers import Server
from tasks.errors import Code
from tasks.hosts.facts import HostFacts
from tasks.hosts.fence import FenceVerdict, compare_token, explain_fence
from tasks.hosts.identity import (
    ProcessIdentity,
    explain_doubt,
    explain_listener,
    explain_unanswered,
)
from tasks.preflight import messages
from tasks.preflight.decide import Blocked, block_truncated
from tasks.preflight.management import find_other_manager


@dataclass(frozen=True, slots=True)
class NothingRuns:
    """Decision that nothing needs to be stopped."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Decision to stop a running server that belongs to this login."""

    process: ProcessIdentity


StopDecision: TypeAlias = Blocked | NothingRuns | Stop


def decide_stop(
    facts: HostFacts, *, home: str, sql_port: int = 0, with_freeze: bool = False
) -> StopDecision:
    """Decide what a stop does with a server.

    Args:
        facts: about its host.
        home: of the server.
        sql_port: a listener there that may be the server blocks the stop; 0 disables this check.
        with_freeze: whether the server has to write its memory to disk first.
    """
    if not facts.complete:
        return block_truncated(facts)
    process, code = facts.process, Code.CHECK_FAILED
    if home in facts.unanswered:
        return Blocked(code, *explain_unanswered(home))
    if facts.doubts:
        return Blocked(code, *explain_doubt(facts.doubts[0], home))
    if process is None:
        return _decide_without_server(facts, home, sql_port)
    if process.owner != facts.uid:
        return Blocked(
            code,
            messages.OTHER_USER(owner=process.owner, pid=process.pid, home=home),
            messages.LOG_IN(uid=facts.uid),
        )
    if (manager := find_other_manager(facts)) is not None:
        return Blocked(code, manager.cause, manager.remedy)
    if with_freeze and facts.former_home:
        return Blocked(
            code,
            messages.HOME_MOVED(pid=process.pid, home=home, former_home=facts.former_home),
            messages.MOVE_HOME_BACK(home=home, former_home=facts.former_home),
        )
    return Stop(process)


def block_rejected(facts: HostFacts, server: Server, token: FencingToken) -> Blocked | None:
    """Block if the home would reject a token; the stop script decides it under the lock."""
    verdict = compare_token(facts.fence, token)
    if not facts.complete or verdict is FenceVerdict.PASSED:
        return None
    cause, remedy = explain_fence(verdict, facts.fence, token, server.home, server.name)
    return Blocked(Code.CHECK_FAILED, cause, remedy)


def _decide_without_server(facts: HostFacts, home: str, sql_port: int) -> StopDecision:
    """Check that the SQL port does not contradict the end of the server."""
    for listener in facts.listeners.get(sql_port, ()):
        if listener.may_be_server:
            cause, remedy = explain_listener(listener, sql_port, home)
            return Blocked(Code.CHECK_FAILED, cause, remedy)
    return NothingRuns()

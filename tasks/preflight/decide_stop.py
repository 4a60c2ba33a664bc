"""Decision of a stop, from the facts about a host. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tasks.errors import Code
from tasks.hosts.facts import HostFacts
from tasks.hosts.identity import ProcessIdentity, explain_doubt, explain_listener
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


def decide_stop(facts: HostFacts, *, home: str, sql_port: int = 0) -> StopDecision:
    """Decide what a stop does with a server.

    Args:
        facts: about its host.
        home: of the server.
        sql_port: a listener there that may be the server blocks the stop; 0 disables this check.
    """
    if not facts.complete:
        return block_truncated(facts)
    process, code = facts.process, Code.CHECK_FAILED
    if home in facts.unanswered:
        cause = f"the file system of {home} does not answer"
        return Blocked(code, cause, "unmount or repair the dead NFS or FUSE mount on the host")
    if facts.doubts:
        return Blocked(code, *explain_doubt(facts.doubts[0], home))
    if process is None:
        for listener in facts.listeners.get(sql_port, ()):
            if listener.may_be_server:
                return Blocked(code, *explain_listener(listener, sql_port, home))
        return NothingRuns()
    if process.owner != facts.uid:
        return Blocked(
            code,
            f"a server of another user (uid {process.owner}, pid {process.pid}) runs in {home}",
            f"log in as that user, or become it (ssh.sudo); this login has uid {facts.uid}",
        )
    if (manager := find_other_manager(facts)) is not None:
        return Blocked(code, manager.cause, manager.remedy)
    return Stop(process)

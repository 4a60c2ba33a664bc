"""From facts to what a stop does with a server's process. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tasks.decide import Blocked
from tasks.facts import HostFacts, ProcessIdentity
from tasks.judges import judge_manager


@dataclass(frozen=True, slots=True)
class NothingRuns:
    """There is nothing to stop."""


@dataclass(frozen=True, slots=True)
class Stop:
    """It runs, and is ours to stop."""

    process: ProcessIdentity


StopDecision: TypeAlias = Blocked | NothingRuns | Stop


def decide_stop(facts: HostFacts, *, home: str) -> StopDecision:
    """What to do with a server whose host said this."""
    if not facts.complete:
        return Blocked(
            "Agent.RPC.RequestFailed",
            "the host's answer broke off",
            "look at the login shell of the user that we log in as",
        )
    process = facts.process
    if process is None:
        return NothingRuns()
    if process.owner != facts.uid:
        return Blocked(
            "OB.Server.Process.CheckFailed",
            f"a server of another user (uid {process.owner}, pid {process.pid}) runs in {home}",
            f"log in as that user, or become it (ssh.sudo); this login has uid {facts.uid}",
        )
    if (managed := judge_manager(facts)) is not None:
        return Blocked(managed.code, managed.cause, managed.remedy)
    return Stop(process)

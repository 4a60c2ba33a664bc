"""From facts and a wish to what is to be done. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tasks.facts import HostFacts, ProcessIdentity
from tasks.flavour import Flavour

_NEEDED_BYTES = 1_300_000_000  # a fresh server takes 1.2 GB of disk


@dataclass(frozen=True, slots=True)
class Blocked:
    """It must not be started.

    Attributes:
        code: stable errCode.
        message: what is wrong, where.
        remedy: what to do next.
    """

    code: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class NoOp:
    """There is nothing to do."""

    reason: str
    process: ProcessIdentity


@dataclass(frozen=True, slots=True)
class Start:
    """Start it; `is_first` when it has never completed a start here."""

    is_first: bool
    warnings: tuple[str, ...] = ()


Decision: TypeAlias = Blocked | NoOp | Start


def decide_start(facts: HostFacts, flavour: Flavour, *, home: str, sql_port: int) -> Decision:
    """What to do with a server whose host said this."""
    if facts.process is not None:
        return _decide_running(facts, facts.process, home)
    blocked = _find_blocker(facts, flavour, home=home, sql_port=sql_port)
    if blocked is not None:
        return blocked
    warnings = []
    free = facts.free_bytes
    if not facts.initialised and free is not None and free < _NEEDED_BYTES:
        warnings.append(f"only {free:,} bytes are free for {home}; a first start takes 1.2 GB")
    return Start(not facts.initialised, tuple(warnings))


def _decide_running(facts: HostFacts, process: ProcessIdentity, home: str) -> Decision:
    if process.owner != facts.uid:
        return Blocked(
            "OB.Server.Process.CheckFailed",
            f"a server of another user (uid {process.owner}, pid {process.pid}) runs in {home}",
            f"log in as that user, or stop it; this login has uid {facts.uid}",
        )
    return NoOp(f"already running, pid {process.pid}", process)


def _find_blocker(
    facts: HostFacts, flavour: Flavour, *, home: str, sql_port: int
) -> Blocked | None:
    code = "Common.IllegalArgument"
    if not facts.has_tools:
        return Blocked(code, "flock or setsid is missing on the host", "install util-linux there")
    if facts.home != "directory":
        what = "is no directory" if facts.home else "does not exist"
        return Blocked(
            code, f"the home {home} {what}", "make it, or correct `home` in the cluster file"
        )
    if facts.home_owner != facts.uid:
        return Blocked(
            code,
            f"the home {home} belongs to uid {facts.home_owner}, this login has {facts.uid}",
            "log in as its owner, or give it to this user",
        )
    if not facts.home_writable:
        return Blocked(code, f"the home {home} is not writable", "mend its permissions")
    if not facts.binary_executable:
        what = "is not executable" if facts.binary_present else "does not exist"
        program = f"{home}/{flavour.program}"
        return Blocked(code, f"the program {program} {what}", f"install {flavour.name} there")
    if not facts.initialised and not flavour.can_initialise:
        return never_started(flavour, home)
    if facts.listening:
        return Blocked(
            "Common.InvalidPort",
            f"port {sql_port} is taken by another program",
            "stop what listens there, or set another sql_port",
        )
    return None


def never_started(flavour: Flavour, home: str) -> Blocked:
    """A first start that is not this program's to make."""
    return Blocked(
        "OB.Server.HasNotBeenStarted",
        f"it has never been started: {home}/{flavour.started_before} does not exist",
        "bootstrap the cluster first (with obd, say), or correct `home` in the cluster file",
    )

"""What a check of a server's host ends in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from tasks.cluster.cluster_file import Server
from tasks.hosts.facts import HostFacts
from tasks.hosts.home_state import HomeState, decide_home


class Severity(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    BLOCK = "block"
    SKIPPED = "skipped"  # it would block, but somebody asked to skip it by name


class SkipPolicy(StrEnum):
    """May a blocker be skipped?"""

    YES = "yes"
    NO = "no"  # the start would do harm, or could not even be tried
    NOT_BY_ROOT = "not by root"  # root would leave files that their owner cannot use


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        level: WARN or BLOCK.
        cause: what is wrong, where.
        remedy: what to do about it.
        code: errCode of a block.
    """

    level: Severity
    cause: str
    remedy: str
    code: str = "Common.IllegalArgument"


@dataclass(frozen=True, slots=True)
class StartTarget:
    """What is to be started, and what else is known about it.

    Attributes:
        server: as the cluster file says now.
        other_programs: size of the program on other servers, by their names.
    """

    server: Server
    other_programs: Mapping[str, int] = field(default_factory=dict)

    def home_state(self, facts: HostFacts) -> HomeState:
        """Decide what the home holds."""
        server = self.server
        return decide_home(
            facts.files, server.flavour, data_dir=server.data_dir, redo_dir=server.redo_dir
        )


Judge: TypeAlias = Callable[[HostFacts, StartTarget], Finding | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One named question about a server's host.

    Attributes:
        name: by which it is skipped.
        looks_at: one line for a person.
        levels: what it may end in beside ok.
        skip: whether its block may be skipped.
        remedy: one line for a person.
        judge: the decision; None for ok.
        needs_home: there is nothing to judge when the home is missing.
        when_running: also asked when the server runs already; a block is a warning then.
    """

    name: str
    looks_at: str
    levels: str
    skip: SkipPolicy
    remedy: str
    judge: Judge
    needs_home: bool = True
    when_running: bool = False


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How one check ended."""

    check: str
    level: Severity
    cause: str = ""
    remedy: str = ""
    code: str = ""

    def as_evidence(self) -> dict[str, Any]:
        """For a caller."""
        return {
            "check": self.check,
            "level": str(self.level),
            "cause": self.cause,
            "remedy": self.remedy,
        }

    def __str__(self) -> str:
        return f"[{self.check}] {self.cause}; {self.remedy}"

"""Results of the checks of a server's host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dagengine import FencingToken
from tasks.cluster.servers import Server
from tasks.hosts.facts import HostFacts
from tasks.hosts.home_state import HomeState, decide_home
from tasks.preflight import messages


class Severity(StrEnum):
    """Severity of a check's result."""

    OK = "ok"
    WARN = "warn"
    BLOCK = "block"
    SKIPPED = "skipped"  # would block, but the request skips the check by name


class SkipPolicy(StrEnum):
    """Whether a block may be skipped."""

    YES = "yes"
    NO = "no"  # the start would do harm, or is impossible
    NOT_BY_ROOT = "not by root"  # root would leave files that their owner cannot use


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem found by a check.

    Attributes:
        cause: the problem and its location.
        remedy: a remedy with details of this problem; empty if the check's own is sufficient.
        severity: WARN or BLOCK; None for the severity of the check.
    """

    cause: str
    remedy: str = ""
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class StartTarget:
    """The server to be started, and further facts for the checks.

    Attributes:
        server: as in the current cluster file.
        other_programs: size of the program on other servers, by server name.
        token: the fencing token of the start; None if it is not known.
    """

    server: Server
    other_programs: Mapping[str, int] = field(default_factory=dict)
    token: FencingToken | None = None

    def home_state(self, facts: HostFacts) -> HomeState:
        """Decide what the home holds."""
        server = self.server
        return decide_home(
            facts.files, server.flavour, data_dir=server.data_dir, redo_dir=server.redo_dir
        )


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check."""

    check: str
    level: Severity
    cause: str = ""
    remedy: str = ""
    code: str = ""

    def as_evidence(self) -> dict[str, Any]:
        """Return the result for API clients."""
        return {
            "check": self.check,
            "level": str(self.level),
            "cause": self.cause,
            "remedy": self.remedy,
        }

    def __str__(self) -> str:
        return messages.CHECK_RESULT(check=self.check, cause=self.cause, remedy=self.remedy)

"""Declaration of checks: a decorator at the function that decides, and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TypeAlias

from tasks.errors import Code
from tasks.hosts.facts import HostFacts
from tasks.preflight import messages
from tasks.preflight.result import CheckResult, Finding, Severity, SkipPolicy, StartTarget

CheckFunction: TypeAlias = Callable[[HostFacts, StartTarget], Finding | None]
"""Examines the facts about a host; returns None if there is no problem. Pure."""


class Needs(IntEnum):
    """Facts that a check needs; a check without them is omitted. Each value includes the former."""

    LOGIN = 0  # complete facts
    ANSWER = 1  # the file system of the home answers
    HOME = 2  # the home is a directory


class WhenRunning(StrEnum):
    """What a check does if the server already runs, so that nothing will be started."""

    OMITTED = "omitted"
    WARNS = "warns"
    BLOCKS = "blocks"


@dataclass(frozen=True, slots=True)
class Check:
    """One named check of a server's host.

    Attributes:
        name: the name by which the check can be skipped.
        examines: the condition, in one line for operators.
        severity: severity of its findings, unless a finding has its own.
        blocks_when: condition under which a check with the severity WARN blocks; empty if none.
        skip: whether its block may be skipped.
        remedy: remedy for operators, unless a finding has a more precise one.
        code: errCode of its block.
        needs: the facts that it needs.
        when_running: what it does if the server already runs.
        function: the decision.
    """

    name: str
    examines: str
    severity: Severity
    skip: SkipPolicy
    remedy: str
    function: CheckFunction
    code: Code = Code.ILLEGAL_ARGUMENT
    blocks_when: str = ""
    needs: Needs = Needs.HOME
    when_running: WhenRunning = WhenRunning.OMITTED

    def applies(self, facts: HostFacts, home: str) -> bool:
        """Return whether the check applies to a host with these facts."""
        if home in facts.unanswered:
            available = Needs.LOGIN
        else:
            available = Needs.HOME if facts.home == "directory" else Needs.ANSWER
        is_omitted = facts.process is not None and self.when_running is WhenRunning.OMITTED
        return self.needs <= available and not is_omitted

    def may_be_skipped(self, facts: HostFacts) -> bool:
        """Return whether this login may skip a block."""
        return self.skip is SkipPolicy.YES or (
            self.skip is SkipPolicy.NOT_BY_ROOT and facts.uid != 0
        )

    def run(
        self, facts: HostFacts, start_target: StartTarget, *, is_skipped: bool = False
    ) -> CheckResult:
        """Return the result; `is_skipped` means that the request names this check."""
        finding = self.function(facts, start_target)
        if finding is None:
            return CheckResult(self.name, Severity.OK)
        severity = finding.severity or self.severity
        remedy = finding.remedy or self.remedy
        if facts.process is not None and self.when_running is WhenRunning.WARNS:
            severity = Severity.WARN
        if is_skipped and self.may_be_skipped(facts):
            severity = Severity.SKIPPED
        elif is_skipped and self.skip is SkipPolicy.NOT_BY_ROOT:
            remedy = messages.ROOT_CANNOT_SKIP(remedy=remedy)
        return CheckResult(self.name, severity, finding.cause, remedy, self.code)


class CheckRegistry:
    """Checks in the order in which they run, which is the order of their declarations."""

    def __init__(self, *parts: Iterable[Check]) -> None:
        """Create a registry with the checks of other ones.

        Raises:
            ValueError: two checks have the same name.
        """
        self._checks: dict[str, Check] = {}
        for check in (check for part in parts for check in part):
            self._add(check)

    def __iter__(self) -> Iterator[Check]:
        return iter(self._checks.values())

    def __getitem__(self, name: str) -> Check:
        return self._checks[name]

    def check(
        self,
        name: str,
        *,
        examines: str,
        severity: Severity,
        remedy: str,
        skip: SkipPolicy = SkipPolicy.YES,
        code: Code = Code.ILLEGAL_ARGUMENT,
        blocks_when: str = "",
        needs: Needs = Needs.HOME,
        when_running: WhenRunning = WhenRunning.OMITTED,
    ) -> Callable[[CheckFunction], CheckFunction]:
        """Declare the decorated function as a check; the arguments are those of `Check`.

        Raises:
            ValueError: the name is already taken.
        """

        def register(function: CheckFunction) -> CheckFunction:
            self._add(
                Check(
                    *(name, examines, severity, skip, remedy, function),
                    code=code,
                    blocks_when=blocks_when,
                    needs=needs,
                    when_running=when_running,
                )
            )
            return function

        return register

    def run(
        self, facts: HostFacts, start_target: StartTarget, skip: Collection[str] = ()
    ) -> list[CheckResult]:
        """Return the results of all applicable checks, in order.

        Args:
            facts: about the host; complete.
            start_target: the server to be started.
            skip: names of checks whose block is to be skipped.
        """
        return [
            check.run(facts, start_target, is_skipped=check.name in skip)
            for check in self
            if check.applies(facts, start_target.server.home)
        ]

    def find_skip_problem(self, names: Iterable[str]) -> str | None:
        """Return why these checks cannot be skipped; None if they can."""
        for name in names:
            if name not in self._checks:
                return messages.CHECK_UNKNOWN(check=name, names=", ".join(self._checks))
            if self[name].skip is SkipPolicy.NO:
                skippable = [check.name for check in self if check.skip is not SkipPolicy.NO]
                return messages.CHECK_NOT_SKIPPABLE(check=name, names=", ".join(skippable))
        return None

    def _add(self, check: Check) -> None:
        if check.name in self._checks:
            raise ValueError(f"two checks have the name '{check.name}'")
        self._checks[check.name] = check

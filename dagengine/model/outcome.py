"""Outcomes of an attempt. A step returns one of them; the rules decide the consequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = Mapping[str, Any]

_EMPTY: Json = {}


@dataclass(frozen=True, slots=True)
class Problem:
    """The description of a failure for users.

    Attributes:
        code: stable errCode, such as `Agent.RPC.RequestError`.
        message: what happened, and to which thing.
        remedy: what to do next.
    """

    code: str
    message: str
    remedy: str = ""

    def render(self) -> str:
        """Return the last log line of a failed sub-task (protocol 5.4: `ERROR: [code]: text`)."""
        text = f"{self.message}; {self.remedy}" if self.remedy else self.message
        return f"ERROR: [{self.code}]: {text}"


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The step did its work, or its work was already done.

    Attributes:
        data: stored; for later stages.
        evidence: for users; on the wire in `additional_data.evidence`.
        summary: one sentence for `additional_data.summary` (normal stages).
    """

    data: Json = field(default_factory=dict)
    evidence: Json = field(default_factory=dict)
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The step ran and could not do its work."""

    problem: Problem
    evidence: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The step was still running at its deadline."""

    problem: Problem
    evidence: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A user cancelled the step, and nothing of it still runs."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The engine stopped during the attempt; `execute_times` does not count the next attempt."""


@dataclass(frozen=True, slots=True)
class ResultUnknown:
    """A command was sent and its effect could not be determined within the time limit."""

    problem: Problem
    evidence: Json = field(default_factory=dict)


Outcome: TypeAlias = Succeeded | Failed | TimedOut | Cancelled | Interrupted | ResultUnknown

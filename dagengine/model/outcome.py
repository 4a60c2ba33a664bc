"""How an attempt ended. A step returns one of these; the rules decide what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = Mapping[str, Any]

_EMPTY: Json = {}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something did not work, for a person.

    Attributes:
        code: stable errCode, such as `Agent.RPC.RequestError`.
        message: what happened, to which thing.
        remedy: what to do next.
    """

    code: str
    message: str
    remedy: str = ""

    def render(self) -> str:
        """One line, as it ends a failed sub-task's log (protocol 5.4: `ERROR: [code]: text`)."""
        text = f"{self.message}; {self.remedy}" if self.remedy else self.message
        return f"ERROR: [{self.code}]: {text}"


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The step did its work, or found it done.

    Attributes:
        data: what later stages read; stored.
        evidence: what a person reads; on the wire under `additional_data.evidence`.
        summary: one sentence for `additional_data.summary` (normal stages).
    """

    data: Json = field(default_factory=dict)
    evidence: Json = field(default_factory=dict)
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The step ran and found that it cannot do its work."""

    problem: Problem
    evidence: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The step was still at work when its time was up."""

    problem: Problem
    evidence: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A person cancelled it, and nothing of it runs on."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The engine itself stopped; costs no attempt."""


@dataclass(frozen=True, slots=True)
class ResultUnknown:
    """A command was sent and its effect could not be learnt within the bound."""

    problem: Problem
    evidence: Json = field(default_factory=dict)


Outcome: TypeAlias = Succeeded | Failed | TimedOut | Cancelled | Interrupted | ResultUnknown

"""Outcomes of an attempt. A step returns one of them; the rules decide the consequences."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from dagengine.errors import ConfigError
from dagengine.lines import clean_line
from dagengine.messages import Message
from dagengine.model import messages

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

    def __post_init__(self) -> None:
        for name in ("code", "message", "remedy"):
            if not isinstance(value := getattr(self, name), str):
                _refuse("Problem", name, value, messages.GIVE_TEXT)

    def render(self) -> str:
        """Return the last log line of a failed sub-task (protocol 5.4: `ERROR: [code]: text`)."""
        text = clean_line(self.message)  # apart from the remedy, which must not be cut off
        if self.remedy:
            text = f"{text}; {clean_line(self.remedy)}"
        return f"ERROR: [{clean_line(self.code)}]: {text}"


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

    def __post_init__(self) -> None:
        if type(self.data) is dict and type(self.evidence) is dict and type(self.summary) is str:
            return  # the fast path
        _check_json("Succeeded", "data", self.data)
        _check_json("Succeeded", "evidence", self.evidence)
        if not isinstance(self.summary, str):
            _refuse("Succeeded", "summary", self.summary, messages.GIVE_TEXT)


@dataclass(frozen=True, slots=True)
class Failed:
    """The step ran and could not do its work."""

    problem: Problem
    evidence: Json = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_problem("Failed", self.problem, self.evidence)


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The step was still running at its deadline."""

    problem: Problem
    evidence: Json = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_problem("TimedOut", self.problem, self.evidence)


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

    def __post_init__(self) -> None:
        _check_problem("ResultUnknown", self.problem, self.evidence)


Outcome: TypeAlias = Succeeded | Failed | TimedOut | Cancelled | Interrupted | ResultUnknown


def _check_problem(outcome: str, problem: object, evidence: object) -> None:
    if not isinstance(problem, Problem):
        _refuse(outcome, "problem", problem, messages.GIVE_PROBLEM)
    _check_json(outcome, "evidence", evidence)


def _check_json(outcome: str, name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        _refuse(outcome, name, value, messages.GIVE_MAPPING)


def _refuse(outcome: str, name: str, value: object, remedy: Message) -> NoReturn:
    subject = messages.OUTCOME(name=outcome)
    message = messages.VALUE_INVALID(subject=subject, name=name, value=reprlib.repr(value))
    raise ConfigError(message, remedy=remedy())

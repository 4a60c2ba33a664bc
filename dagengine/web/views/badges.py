"""States and outcomes as a symbol, a word and a colour: the colour is never the only sign. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dagengine.messages import Message
from dagengine.model.states import Operator, State
from dagengine.web import messages
from dagengine.web.texts import Texts


@dataclass(frozen=True, slots=True)
class Badge:
    """A state on a page.

    Attributes:
        kind: name of its class in the style sheet: `good`, `bad`, `busy`, `waiting` or `neutral`.
        symbol: one character.
        word: the state in words.
    """

    kind: str
    symbol: str
    word: str


_STATES: dict[State, tuple[str, str, Message]] = {
    State.PENDING: ("neutral", "○", messages.PENDING),
    State.READY: ("busy", "◔", messages.ACCEPTED),
    State.RUNNING: ("busy", "▶", messages.RUNNING),
    State.FAILED: ("bad", "✗", messages.FAILED),
    State.SUCCEED: ("good", "✓", messages.SUCCEEDED),
}
_OPERATED: dict[tuple[State, Operator], tuple[str, str, Message]] = {
    (State.READY, Operator.CANCEL): ("busy", "⊘", messages.CANCELLING),
    (State.RUNNING, Operator.CANCEL): ("busy", "⊘", messages.CANCELLING),
    (State.FAILED, Operator.CANCEL): ("bad", "⊘", messages.CANCELLED),
    (State.READY, Operator.ROLLBACK): ("busy", "↶", messages.ROLLING_BACK),
    (State.RUNNING, Operator.ROLLBACK): ("busy", "↶", messages.ROLLING_BACK),
    (State.FAILED, Operator.ROLLBACK): ("bad", "↶", messages.ROLLBACK_FAILED),
    (State.SUCCEED, Operator.ROLLBACK): ("neutral", "↶", messages.ROLLED_BACK),
    (State.SUCCEED, Operator.PASS): ("neutral", "↷", messages.PASSED),
}
_OUTCOMES: dict[str | None, tuple[str, str, Message]] = {
    None: ("busy", "▶", messages.RUNNING),
    "Succeeded": ("good", "✓", messages.SUCCEEDED),
    "Failed": ("bad", "✗", messages.FAILED),
    "TimedOut": ("bad", "⌛", messages.TIMED_OUT),
    "Cancelled": ("bad", "⊘", messages.CANCELLED),
    "Interrupted": ("neutral", "‖", messages.INTERRUPTED),
    "ResultUnknown": ("bad", "?", messages.RESULT_UNKNOWN),
}


def badge_of_state(state: State, operator: Operator, texts: Texts) -> Badge:
    """Return the badge of a DAG, node or sub-task."""
    kind, symbol, word = _OPERATED.get((state, operator), _STATES[state])
    return Badge(kind, symbol, texts(word()))


def badge_of_outcome(outcome: str | None, *, is_waiting: bool, texts: Texts) -> Badge:
    """Return the badge of an attempt.

    Args:
        outcome: how the attempt ended; None while it runs.
        is_waiting: the running attempt waits for something else.
        texts: the language.
    """
    if outcome is None and is_waiting:
        return Badge("waiting", "⧗", texts(messages.WAITING()))
    kind, symbol, word = _OUTCOMES[outcome]
    return Badge(kind, symbol, texts(word()))

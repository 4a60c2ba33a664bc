"""The state of a server in one word, from everything that is known. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dagengine import Operator, State
from dagengine.errors import Message
from dagengine.extension import Badge, Texts
from tasks.cluster.observation import (
    AVAILABLE,
    NOT_CONNECTED,
    NOT_RUNNING,
    Observation,
    ServerActivity,
    TableRow,
)
from tasks.operations.names import STOP_OB
from tasks.web import messages
from tasks.web.last_runs import LastRun


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What is known of a server.

    Attributes:
        observation: the last observation; None before the first.
        row: its row in the cluster's own table; None if it is not known.
        activity: what the running task does on it; None for nothing.
        last_run: the newest task that includes it; None for none.
    """

    observation: Observation | None = None
    row: TableRow | None = None
    activity: ServerActivity | None = None
    last_run: LastRun | None = None

    @property
    def was_stopped(self) -> bool:
        """Return whether the last task has stopped it on purpose."""
        run = self.last_run
        return (
            run is not None
            and run.name == STOP_OB
            and run.state is State.SUCCEED
            and run.operator in (Operator.RUN, Operator.RETRY)
        )


@dataclass(frozen=True, slots=True)
class ServerWord:
    """A state: class of its colour, symbol and word.

    Attributes:
        kind: name of its class in the style sheet.
        symbol: one character.
        word: the state.
        is_up: whether the server is in service.
        needs_start: whether a start is the next thing to do.
        names_task: whether the last or running task explains the state.
    """

    kind: str
    symbol: str
    word: Message
    is_up: bool = False
    names_task: bool = False
    needs_start: bool = False

    def badge(self, texts: Texts) -> Badge:
        """Return the state for a page."""
        return Badge(self.kind, self.symbol, texts(self.word()))


UP = ServerWord("good", "✓", messages.UP, is_up=True)
DOWN = ServerWord("bad", "✗", messages.DOWN, needs_start=True)
STARTING = ServerWord("busy", "▶", messages.STARTING, names_task=True)
STOPPING = ServerWord("busy", "◼", messages.STOPPING, names_task=True)
STOPPED = ServerWord("neutral", "◼", messages.STOPPED, names_task=True, needs_start=True)
OUT_OF_SERVICE = ServerWord(
    "neutral", "◻", messages.OUT_OF_SERVICE, names_task=True, needs_start=True
)
UNREACHABLE = ServerWord("bad", "⚠", messages.UNREACHABLE)
UNKNOWN = ServerWord("waiting", "?", messages.UNKNOWN)
NO_SQL = ServerWord("waiting", "◔", messages.NO_SQL)
NO_MAJORITY = ServerWord("waiting", "◑", messages.NO_MAJORITY)


def decide_state(facts: ServerFacts) -> ServerWord:
    """Return the state of a server."""
    if facts.activity is not None:
        return STARTING if facts.activity is ServerActivity.STARTING else STOPPING
    observation = facts.observation
    if observation is None:
        return UNKNOWN
    if not observation.is_known:
        return UNKNOWN if observation.is_reachable else UNREACHABLE
    if observation.ob_state == NOT_RUNNING:
        return STOPPED if facts.was_stopped else DOWN
    if facts.row is not None and facts.row.is_stopped:
        return OUT_OF_SERVICE
    if observation.ob_state == AVAILABLE:
        return UP
    return NO_SQL if observation.ob_state == NOT_CONNECTED else NO_MAJORITY

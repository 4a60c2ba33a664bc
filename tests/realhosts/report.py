"""What the cases measured, as a table at the end of the session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.realhosts.world import Dag, sub_task

PROPERTY = "realhosts"
_HEADINGS = ("what happened", "noticed after", "healthy lanes idle", "in words")
_LANES = (2, 3, 4)
_WORDS_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One case.

    Attributes:
        what: happened.
        noticed_s: from then to the end of the sub-task that noticed it, in seconds.
        idle: share of their time that the healthy lanes had nothing to do, 0..1; None when there
            was no lane to look at.
        words: what a person reads.
    """

    what: str
    noticed_s: float
    idle: float | None
    words: str

    def cells(self) -> tuple[str, str, str, str]:
        idle = "" if self.idle is None else f"{self.idle:.0%}"
        words = " ".join(self.words.split())
        shown = words if len(words) <= _WORDS_LENGTH else f"{words[:_WORDS_LENGTH]}…"
        return self.what, f"{self.noticed_s:.2f} s", idle, shown


def render_table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table with headings; columns as wide as their content."""
    lines = [_HEADINGS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    return ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]


def begun_at(task: Dag) -> datetime:
    return datetime.fromisoformat(task["start_time"])


def ended_at(task: Dag) -> datetime:
    return datetime.fromisoformat(task["end_time"])


def idle_share(dag: Dag, servers: Iterable[str]) -> float:
    """How much of its time a lane had nothing to do between its steps; the worst of the lanes."""
    shares = []
    for server in servers:
        tasks = [sub_task(dag, stage, server) for stage in _LANES]
        whole_s = (ended_at(tasks[-1]) - begun_at(tasks[0])).total_seconds()
        busy_s = sum((ended_at(t) - begun_at(t)).total_seconds() for t in tasks)
        shares.append(1 - busy_s / whole_s)
    return max(shares)

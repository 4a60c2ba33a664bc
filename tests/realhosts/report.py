"""The measurements of the cases, as a table at the end of the session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.realhosts.host_cluster import Dag, sub_task

PROPERTY = "realhosts"
_HEADINGS = ("event", "noticed after", "others done after", "idle", "log line")
_LANES = (2, 3, 4)
_LOG_LINE_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Row:
    """The measurements of one case.

    Attributes:
        event: description of the event.
        noticed_s: time from the event to the end of the sub-task that noticed it, in seconds.
        log_line: the last log line, for operators.
        others_s: time from the event to the end of the healthy hosts' lanes, in seconds; negative
            if they ended first, None if it is not measured.
        idle: fraction of their time for which those lanes were idle, 0..1.
    """

    event: str
    noticed_s: float
    log_line: str
    others_s: float | None = None
    idle: float = 0.0

    def cells(self) -> tuple[str, ...]:
        """Return the cells as text, in the order of the headings."""
        others = idle = ""
        if self.others_s is not None:
            others = f"{self.others_s:.2f} s" if self.others_s > 0 else "before"
            idle = f"{abs(self.idle):.0%}"
        log_line = " ".join(self.log_line.split())
        shortened = (
            log_line if len(log_line) <= _LOG_LINE_LENGTH else f"{log_line[:_LOG_LINE_LENGTH]}…"
        )
        return self.event, f"{self.noticed_s:.2f} s", others, idle, shortened


def render_table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table with headings; columns are as wide as their content."""
    lines = [_HEADINGS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    return ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]


def row_of(event: str, since: datetime, task: Dag, dag: Dag, healthy: Sequence[str]) -> Row:
    """Return the row of a case in which a server's sub-task failed.

    Args:
        event: description of the event.
        since: time of the event.
        task: the sub-task that noticed it.
        dag: its DAG, at its end.
        healthy: the servers without a fault.
    """
    others_at = max(ended_at(sub_task(dag, _LANES[-1], name)) for name in healthy)
    return Row(
        event,
        (ended_at(task) - since).total_seconds(),
        task["task_logs"][-1],
        (others_at - since).total_seconds(),
        idle_share(dag, healthy),
    )


def begun_at(task: Dag) -> datetime:
    return datetime.fromisoformat(task["start_time"])


def ended_at(task: Dag) -> datetime:
    return datetime.fromisoformat(task["end_time"])


def idle_share(dag: Dag, servers: Iterable[str]) -> float:
    """Return the largest fraction of time for which a lane was idle between its steps."""
    shares = []
    for server in servers:
        tasks = [sub_task(dag, stage, server) for stage in _LANES]
        whole_s = (ended_at(tasks[-1]) - begun_at(tasks[0])).total_seconds()
        busy_s = sum((ended_at(t) - begun_at(t)).total_seconds() for t in tasks)
        shares.append(1 - busy_s / whole_s)
    return max(shares)

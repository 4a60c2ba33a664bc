"""Text output of lists: `list` and `audit`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dagengine.cli import messages
from dagengine.cli.views.render import PLAIN, Json, state_style
from dagengine.cli.views.screen import Line, Screen, Style, render_age, render_table

_WIDE = 100  # columns of a terminal that displays a table with times


def render_audit(rows: Sequence[Json], screen: Screen = PLAIN) -> list[str]:
    """Render `audit`: one line per row."""
    if not rows:
        return [messages.AUDIT_EMPTY()]
    lines: list[str] = []
    for row in rows:
        action = messages.AUDIT_ACTION(dag_id=row["dag_id"], action=row["action"])
        if not row["dag_id"]:
            action = messages.AUDIT_NO_DAG(action=row["action"])
        elif row["node_id"]:
            action = messages.AUDIT_NODE_ACTION(
                dag_id=row["dag_id"], action=row["action"], node_id=row["node_id"]
            )
        caller = row["by"] or messages.CALLER_UNKNOWN()
        line = messages.AUDIT_ROW(time=screen.time(row["time"]), action=action, caller=caller)
        if row["reason"]:
            line = messages.AUDIT_ROW_REASON(**line.fields, reason=row["reason"])
        lines.append(line)
    return lines


def render_list(
    dags: Sequence[Json], now: datetime | None = None, screen: Screen = PLAIN
) -> list[str]:
    """Render `list`: one line per DAG; on a narrow terminal, two."""
    is_narrow = screen.width is not None and screen.width < _WIDE
    head: list[str] = [messages.COLUMN_ID(), messages.COLUMN_NAME(), messages.COLUMN_STATE()]
    head += [messages.COLUMN_OPERATOR(), messages.COLUMN_STAGE(), messages.COLUMN_STARTED()]
    rows: list[list[str]] = [head]
    for dag in dags:
        started = screen.time(dag["start_time"], now)
        if is_narrow and now is not None:
            started = render_age(now - datetime.fromisoformat(dag["start_time"]))
        stage = f"{dag['stage']}/{dag['max_stage']}"
        rows.append([dag["id"], dag["name"], dag["state"], dag["operator"], stage, started])
    lines: list[str] = []
    for number, (dag_id, *cells) in enumerate(render_table(rows)):
        style = state_style(dags[number - 1]["state"]) if number else Style.STRONG
        more: list[str | tuple[str, Style]] = [
            "  ",
            (cells[0], Style.PLAIN if number else style),
            "  ",
            (cells[1], style),
        ]
        rest = "  ".join(["", *cells[2:]]).rstrip()
        if is_narrow:
            lines += [Line((dag_id.rstrip(), Style.STRONG)), Line(*more, rest)]
        else:
            lines.append(Line(dag_id, *more, rest))
    return lines


def render_tokens(tokens: Sequence[Json], screen: Screen = PLAIN) -> list[str]:
    """Render `token list`: one line per token."""
    if not tokens:
        return [messages.TOKENS_EMPTY()]
    never = messages.NEVER()
    rows: list[list[str]] = [
        [
            messages.COLUMN_NAME(),
            messages.COLUMN_RIGHTS(),
            messages.COLUMN_LAST_USED(),
            messages.COLUMN_EXPIRES(),
            messages.COLUMN_CREATED_BY(),
        ]
    ]
    for token in tokens:
        used, end = token["last_used_at"], token["expires_at"]
        expires = never if end is None else screen.time(end)
        if token["expired"]:
            expires = messages.EXPIRED(time=expires)
        used_at = never if used is None else screen.time(used)
        rows.append([token["name"], token["rights"], used_at, expires, token["created_by"]])
    return ["  ".join(cells).rstrip() for cells in render_table(rows)]

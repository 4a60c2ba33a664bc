"""Text output of lists: `list` and `audit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from dagengine.cli import messages
from dagengine.cli.views.render import PLAIN, Json, state_style
from dagengine.cli.views.screen import Line, Screen, Style, render_age, render_table

_REQUEST = "START"  # the action of the audit for the request that created a DAG


def render_audit(
    rows: Sequence[Json],
    names: Mapping[str, str],
    now: datetime | None = None,
    screen: Screen = PLAIN,
) -> list[str]:
    """Render `audit`: one line per row.

    Args:
        rows: of the audit.
        names: names of the DAGs that still exist, by their ids.
        now: for ages.
        screen: for times.
    """
    if not rows:
        return [messages.AUDIT_EMPTY()]
    lines: list[str] = []
    for row in rows:
        caller, time = row["by"] or messages.CALLER_UNKNOWN(), screen.time(row["time"], now)
        line = messages.AUDIT_ROW(time=time, action=_render_action(row, names), caller=caller)
        if row["reason"]:
            line = messages.AUDIT_ROW_REASON(**line.fields, reason=row["reason"])
        lines.append(line)
    return lines


def _render_action(row: Json, names: Mapping[str, str]) -> str:
    """Render what was done: the action START is the request of any DAG, also of a stop."""
    fields = {"dag_id": row["dag_id"], "action": row["action"]}
    name = names.get(row["dag_id"] or "", "")
    if not row["dag_id"]:
        return messages.AUDIT_NO_DAG(action=row["action"])
    if row["node_id"]:
        node = {**fields, "node_id": row["node_id"]}
        action = messages.AUDIT_NODE_ACTION(**node)
        return messages.AUDIT_NAMED_NODE_ACTION(**node, name=name) if name else action
    if row["action"] == _REQUEST:
        if name:
            return messages.AUDIT_NAMED_REQUEST(dag_id=row["dag_id"], name=name)
        return messages.AUDIT_REQUEST(dag_id=row["dag_id"])
    action = messages.AUDIT_ACTION(**fields)
    return messages.AUDIT_NAMED_ACTION(**fields, name=name) if name else action


def render_list(
    dags: Sequence[Json], now: datetime | None = None, screen: Screen = PLAIN
) -> list[str]:
    """Render `list`: one line per DAG; on a narrow terminal, two."""
    rows = _dag_rows(dags, lambda at: screen.time(at, now))
    is_narrow = not screen.fits(rows)
    if is_narrow and now is not None and not screen.fits([["", *cells] for _, *cells in rows]):
        rows = _dag_rows(dags, lambda at: render_age(now - datetime.fromisoformat(at)))
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


def _dag_rows(dags: Sequence[Json], render_start: Callable[[str], str]) -> list[list[str]]:
    head: list[str] = [messages.COLUMN_ID(), messages.COLUMN_NAME(), messages.COLUMN_STATE()]
    head += [messages.COLUMN_OPERATOR(), messages.COLUMN_STAGE(), messages.COLUMN_STARTED()]
    rows: list[list[str]] = [head]
    for dag in dags:
        stage, started = f"{dag['stage']}/{dag['max_stage']}", render_start(dag["start_time"])
        rows.append([dag["id"], dag["name"], dag["state"], dag["operator"], stage, started])
    return rows


def render_tokens(
    tokens: Sequence[Json], now: datetime | None = None, screen: Screen = PLAIN
) -> list[str]:
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
        used_at = never if used is None else screen.time(used, now)
        rows.append([token["name"], token["rights"], used_at, expires, token["created_by"]])
    return ["  ".join(cells).rstrip() for cells in render_table(rows)]

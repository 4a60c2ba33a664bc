"""Text output of `fleet`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dagengine.cli import messages
from dagengine.cli.views.render import PLAIN, Json
from dagengine.cli.views.screen import Screen, render_table

_STATES = ("down", "no connection", "restricted", "available")


def render_fleet(
    clusters: Sequence[Json], controllers: Sequence[Json], now: datetime, screen: Screen = PLAIN
) -> list[str]:
    """Render the clusters, then the controllers; one line each."""
    rows: list[list[str]] = [
        [
            messages.COLUMN_CLUSTER(),
            messages.COLUMN_STATE(),
            messages.COLUMN_OWNER(),
            messages.COLUMN_SERVERS(),
            messages.COLUMN_RUNNING(),
            messages.COLUMN_LAST_TASK(),
        ]
    ]
    owners = {each["id"]: each["name"] for each in controllers}
    for cluster in clusters:
        ob_state = cluster["ob_state"]
        state = cluster["condition"] if ob_state is None else _STATES[ob_state]
        last = cluster["last"]
        task = ""
        if last is not None:
            time = screen.time(last["start_time"], now)
            task = messages.LAST_TASK(name=last["name"], state=last["state"], time=time)
        rows.append(
            [
                cluster["name"],
                state,
                owners.get(cluster["owner"], "-"),
                _render_count(cluster["servers"]),
                _render_count(cluster["running"]),
                task or cluster["reason"],
            ]
        )
    lines = ["  ".join(cells).rstrip() for cells in render_table(rows)]
    lines.append("")
    for each in controllers:
        seen = screen.time(each["seen_at"], now)
        lines.append(
            messages.CONTROLLER_ROW(
                name=each["name"],
                version=each["version"],
                state=each["state"],
                count=len(each["clusters"]),
                time=seen,
            )
        )
    return lines


def render_results(results: Sequence[Json]) -> list[str]:
    """Render the result of a bulk action; one line for each cluster."""
    lines: list[str] = []
    for result in results:
        cluster, dag, error = result["cluster"], result["dag"], result["error"]
        if dag is None:
            reason = error["message"]
            lines.append(messages.BULK_REFUSED(cluster=cluster, reason=reason))
        else:
            lines.append(
                messages.BULK_ACCEPTED(
                    cluster=cluster,
                    name=dag["name"],
                    dag_id=dag["id"],
                    state=dag["state"],
                )
            )
    return lines


def _render_count(count: int | None) -> str:
    return "-" if count is None else str(count)

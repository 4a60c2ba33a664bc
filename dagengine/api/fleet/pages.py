"""The list of the DAGs of all clusters, in pages. Pure, except for `read_page`."""

from __future__ import annotations

import base64
import binascii
import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dagengine.api import messages
from dagengine.api.fleet.view import ClusterMember
from dagengine.api.schemas.tasks import DagDetailDto
from dagengine.errors import IllegalArgument
from dagengine.model.states import State

_MAX_CURSOR = 64 * 1024
_MAX_ROW = 2**63


@dataclass(frozen=True, slots=True)
class DagFilter:
    """Which DAGs; None selects all."""

    state: State | None
    name: str | None


@dataclass(frozen=True, slots=True)
class FleetPage:
    """One page.

    Attributes:
        dags: name of the cluster and DAG, newest first.
        cursor: where the next page begins; empty after the last one.
    """

    dags: Sequence[tuple[str, DagDetailDto]]
    cursor: str


async def read_page(
    members: Sequence[ClusterMember], wanted: DagFilter, *, limit: int, cursor: str
) -> FleetPage:
    """Read one page from all clusters.

    New DAGs do not change the pages that follow, as in the list of one cluster.

    Raises:
        IllegalArgument: the cursor is invalid.
    """
    before = parse_cursor(cursor)
    dags_of: dict[str, Sequence[DagDetailDto]] = {}
    for member in members:
        dags_of[member.name] = await member.search_dags(
            before=before.get(member.name), state=wanted.state, name=wanted.name, limit=limit + 1
        )
    return merge_page(dags_of, before, limit)


def merge_page(
    dags_of: Mapping[str, Sequence[DagDetailDto]], before: Mapping[str, int], limit: int
) -> FleetPage:
    """Merge the DAGs of several clusters, each newest first, into one page.

    Args:
        dags_of: up to `limit` + 1 DAGs of each cluster that are older than the previous page.
        before: the DAG of each cluster before which the previous page ended.
        limit: number of DAGs in the page, at least 1.
    """
    # Only the order of ids is reliable within a cluster, so each list keeps its order.
    merged = list(
        heapq.merge(
            *([(name, dag) for dag in dags] for name, dags in sorted(dags_of.items())),
            key=lambda each: datetime.fromisoformat(each[1]["start_time"]),
            reverse=True,
        )
    )
    page = merged[:limit]
    if len(merged) <= limit:
        return FleetPage(page, "")
    # A cluster without a DAG in the page continues before its newest one.
    rows = {name: dags[0]["dag_id"] + 1 if dags else 1 for name, dags in dags_of.items()}
    rows.update((name, row) for name, row in before.items() if name in dags_of)
    rows.update((name, dag["dag_id"]) for name, dag in page)
    return FleetPage(page, render_cursor(rows))


def render_cursor(rows: Mapping[str, int]) -> str:
    """Return the text of a cursor."""
    text = json.dumps(rows, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii").rstrip("=")


def parse_cursor(text: str) -> Mapping[str, int]:
    """Return the DAG of each cluster before which a page begins; empty for the first page.

    Raises:
        IllegalArgument: the cursor is not one of `render_cursor`.
    """
    if not text:
        return {}
    try:
        if len(text) > _MAX_CURSOR:
            raise ValueError
        rows = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        if not isinstance(rows, dict):
            raise ValueError
        if not all(type(row) is int and 0 < row < _MAX_ROW for row in rows.values()):
            raise ValueError
    except (ValueError, binascii.Error):
        raise IllegalArgument(
            messages.PARAMETER_VALUE(name="cursor", value=text[:32]),
            remedy=messages.SEND_NEXT_CURSOR(),
        ) from None
    return rows

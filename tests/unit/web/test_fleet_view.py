"""The control of the fleet page to use next."""

from __future__ import annotations

from typing import Literal

import pytest

from dagengine.api.fleet.schemas import ClusterDto
from dagengine.web.fleet.view import FleetRecords, view_fleet
from tests.support.dag_rows import ENGLISH, NOW


def make_cluster(
    name: str, ob_state: int | None, condition: Literal["served", "refused"] = "served"
) -> ClusterDto:
    return ClusterDto(
        name=name,
        condition=condition,
        reason="",
        url="",
        socket=None,
        owner=None,
        cluster_id=1,
        servers=3,
        ob_state=ob_state,
        running=0,
        failed=0,
        lock="",
        last=None,
        notices=[],
    )


@pytest.mark.parametrize(
    ("clusters", "kind"),
    [
        ([make_cluster("a", 3), make_cluster("b", 0)], "primary"),
        ([make_cluster("a", 3), make_cluster("b", 3)], "plain"),
        # A start cannot help a cluster that no controller serves.
        ([make_cluster("a", 3), make_cluster("b", None, "refused")], "plain"),
    ],
)
def test_start_of_clusters_is_marked_if_it_can_help(clusters: list[ClusterDto], kind: str) -> None:
    records = FleetRecords(clusters, (), (), "key", "", frozenset(), is_waiting=False, now=NOW)
    assert view_fleet(records, ENGLISH).start_kind == kind

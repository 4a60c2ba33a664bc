"""`show` without an id: the state of the servers according to the newest DAG."""

from __future__ import annotations

from typing import Any

import pytest

from dagengine.cli.status import ClusterStatus, render_cluster_status

AT = "2024-01-10T11:24:44+08:00"


def dag_with(evidence: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "2",
        "name": "Stop OB",
        "state": "SUCCEED",
        "operator": "RUN",
        "start_time": AT,
        "end_time": AT,
        "maintenance_type": 1,
        "additional_data": {"evidence": {"10.0.0.1:2886": evidence}},
        "nodes": [],
    }


@pytest.mark.parametrize(
    ("evidence", "service_text"),
    [
        ({"level": "in service", "verified": True}, "  in service (level in service)"),
        ({"level": "sql", "verified": True}, "  in service (level sql)"),
        ({"level": "sql", "in_service": False}, "  NOT in service (level sql)"),
        ({"level": "none"}, "  NOT in service (level none)"),
        ({}, "  NOT in service (level unknown)"),
    ],
)
def test_render_cluster_status_in_service_needs_evidence(
    evidence: dict[str, Any], service_text: str
) -> None:
    dag = dag_with(evidence)
    lines = render_cluster_status(ClusterStatus(dag, dag, [], "10.0.0.9:2886"))
    assert f"  10.0.0.1:2886{service_text}" in lines

"""A cluster for plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.demo.hosts import DemoHost
from tests.support.plan_cluster import PlanCluster


@pytest.fixture
def plan_cluster(tmp_path: Path, ssh_host: DemoHost) -> PlanCluster:
    return PlanCluster(tmp_path, ssh_host)

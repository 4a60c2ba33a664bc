"""Servers of a cluster file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.cluster.cluster_file import load_cluster
from tasks.cluster.servers import Server
from tasks.flavours.select import FLAVOURS


@pytest.fixture
def servers(tmp_path: Path) -> tuple[Server, ...]:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "{name: x, id: 1, flavour: seekdb, root_password: none, defaults: {home: /h},"
        " zones: {z1: [{ip: 10.0.0.1}, {ip: 10.0.0.2}], z2: [{ip: 10.0.0.3}]}}"
    )
    return load_cluster(path, FLAVOURS).servers

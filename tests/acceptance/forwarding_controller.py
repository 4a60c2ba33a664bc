"""A controller of a shared store that never takes its clusters over; for tests only.

It announces them as not ready, so it forwards every request. argv: -c FILE.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from dagengine.ownership.local_cluster import LocalCluster
from dagengine.runtime.logging import configure_logs
from dagengine.server.cluster_service import ClusterService
from dagengine.server.config import load_config
from dagengine.server.controller import Controller, serve
from dagengine.server.shared import store
from tasks import EXTENSION

describe_cluster = store.describe_cluster


def describe_unready(service: ClusterService, _refusal: str = "") -> LocalCluster:
    return replace(describe_cluster(service), refusal="another controller is to own it")


def announce(controller: Controller) -> None:
    sys.stdout.write(f"dagengine ready on {controller.url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    configure_logs()
    store.describe_cluster = describe_unready
    config = load_config(Path(sys.argv[2]), os.environ)
    asyncio.run(serve(config, [EXTENSION], announce))

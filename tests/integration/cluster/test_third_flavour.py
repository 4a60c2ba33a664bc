"""A flavour that only this file defines: one class and one line in the table of flavours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dagengine import Outcome, StepContext, Succeeded
from dagengine.client import Client
from dagengine.mysql import Connection
from tasks.cluster.access import ClusterAccess
from tasks.cluster.flavour import Flavour
from tasks.cluster.observation import TableRow
from tasks.cluster.scope import RequestedScope, ScopeKind
from tasks.cluster.servers import Server
from tasks.flavours.base import ServiceReport, StopMode
from tasks.flavours.select import FLAVOURS
from tests.support.hostile_cluster import (
    PROGRAMS,
    SECOND,
    HostileCluster,
    open_hostile_cluster,
    wait_dag,
)

THIRD = Flavour(
    name="thirddb",
    program="bin/thirddb",
    log="log/thirddb.log",
    can_initialise=True,
    forms_cluster=True,
    sets_root_password=False,
    command_line=lambda home: (f"{home}/bin/thirddb",),
)

CALLS: list[str] = []


@dataclass(frozen=True)
class ThirdActions:
    access: ClusterAccess

    async def start_cluster(self, context: StepContext, scope: RequestedScope) -> Outcome:
        CALLS.append(f"start {scope.kind} {', '.join(scope.target)}")
        return Succeeded()

    async def confirm_service(self, context: StepContext, names: Sequence[str]) -> ServiceReport:
        CALLS.append(f"confirm {', '.join(names)}")
        return ServiceReport({name: {"level": "third"} for name in names})

    async def check_stop(self, mode: StopMode, scope: ScopeKind, targets: Sequence[str]) -> None:
        CALLS.append(f"check {mode} {scope}")

    async def freeze(self, context: StepContext, names: Sequence[str]) -> Outcome:
        CALLS.append(f"freeze {', '.join(names)}")
        return Succeeded()

    async def stop_by_sql(self, context: StepContext, scope: RequestedScope) -> Outcome:
        CALLS.append(f"stop {scope.kind}")
        return Succeeded()

    def render_freeze(self, server: Server) -> str:
        return f"FREEZE {server.zone}"

    def render_plain_stop(self, server: Server, scope: ScopeKind) -> str:
        return f"LEAVE {server.zone}"

    async def query_table(
        self, connection: Connection
    ) -> Mapping[tuple[str, int], TableRow] | None:
        servers = self.access.cluster.servers
        return {(s.ip, s.rpc_port): TableRow("THIRD", build_version="3.3.3-3") for s in servers}


@pytest_asyncio.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HostileCluster]:
    """A controller of two servers of the third flavour; the second one runs."""
    CALLS.clear()
    monkeypatch.setitem(FLAVOURS, THIRD, ThirdActions)
    monkeypatch.setitem(PROGRAMS, THIRD.name, "thirddb")
    async with open_hostile_cluster(THIRD.name, tmp_path) as opened:
        opened.listen_on_second_server()
        monkeypatch.setattr("tasks.operations.health.LIMIT_S", 60.0)
        yield opened


async def run(client: Client, dag: Mapping[str, Any]) -> dict[str, Any]:
    ended = await wait_dag(client, dag["id"])
    logs = [sub["task_logs"] for node in ended["nodes"] for sub in node["sub_tasks"]]
    assert (ended["state"], ended["stage"]) == ("SUCCEED", 6), logs
    return ended


async def test_third_flavour_start_runs_all_stages(cluster: HostileCluster) -> None:
    async with cluster.client() as client:
        dag = await run(client, await client.start("SERVER", [SECOND]))
    assert [f"start SERVER {SECOND}", f"confirm {SECOND}"] == CALLS
    assert dag["additional_data"]["evidence"][SECOND]["level"] == "third"


async def test_third_flavour_stop_runs_all_stages(cluster: HostileCluster) -> None:
    async with cluster.client() as client:
        plan = await client.stop("SERVER", [SECOND], terminate=True, dry_run=True)
        await run(client, await client.stop("SERVER", [SECOND], terminate=True))
    assert ["check terminate SERVER", "check terminate SERVER", f"freeze {SECOND}"] == CALLS
    (planned,) = plan["servers"]
    assert planned["commands"][0] == "FREEZE zone2"
    assert "thirddb" in planned["commands"][1]


async def test_third_flavour_plain_stop_uses_its_sql(cluster: HostileCluster) -> None:
    async with cluster.client() as client:
        plan = await client.stop("ZONE", ["zone2"], dry_run=True)
        await run(client, await client.stop("ZONE", ["zone2"]))
    assert plan["servers"][0]["commands"] == ["LEAVE zone2"]
    assert CALLS[-1] == "stop ZONE"


async def test_third_flavour_table_is_shown(cluster: HostileCluster) -> None:
    async with cluster.client() as client:
        info = await client.get("/ob/info")
    (row,) = info["obcluster_info"]["topology"]["zone2"]
    assert (row["status"], row["build_version"]) == ("THIRD", "3.3.3")

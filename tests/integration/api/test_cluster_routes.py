"""The wire: POST ob/start, and the routes about the cluster (protocol 3.1, 3.3)."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

import dagengine
from dagengine import AgentAddress
from dagengine.testing import Latch
from tasks.cluster.observation import Observation, TableRow
from tests.support.api_controller import AGENT, DAG, FIRST, SECOND, START, ApiController

# --- 3.1 POST ob/start ---------------------------------------------------------------------------


async def test_start_route_returns_ready_dag_without_details(controller: ApiController) -> None:
    controller.clock.advance(7)
    dag = await controller.start()
    at = dag["start_time"]
    assert list(dag) == DAG
    assert dag == {
        "id": "20168430081028861",
        "dag_id": 1,
        "name": "Start OB",
        "stage": 1,
        "max_stage": 3,
        "maintenance_type": 1,
        "maintenance_key": "",
        "state": "READY",
        "operator": "RUN",
        "start_time": at,
        "end_time": at,
        "additional_data": None,
        "nodes": None,
    }
    assert datetime.fromisoformat(at) >= controller.engine.started_at


@pytest.mark.parametrize(
    ("kind", "target", "expected"),
    [
        ("", [], "OB.Cluster.Scope.Invalid"),
        (None, None, "OB.Cluster.Scope.Invalid"),
        ("CLUSTER", ["zone1"], "OB.Cluster.Scope.Invalid"),
        ("ZONE", [], "Common.IllegalArgument"),
        ("SERVER", None, "Common.IllegalArgument"),
        ("ZONE", ["zone9"], "OB.Zone.NotExist"),
        ("ZONE", ["ZONE1"], "OB.Zone.NotExist"),
        ("SERVER", ["10.0.0.9"], "Agent.NotExist"),
        ("SERVER", ["10.0.0.1:2887"], "Agent.NotExist"),
        ("SERVER", ["[FE80::1]:2887"], "Agent.NotExist"),
        ("SERVER", ["10.0.0.1:80"], "Common.InvalidPort"),
        ("SERVER", ["a.b:2886"], "Common.InvalidIp"),
        ("SERVER", ["host"], "Common.InvalidAddress"),
        ("SERVER", [""], "Common.InvalidAddress"),
    ],
)
async def test_start_route_invalid_scope_starts_nothing(
    controller: ApiController, kind: str | None, target: list[str] | None, expected: str
) -> None:
    response = await controller.send_signed(
        "POST", "/ob/start", {"scope": {"type": kind, "target": target}}
    )
    assert response.refusal == (400, expected, None)
    assert await controller.get("/task/dags/ob") == {"contents": []}


@pytest.mark.parametrize(
    ("kind", "target", "servers"),
    [
        ("global", None, [FIRST, SECOND]),
        ("GLOBAL", ["ignored"], [FIRST, SECOND]),
        ("zone", ["zone2", "zone2"], [SECOND]),
        ("Server", ["[fe80::1]:2887", "10.0.0.1"], [FIRST, SECOND]),
    ],
)
async def test_start_route_scope_creates_sub_task_per_server(
    controller: ApiController, kind: str, target: list[str] | None, servers: list[str]
) -> None:
    dag = await controller.wait_for_end(
        await controller.start({"scope": {"type": kind, "target": target}})
    )
    agents = [AgentAddress(**task["execute_agent"]) for task in dag["nodes"][1]["sub_tasks"]]
    assert [str(agent) for agent in agents] == servers


async def test_start_route_repeated_within_second_returns_same_dag(
    controller: ApiController,
) -> None:
    first = await controller.start_held()
    repeated = await controller.start({"scope": {"type": "global"}})
    assert (repeated["id"], repeated["nodes"]) == (first["id"], None)
    other = {"scope": {"type": "ZONE", "target": ["zone1"]}}
    assert (await controller.start(other))["id"] != first["id"]
    for force in ({"id": ["1"]}, ["1"]):
        assert (await controller.start(START | {"forcePassDag": force}))["id"] != first["id"]
    controller.clock.advance(1)
    assert (await controller.start())["id"] != first["id"]
    assert controller.latch is not None
    controller.latch.open()


async def test_start_route_repeated_after_end_creates_new_dag(controller: ApiController) -> None:
    first = await controller.wait_for_end(await controller.start())
    assert (await controller.start())["id"] != first["id"]


# --- 3.3 reading the cluster --------------------------------------------------------------------


def record(controller: ApiController, name: str, ob_state: int, **more: Any) -> None:
    """Record an observation of a server, so that its host is not contacted for a while."""
    controller.cluster.record_observation(
        name, Observation(controller.clock.now(), ob_state, **more)
    )


async def test_info_and_status_routes_mark_unknown_state(controller: ApiController) -> None:
    for states, is_unknown in [((), True), ((0,), True), ((0, 0), False), ((1,), False)]:
        for name, state in zip((FIRST, SECOND), states, strict=False):
            record(controller, name, state)
        for path in ("info", "status"):
            data = (await controller.send("GET", f"/api/v1/{path}")).data
            assert data["obState"] == max(states, default=0)
            assert data.get("obStateUnknown", False) is is_unknown
    record(controller, FIRST, 0, is_known=False)
    assert (await controller.send("GET", "/api/v1/status")).data["obStateUnknown"] is True


@pytest_asyncio.fixture
async def observed(controller: ApiController) -> ApiController:
    """A controller that has just observed its servers: none responded."""
    await controller.monitor.refresh()
    return controller


async def test_info_and_status_routes_report_observation_age(controller: ApiController) -> None:
    for path in ("info", "status"):
        assert "observedAt" not in (await controller.send("GET", f"/api/v1/{path}")).data
    record(controller, FIRST, 3, version="1.4.0")
    at = (await controller.send("GET", "/api/v1/time")).data
    controller.clock.advance(2.5)
    for path in ("info", "status"):
        data = (await controller.send("GET", f"/api/v1/{path}")).data
        assert (data["observedAt"], data["observedAgeMs"]) == (at, 2500)
    assert (await controller.send("GET", "/api/v1/info")).data["obVersion"] == "1.4.0"


async def test_info_route_at_server_address_reports_home_and_ports(
    controller: ApiController,
) -> None:
    path = controller.cluster.path
    path.write_text(path.read_text().replace("10.0.0.1", AGENT.ip))
    controller.cluster.reload()
    info = (await controller.send("GET", "/api/v1/info")).data
    assert (info["homePath"], info["zone"]) == ("/home/admin/seekdb", "zone1")
    assert (await controller.send("GET", "/api/v1/status")).data["sqlPort"] == 2881


async def test_status_route_reports_under_maintenance_while_locked(
    controller: ApiController,
) -> None:
    dag = await controller.start_held()
    assert (await controller.send("GET", "/api/v1/status")).data["underMaintenance"] is True
    assert controller.latch is not None
    controller.latch.open()
    await controller.wait_for_end(dag)
    assert (await controller.send("GET", "/api/v1/status")).data["underMaintenance"] is False


@pytest.mark.parametrize("text", ["1", "-1", "", "1) */ drop", "x" * 300, "%27%3B--"])
async def test_status_route_ignores_ob_query_timeout(controller: ApiController, text: str) -> None:
    target = f"/api/v1/status?ob_query_timeout={text.replace(' ', '%20')}"
    for method in ("GET", "POST"):
        assert (await controller.send(method, target)).data["state"] == 2
    status = await controller.get(f"/agents/status?ob_query_timeout={text.replace(' ', '%20')}")
    assert str(AGENT) in status


async def test_ob_info_route_without_reachable_server_has_no_topology(
    observed: ApiController,
) -> None:
    info = await observed.get("/ob/info")
    assert list(info) == ["agent_info", "obcluster_info"]
    agent = {"zone": "zone1", "identity": "CLUSTER AGENT", "version": dagengine.__version__}
    assert info["agent_info"] == [
        {"ip": "10.0.0.1", "port": 2886} | agent,
        {"ip": "fe80::1", "port": 2887} | agent | {"zone": "zone2"},
    ]
    assert info["obcluster_info"] == {
        "id": 1,
        "name": "wire",
        "version": "",
        "topology": None,
        "is_shared_storage": False,
    }


async def test_ob_info_route_with_reachable_server_lists_every_server(
    observed: ApiController,
) -> None:
    record(observed, FIRST, 3, version="4.3.1.0-12")
    cluster = (await observed.get("/ob/info"))["obcluster_info"]
    assert cluster["version"] == "4.3.1.0-12"
    first, second = cluster["topology"]["zone1"][0], cluster["topology"]["zone2"][0]
    assert first == {
        "svr_ip": "10.0.0.1",
        "svr_port": 2882,
        "sql_port": 2881,
        "agent_port": 2886,
        "with_rootserver": "NO",
        "status": "ACTIVE",
        "build_version": "4.3.1.0",
    }
    assert (second["status"], second["build_version"]) == ("UNKNOWN", "")
    rows = {("10.0.0.1", 2882): TableRow("ACTIVE", is_stopped=True, with_rootserver=True)}
    observed.cluster.record_table(rows)
    stopped = (await observed.get("/ob/info"))["obcluster_info"]["topology"]["zone1"][0]
    assert (stopped["status"], stopped["with_rootserver"]) == ("STOPPED", "YES")


async def test_ob_agents_route_lists_servers(controller: ApiController) -> None:
    agents = [{"ip": "10.0.0.1", "port": 2886}, {"ip": "fe80::1", "port": 2887}]
    assert await controller.get("/ob/agents") == {"contents": agents}


async def test_agents_status_route_omits_unreachable_hosts(observed: ApiController) -> None:
    assert list(await observed.get("/agents/status")) == [str(AGENT)]
    record(observed, SECOND, 1)
    status_by_agent = await observed.get("/agents/status")
    assert set(status_by_agent) == {str(AGENT), SECOND}
    assert status_by_agent[SECOND] | {"pid": 0, "startAt": 0, "version": ""} == {
        "agent": {"ip": "fe80::1", "port": 2887, "identity": "CLUSTER AGENT"},
        "state": 2,
        "version": "",
        "pid": 0,
        "startAt": 0,
        "port": 2887,
        "obState": 1,
        "underMaintenance": False,
        "sqlPort": 2891,
    }


async def test_obcluster_info_route_reports_known_state(observed: ApiController) -> None:
    record(observed, FIRST, 3, version="4.3.1.0-12")
    info = await observed.get("/obcluster/info")
    assert list(info) == [
        *("cluster_name", "cluster_id", "status", "is_community_edition", "is_standalone"),
        *("ob_version", "dead_lock_detection_enabled", "startup_mode", "is_shared_storage"),
        *("stats", "zones", "tenants", "tenant_stats"),
    ]
    assert (info["cluster_name"], info["cluster_id"], info["ob_version"]) == ("wire", 1, "4.3.1.0")
    assert info["status"] == "UNAVAILABLE"  # one zone of two
    assert [(z["name"], z["status"]) for z in info["zones"]] == [
        ("zone1", "RUNNING"),
        ("zone2", "UNKNOWN"),
    ]
    first, second = (zone["servers"][0] for zone in info["zones"])
    assert (first["status"], first["obshell_port"]) == ("RUNNING", 2886)
    assert (first["ob_status"], first["with_rootserver"]) == (3, False)
    assert (second["status"], second["ob_status"]) == ("UNAVAILABLE", 0)
    assert "127.0.0.1:1" in second["why"]
    assert await observed.get("/obcluster/topology/info") == {"zones": info["zones"]}


async def test_topology_route_reports_process_of_server(observed: ApiController) -> None:
    started_at = observed.clock.now() - timedelta(seconds=90)
    record(observed, FIRST, 3, pid=4711, started_at=started_at)
    zones = (await observed.get("/obcluster/topology/info"))["zones"]
    first, second = (zone["servers"][0] for zone in zones)
    assert first["pid"] == 4711
    assert datetime.fromisoformat(first["process_start"]) == started_at
    assert not {"pid", "process_start"} & second.keys()


async def test_topology_route_probe_now_ignores_cache(observed: ApiController) -> None:
    record(observed, FIRST, 3)  # its host does not respond
    zones = (await observed.get("/obcluster/topology/info"))["zones"]
    assert zones[0]["servers"][0]["ob_status"] == 3
    zones = (await observed.get("/obcluster/topology/info?probe=now"))["zones"]
    assert zones[0]["servers"][0]["ob_status"] == 0
    assert "127.0.0.1:1" in zones[0]["servers"][0]["why"]


async def test_obcluster_info_route_reports_start_targets_starting(observed: ApiController) -> None:
    observed.latch = Latch()
    dag = await observed.start({"scope": {"type": "ZONE", "target": ["zone2"]}})
    async with asyncio.timeout(20):
        await observed.latch.reached.wait()
    info = await observed.get("/obcluster/info")
    assert info["local_task_id"] == dag["id"]
    first, second = info["zones"]
    assert "local_task_id" not in first
    assert (second["status"], second["local_task_id"]) == ("STARTING", dag["id"])
    (server,) = second["servers"]
    assert (server["status"], server["local_task_id"]) == ("STARTING", dag["id"])
    observed.latch.open()
    await observed.wait_for_end(dag)
    assert "local_task_id" not in await observed.get("/obcluster/info")


@pytest.mark.parametrize(
    ("path", "message"),
    [("ob", "集群未处于运维状态"), ("agent", "控制器未处于运维状态")],
)
async def test_maintain_routes_without_holder_answer_in_chinese(
    controller: ApiController, path: str, message: str
) -> None:
    path = f"/api/v1/task/dag/maintain/{path}"
    headers = {"Accept-Language": "zh"} | controller.sign(path)
    response = await controller.send("GET", path, headers=headers)
    assert response.body["error"]["message"] == f"Task not found: 任务不存在：{message}"


async def test_maintain_routes_return_dag_holding_lock(controller: ApiController) -> None:
    for path, whose in (("ob", "Cluster"), ("agent", "Agent")):
        response = await controller.send_signed("GET", f"/task/dag/maintain/{path}")
        assert response.refusal == (404, "Task.NotFound", None)
        expected = f"Task not found: {whose} is not under maintenance"
        assert response.body["error"]["message"] == expected
    assert await controller.get("/task/dag/maintain/agents") == {"contents": []}
    dag = await controller.start_held()
    for path in ("ob", "agent"):
        assert await controller.get(f"/task/dag/maintain/{path}") == dag
        short = await controller.get(f"/task/dag/maintain/{path}?show_details=false")
        assert (short["id"], short["nodes"]) == (dag["id"], None)
    (listed,) = (await controller.get("/task/dag/maintain/agents"))["contents"]
    assert listed == dag | {"additional_data": listed["additional_data"]}
    data = dag["additional_data"] or {}
    assert listed["additional_data"] == data | {"main_dag_id": dag["id"]}
    (short,) = (await controller.get("/task/dag/maintain/agents?show_details=false"))["contents"]
    assert short["additional_data"] == {"main_dag_id": dag["id"]}
    assert controller.latch is not None
    controller.latch.open()
    await controller.wait_for_end(dag)
    assert (await controller.send_signed("GET", "/task/dag/maintain/ob")).status == 404

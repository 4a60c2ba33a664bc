"""A controller of several clusters: isolation, the service's routes, bulk start, forgetting."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector, UnixConnector

from dagengine.client import ApiRefused, Client, FleetClient, TlsConfig
from dagengine.errors import ConfigError, ControllerUnreachable, StoreInUse
from dagengine.testing import eventually
from tasks.demo.hosts import free_port
from tests.support.authority import Authority
from tests.support.fleet_controller import NAMES, FleetController


@pytest.fixture
def fleet_controller(tmp_path: Path) -> FleetController:
    return FleetController(tmp_path)


async def read_text(base: str, path: str) -> tuple[int, str]:
    """GET a path without a login, at a URL or a unix socket."""
    is_unix = base.startswith("unix:")
    connector: Any = UnixConnector(base.removeprefix("unix:")) if is_unix else TCPConnector()
    url = "http://localhost" if is_unix else base
    async with ClientSession(connector=connector) as session, session.get(url + path) as response:
        return response.status, await response.text()


async def test_each_listener_shows_its_own_cluster_only(fleet_controller: FleetController) -> None:
    async with (
        fleet_controller.running(),
        fleet_controller.client("alpha") as alpha,
        fleet_controller.client("beta") as beta,
    ):
        dag = await alpha.create("/go", {})
        await eventually(lambda: _holds_lock(alpha))
        assert [each["id"] for each in await alpha.list_dags()] == [dag["id"]]
        assert (await alpha.list_audit())[0]["action"] == "START"
        assert (await beta.list_dags(), await beta.list_audit()) == ([], [])
        assert [lock["dag_id"] for lock in await beta.list_locks()] == []
        other = await beta.create("/go", {})
        assert other["dag_id"] == dag["dag_id"] == 1
        assert other["id"] != dag["id"]
        with pytest.raises(ApiRefused, match="Task not found"):
            await beta.get_dag(dag["id"])
        assert (await alpha.info())["identity"] == "CLUSTER AGENT"
    stores = {path.name for path in (fleet_controller.directory / "var").glob("*.sqlite")}
    assert stores == {*(f"{name}.sqlite" for name in NAMES), "service.sqlite"}


async def _holds_lock(client: Client) -> bool:
    return any(lock["dag_id"] for lock in await client.list_locks())


async def test_service_lists_clusters_controllers_and_dags(
    fleet_controller: FleetController,
) -> None:
    async with fleet_controller.running(), fleet_controller.fleet() as fleet:
        for name in ("beta", "alpha"):
            async with fleet_controller.client(name) as client:
                await client.create("/go", {})
        clusters = {cluster["name"]: cluster for cluster in await fleet.list_clusters()}
        assert [*clusters] == list(NAMES)
        assert {cluster["condition"] for cluster in clusters.values()} == {"served"}
        alpha = clusters["alpha"]
        assert (alpha["running"], alpha["servers"], alpha["cluster_id"]) == (1, 1, 1)
        assert (alpha["last"]["name"], clusters["gamma"]["last"]) == ("hold", None)
        (controller,) = await fleet.list_controllers()
        assert (controller["state"], controller["clusters"]) == ("LIVE", list(NAMES))
        assert {cluster["owner"] for cluster in clusters.values()} == {controller["id"]}
        page, cursor = await fleet.search_dags(limit=1)
        rest, end = await fleet.search_dags(limit=1, cursor=cursor)
        assert [each["cluster"] for each in (*page, *rest)] == ["alpha", "beta"]
        assert end == ""
        only, _ = await fleet.search_dags(clusters=["beta"])
        assert [each["cluster"] for each in only] == ["beta"]
        with pytest.raises(ApiRefused, match="no cluster 'x'"):
            await fleet.search_dags(clusters=["x"])


async def test_bulk_start_is_bounded_and_audited(tmp_path: Path) -> None:
    fleet_controller = FleetController(tmp_path, clusters_at_once=2)
    async with fleet_controller.running(), fleet_controller.fleet() as fleet:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(
                fleet.start(NAMES, {"reason": "maintenance"}, key="k1"), name="start"
            )
            await eventually(lambda: _count_dags(fleet, 2))
            assert not call.done()  # the third one waits
            first, _ = (await fleet.search_dags())[0]
            fleet_controller.latches[first["cluster"]].open()
        results = {result["cluster"]: result for result in call.result()}
        assert [*results] == list(NAMES)
        assert {result["error"] for result in results.values()} == {None}
        for name in NAMES:
            async with fleet_controller.client(name) as client:
                (row,) = await client.list_audit()
                assert row["reason"] == "maintenance"
                assert row["by"].startswith("uid ")
                assert "at the socket" in row["by"]
        again = await fleet.start(NAMES, {"reason": "maintenance"}, key="k1")
        assert [each["dag"]["id"] for each in again] == [
            result["dag"]["id"] for result in results.values()
        ]
        assert await _count_dags(fleet, 3)


async def _count_dags(fleet: FleetClient, expected: int) -> bool:
    return len((await fleet.search_dags())[0]) == expected


async def test_bulk_start_continues_after_a_restart(fleet_controller: FleetController) -> None:
    async with fleet_controller.running(), fleet_controller.fleet() as fleet:
        first = await fleet.start(["alpha"], {}, key="k")
    async with fleet_controller.running(), fleet_controller.fleet() as fleet:
        both = await fleet.start(["alpha"], {}, key="k")
        assert both[0]["dag"]["id"] == first[0]["dag"]["id"]
        changed = await fleet.start(["alpha"], {"reason": "x"}, key="k")
        assert changed[0]["error"]["errCode"] == "Request.IdempotencyKey.Reused"


@pytest.mark.parametrize(
    ("clusters", "request_body", "status", "part"),
    [
        (["alpha", "x"], {}, 404, "no cluster 'x'"),
        ([], {}, 400, "clusters"),
    ],
)
async def test_bulk_start_with_a_fault_starts_nothing(
    fleet_controller: FleetController,
    clusters: list[str],
    request_body: dict[str, Any],
    status: int,
    part: str,
) -> None:
    async with fleet_controller.running(), fleet_controller.fleet() as fleet:
        with pytest.raises(ApiRefused, match=part) as caught:
            await fleet.start(clusters, request_body)
        assert caught.value.status == status
        assert await _count_dags(fleet, 0)


async def test_bulk_start_reports_the_error_of_one_cluster(
    fleet_controller: FleetController,
) -> None:
    async with fleet_controller.running(), fleet_controller.fleet() as fleet:
        (result,) = await fleet.start(["alpha"], {"reason": 5})
        assert (result["dag"], result["error"]["errCode"]) == (None, "Common.BindJsonFailed")


async def test_broken_cluster_is_refused_and_opened_by_reload(
    fleet_controller: FleetController,
) -> None:
    (fleet_controller.directory / "beta.yaml").write_text("name: [")
    async with fleet_controller.running() as controller, fleet_controller.fleet() as fleet:
        assert [served.name for served in controller.served] == ["alpha", "gamma"]
        beta = next(each for each in await fleet.list_clusters() if each["name"] == "beta")
        assert beta["condition"] == "refused"
        assert "beta.yaml" in beta["reason"]
        status, body = await read_text(fleet_controller.urls["beta"], "/api/v1/info")
        assert (status, json.loads(body)["error"]["errCode"]) == (503, "Agent.RPC.RequestError")
        status, body = await read_text(fleet_controller.service_url, "/readyz")
        assert (status, json.loads(body)["clusters"]["beta"]) == (503, "refused")
        (result,) = await fleet.start(["beta"], {})
        assert "not served" in result["error"]["message"]
        fleet_controller.write_cluster("beta", 2)
        controller.reload()
        await eventually(lambda: _is_ready(fleet_controller.service_url))
        async with fleet_controller.client("beta") as client:
            assert await client.list_dags() == []


async def _is_ready(base: str) -> bool:
    return (await read_text(base, "/readyz"))[0] == 200


async def test_cluster_of_another_name_is_refused(fleet_controller: FleetController) -> None:
    fleet_controller.engine["clusters"]["beta"]["file"] = "gamma.yaml"
    async with fleet_controller.running() as controller:
        assert [served.name for served in controller.served] == ["alpha", "gamma"]


async def test_controller_without_any_usable_cluster_fails(
    fleet_controller: FleetController,
) -> None:
    for name in NAMES:
        (fleet_controller.directory / f"{name}.yaml").unlink()
    with pytest.raises(ConfigError, match=r"alpha\.yaml"):
        async with fleet_controller.running():
            pass


async def test_forget_deletes_only_what_is_not_configured(
    fleet_controller: FleetController,
) -> None:
    async with fleet_controller.running(), fleet_controller.fleet() as fleet:
        await fleet.start(["alpha"], {})
        with pytest.raises(ApiRefused, match="is configured"):
            await fleet.forget("alpha")
        with pytest.raises(ApiRefused, match="no cluster"):
            await fleet.forget("../var/alpha")
    for name in ("alpha", "beta"):
        del fleet_controller.engine["clusters"][name]
    var = fleet_controller.directory / "var"
    async with fleet_controller.running(), fleet_controller.fleet() as fleet:
        clusters = {each["name"]: each["condition"] for each in await fleet.list_clusters()}
        assert clusters == {
            "alpha": "not configured",
            "beta": "not configured",
            "gamma": "served",
        }
        with pytest.raises(ApiRefused, match="1 unfinished"):
            await fleet.forget("alpha")
        await fleet.forget("beta")
        assert [path.name for path in var.glob("beta*")] == []
        assert (var / "alpha.sqlite").exists()
        with pytest.raises(ApiRefused, match="no cluster 'service'"):
            await fleet.forget("service")
    assert (var / "service.sqlite").exists()


async def test_second_controller_is_refused_by_the_first(
    fleet_controller: FleetController,
) -> None:
    async with fleet_controller.running():
        for cluster in fleet_controller.engine["clusters"].values():
            cluster["port"] = free_port()
            cluster["socket"] = "none"
        with pytest.raises(StoreInUse):
            async with fleet_controller.running():
                pass


async def test_metrics_have_the_label_of_the_cluster(fleet_controller: FleetController) -> None:
    async with fleet_controller.running(), fleet_controller.fleet() as fleet:
        await fleet.start(["alpha"], {})
        _, text = await read_text(fleet_controller.service_url, "/metrics")
        assert 'dagengine_dags{cluster="alpha",state="RUNNING"} 1.0' in text
        assert 'dagengine_dags{cluster="beta",state="RUNNING"} 0.0' in text
        assert 'dagengine_cluster_served{cluster="gamma"} 1.0' in text
        lines = text.splitlines()
        assert lines.count("# TYPE dagengine_dags gauge") == 1
        assert len([line for line in lines if line.startswith("process_open_fds ")]) == 1
        assert len([line for line in lines if line.startswith("dagengine_ssh_connects")]) == 1
        _, own = await read_text(fleet_controller.urls["alpha"], "/metrics")
        assert 'dagengine_dags{cluster="alpha",state="RUNNING"} 1.0' in own
        assert 'cluster="beta"' not in own


async def test_port_of_service_needs_a_way_to_log_in(tmp_path: Path) -> None:
    port = free_port()
    fleet_controller = FleetController(tmp_path, ["alpha"], port=port)
    async with fleet_controller.running() as controller:
        assert controller.service is not None
        assert controller.service.url is None
        with pytest.raises(ControllerUnreachable):
            async with FleetClient(f"http://127.0.0.1:{port}") as fleet:
                await fleet.list_clusters()


async def test_client_certificate_logs_in_at_the_port(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path, "ca"), Authority(tmp_path, "stranger")
    server_cert, server_key = authority.issue("server")
    files = {"tls_cert_file": str(server_cert), "tls_key_file": str(server_key)}
    port = free_port()
    fleet_controller = FleetController(
        tmp_path, ["alpha"], port=port, tls_client_ca_file=str(authority.file), **files
    )
    url = f"https://127.0.0.1:{port}"
    async with fleet_controller.running() as controller:
        assert controller.service is not None
        assert controller.service.url == url
        trust = TlsConfig(authority.file, *authority.issue("operator"))
        async with FleetClient(url, trust=trust) as fleet:
            await fleet.start(["alpha"], {})
        async with fleet_controller.client("alpha") as client:
            (row,) = await client.list_audit()
            assert row["by"] == "certificate operator from 127.0.0.1"
        async with FleetClient(url, trust=TlsConfig(authority.file)) as fleet:
            with pytest.raises(ApiRefused):
                await fleet.list_clusters()
        trust = TlsConfig(authority.file, *stranger.issue("operator"))
        async with FleetClient(url, trust=trust) as fleet:
            with pytest.raises(ControllerUnreachable):
                await fleet.list_clusters()


async def test_service_document_has_its_routes(fleet_controller: FleetController) -> None:
    async with fleet_controller.running():
        status, text = await read_text(fleet_controller.service_url, "/openapi.json")
        assert status == 200
        assert {*json.loads(text)["paths"]} == {
            "/fleet/v1/clusters",
            "/fleet/v1/clusters/{name}",
            "/fleet/v1/controllers",
            "/fleet/v1/dags",
            "/fleet/v1/start",
            "/fleet/v1/tokens",
            "/fleet/v1/tokens/{name}",
        }

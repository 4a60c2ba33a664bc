"""`If-Plan-Matches`: a start or stop whose plan has changed does nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagengine.client import Client
from dagengine.errors import ApiRefused
from tests.integration.cluster.test_dry_run import run_command
from tests.support.plan_cluster import PlanCluster

Change = Callable[[PlanCluster], None]


def program(plan_cluster: PlanCluster) -> Path:
    return Path(plan_cluster.servers[0]["home"]) / "bin" / "seekdb"


def edit_cluster(plan_cluster: PlanCluster, change: Callable[[dict[str, Any]], None]) -> None:
    path = plan_cluster.directory / "cluster.yaml"
    cluster = json.loads(path.read_text())
    change(cluster)
    path.write_text(json.dumps(cluster))


def add_server(plan_cluster: PlanCluster) -> None:
    plan_cluster.add(2887)
    edit_cluster(plan_cluster, lambda cluster: cluster["zones"].update(z1=plan_cluster.servers))


def remove_program(plan_cluster: PlanCluster) -> None:
    program(plan_cluster).unlink()


def rename_cluster(plan_cluster: PlanCluster) -> None:
    edit_cluster(plan_cluster, lambda cluster: cluster.update(name="y"))


async def refused(client: Client, digest: str, **options: Any) -> dict[str, Any]:
    """Start with a digest; return the data of the refusal."""
    with pytest.raises(ApiRefused) as caught:
        await client.start(*options.pop("scope", ("GLOBAL",)), if_plan=digest, **options)
    assert (caught.value.status, caught.value.code) == (412, "Request.Plan.Changed")
    assert isinstance(caught.value.data, dict)
    return caught.value.data


async def test_unchanged_plan_is_executed(plan_cluster: PlanCluster) -> None:
    remove_program_of = plan_cluster.add(2886)
    remove_program(plan_cluster)  # blocked: the task ends by itself
    async with plan_cluster.client() as client:
        first, second = [await client.start("GLOBAL", dry_run=True) for _ in range(2)]
        assert first["digest"] == second["digest"]
        dag = await client.start("GLOBAL", if_plan=first["digest"])
        async for _ in client.follow(dag["id"]):
            pass
        assert (await client.get_dag(dag["id"]))["state"] == "FAILED"
        assert first["servers"][0]["server"] == remove_program_of


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (add_server, {"targets", "verdicts", "cluster_file"}),
        (remove_program, {"verdicts"}),
        (rename_cluster, {"cluster_file"}),
    ],
)
async def test_changed_plan_does_nothing(
    plan_cluster: PlanCluster, change: Change, parts: set[str]
) -> None:
    plan_cluster.add(2886)
    async with plan_cluster.client() as client:
        plan = await client.start("GLOBAL", dry_run=True)
        change(plan_cluster)
        new = await refused(client, plan["digest"])
        assert set(new["changed"]) == parts
        assert new["digest"] == (await client.start("GLOBAL", dry_run=True))["digest"]
        await plan_cluster.assert_nothing_happened(client)


async def test_other_request_than_the_plan_does_nothing(plan_cluster: PlanCluster) -> None:
    name = plan_cluster.add(2886)
    async with plan_cluster.client() as client:
        plan = await client.start("GLOBAL", dry_run=True)
        for options in ({"scope": ("SERVER", [name])}, {"skip_checks": ["memory"]}):
            assert (await refused(client, plan["digest"], **options))["changed"] == ["targets"]
        await plan_cluster.assert_nothing_happened(client)


async def test_repeated_request_with_key_of_plan_creates_one_dag(
    plan_cluster: PlanCluster,
) -> None:
    plan_cluster.add(2886)
    remove_program(plan_cluster)
    async with plan_cluster.client() as client:
        digest = (await client.start("GLOBAL", dry_run=True))["digest"]
        dags = await asyncio.gather(
            *(
                client.start("GLOBAL", if_plan=digest, key="of the plan".replace(" ", "-"))
                for _ in range(4)
            )
        )
        assert len({dag["id"] for dag in dags}) == 1
        assert len(await client.list_dags()) == 1


async def test_stop_with_changed_plan_does_nothing(plan_cluster: PlanCluster) -> None:
    plan_cluster.add(2886)
    async with plan_cluster.client() as client:
        stop = {"scope": {"type": "GLOBAL"}, "force": True}
        plan = await client.post("/ob/stop?dryRun=true", stop)
        rename_cluster(plan_cluster)
        with pytest.raises(ApiRefused) as caught:
            await client.post("/ob/stop", stop, if_plan=plan["digest"])
        assert caught.value.status == 412
        await plan_cluster.assert_nothing_happened(client)


@pytest.mark.parametrize(
    ("path", "reason"), [("/ob/start", "not the digest"), ("/ob/zone/z1/stop/check", "has no plan")]
)
async def test_digest_that_cannot_be_checked_is_refused(
    plan_cluster: PlanCluster, path: str, reason: str
) -> None:
    plan_cluster.add(2886)
    async with plan_cluster.client() as client:
        with pytest.raises(ApiRefused, match=reason) as caught:
            await client.post(path, {"scope": {"type": "GLOBAL"}}, if_plan="p1-x")
        assert caught.value.status == 400
        await plan_cluster.assert_nothing_happened(client)


async def test_cli_if_plan_prints_the_new_plan(plan_cluster: PlanCluster) -> None:
    plan_cluster.add(2886)
    async with plan_cluster.client() as client:
        _, output = await run_command(plan_cluster, "start", "--dry-run")
        digest = output[-1].split()[-1]
        remove_program(plan_cluster)
        code, output = await run_command(plan_cluster, "start", "--if-plan", digest)
        assert code == 1
        assert any("  127.0.0.1:2886  blocked" in line for line in output)
        await plan_cluster.assert_nothing_happened(client)

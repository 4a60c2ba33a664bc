"""Tokens of the service of a controller: created at its socket, used at its port."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagengine.cli import main
from dagengine.client import ApiRefused, Client, FleetClient
from dagengine.model.records import AuditRecord
from dagengine.server.controller import Controller
from dagengine.server.fleet.service_store import ServiceStore, SqliteServiceStore
from dagengine.store.mysql.credentials import MysqlCredentials
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing import eventually
from tasks.demo.hosts import free_port
from tests.support.fleet_controller import FleetController
from tests.support.shared_controller import SharedController, make_user
from tests.support.shared_database import make_database
from tests.support.store_databases import StoreDatabase

NOW = datetime(2024, 1, 1, tzinfo=UTC)


async def open_port(controller: Controller) -> None:
    """Let the controller open the port of its service, as SIGHUP does."""
    service = controller.service
    assert service is not None
    assert service.url is None
    controller.reload()

    async def is_open() -> bool:
        return service.url is not None

    await eventually(is_open)


@asynccontextmanager
async def token_of(url: str, name: str, **options: object) -> AsyncIterator[str]:
    """Create a token at the socket of the service; revoke it at the end."""
    async with Client(url, "") as local:
        created = await local.create_token(name, service=True, **options)  # type: ignore[arg-type]
        yield created["token"]
        await local.revoke_token(name, service=True)


async def test_service_token_is_limited_to_its_clusters(tmp_path: Path) -> None:
    port = free_port()
    files = FleetController(tmp_path, port=port)
    url = f"http://127.0.0.1:{port}"
    async with files.running() as controller:
        async with token_of(files.service_url, "ops", clusters=["alpha", "beta"]) as token:
            await open_port(controller)
            async with FleetClient(url, token=token) as fleet:
                clusters = await fleet.list_clusters()
                assert [cluster["name"] for cluster in clusters] == ["alpha", "beta"]
                (own,) = await fleet.list_controllers()
                assert own["clusters"] == ["alpha", "beta"]
                (result,) = await fleet.start(["beta"], {"reason": "on call"})
                assert result["error"] is None
                with pytest.raises(ApiRefused, match="no cluster 'gamma'"):
                    await fleet.start(["gamma"], {})
                with pytest.raises(ApiRefused, match="no cluster 'gamma'"):
                    await fleet.search_dags(clusters=["gamma"])
                dags, _ = await fleet.search_dags()
                assert [each["cluster"] for each in dags] == ["beta"]
            async with files.client("beta") as beta:
                (row,) = await beta.list_audit()
                assert row["by"] == "token ops from 127.0.0.1"
        async with FleetClient(url, token=token) as fleet:
            with pytest.raises(ApiRefused) as caught:
                await fleet.list_clusters()
            assert caught.value.status == 401
    store = SqliteStore(tmp_path / "var" / "service.sqlite")
    await store.open()
    audit = await store.list_audit(None, limit=10)
    await store.close()
    assert [row.action for row in audit] == ["REVOKE_TOKEN", "CREATE_TOKEN"]


async def test_read_only_service_token_starts_nothing(tmp_path: Path) -> None:
    files = FleetController(tmp_path, ["alpha"])
    async with (
        files.running(),
        token_of(files.service_url, "ro", read_only=True) as token,
        FleetClient(files.service_url, token=token) as fleet,
    ):
        assert len(await fleet.list_clusters()) == 1
        with pytest.raises(ApiRefused) as caught:
            await fleet.start(["alpha"], {})
        assert caught.value.status == 403


async def test_service_token_of_shared_store_is_valid_everywhere(
    seekdb_database: StoreDatabase, tmp_path: Path
) -> None:
    database = await make_database(seekdb_database.settings)
    await make_user(database)
    async with AsyncExitStack() as stack:
        first, second = (SharedController(tmp_path, name, database) for name in ("one", "two"))
        await stack.enter_async_context(first.running())
        await stack.enter_async_context(second.running())
        async with (
            token_of(first.service_url, "ops") as token,
            FleetClient(second.service_url, token=token) as fleet,
        ):
            assert [each["name"] for each in await fleet.list_clusters()] == ["alpha"]
        async with FleetClient(second.service_url, token=token) as fleet:
            with pytest.raises(ApiRefused) as caught:
                await fleet.list_clusters()
            assert caught.value.status == 401
    rows = await StoreDatabase(database).query(
        "SELECT audit_id, action FROM audit WHERE cluster = '' ORDER BY audit_id"
    )
    assert rows == [(1, "CREATE_TOKEN"), (2, "REVOKE_TOKEN")]


@pytest.mark.parametrize("kind", ["sqlite", "mysql"])
async def test_service_audit_has_every_row(
    kind: str, seekdb_database: StoreDatabase, tmp_path: Path
) -> None:
    row = AuditRecord(0, NOW, 0, None, "CREATE_TOKEN", "root", "'; -- \N{SNOWMAN}\n")
    store: ServiceStore = SqliteServiceStore(tmp_path / "service.sqlite")
    if kind == "mysql":
        store = MysqlCredentials(await make_database(seekdb_database.settings), "")
    await store.open()
    await store.append_audit(row)
    await store.append_audit(row)
    await store.close()
    with pytest.raises(Exception, match="closed"):
        await store.append_audit(row)


def test_token_with_service_uses_socket_of_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = FleetController(tmp_path, ["alpha"])
    files.engine_file.write_text(json.dumps(files.engine))
    create = ["token", "create", "--service", "--name", "ops", "-c", str(files.engine_file)]
    assert main([*create, "--cluster", "alpha,beta"]) != 0
    assert str(tmp_path / "var" / "service.sock") in capsys.readouterr().err
    assert main([*create, "--cluster", " , "]) != 0
    assert "names no cluster" in capsys.readouterr().err
    assert main(["token", "list", "--cluster", "alpha", "-c", str(files.engine_file)]) != 0
    assert str(tmp_path / "var" / "alpha.sock") in capsys.readouterr().err

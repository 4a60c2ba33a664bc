"""What `serve` and the commands on stores check of a shared store on a real seekdb."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from dagengine.cli import main
from dagengine.errors import ConfigError, StoreInUse, StoreUnavailable
from dagengine.extension import SelfCheckResult, SelfCheckStatus, inspect_shared_store
from dagengine.model.records import AuditRecord
from dagengine.remote.ssh.pool import SshPool
from dagengine.runtime.clock import SystemClock
from dagengine.server.config import load_config
from dagengine.store.copy import copy_to_file
from dagengine.store.epochs import RenewedEpoch, renew_epochs
from dagengine.store.membership import ClusterPins
from dagengine.store.mysql.membership import MysqlMembership
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.sqlite.identity import read_last_token
from dagengine.testing import eventually
from tasks.demo.hosts import LOOPBACK, DemoHosts
from tasks.doctor.examine import examine
from tests.support.shared_controller import CLUSTER, SharedController, make_user
from tests.support.shared_database import make_database
from tests.support.store_databases import StoreDatabase
from tests.support.tcp_proxy import TcpProxy

BOUND_S = 60.0
NOW = datetime(2024, 1, 1, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
AUDIT = AuditRecord(0, NOW, 0, None, "NEW_EPOCH", "root", "restored")


@pytest_asyncio.fixture
async def database(seekdb_database: StoreDatabase) -> MysqlSettings:
    database = await make_database(seekdb_database.settings)
    await make_user(database)
    return database


@asynccontextmanager
async def proxied(database: MysqlSettings) -> AsyncIterator[int]:
    """Provide another address of the database; yield its port."""
    proxy = TcpProxy(database.port)
    await proxy.start()
    try:
        yield proxy.port
    finally:
        await proxy.stop()


def write_managed(
    controller: SharedController,
    store: StoreDatabase,
    database: MysqlSettings,
    hosts: DemoHosts,
) -> None:
    """Write a cluster file whose server is that of the store."""
    (host,) = hosts.hosts
    ssh = {
        "port": host.port,
        "user": host.user,
        "key_file": str(host.key_file),
        "known_hosts": str(host.known_hosts),
    }
    server = {"ip": host.ip, "home": str(store.home), "sql_port": database.port}
    cluster = {"name": CLUSTER, "id": 1, "flavour": "seekdb", "root_password": "none"}
    controller.cluster_file.write_text(
        json.dumps({**cluster, "ssh": ssh, "zones": {"z": [server]}})
    )


# --- start ---------------------------------------------------------------------------------------


async def test_serve_refuses_store_on_managed_cluster_behind_proxy(
    seekdb_database: StoreDatabase,
    database: MysqlSettings,
    open_hosts: DemoHosts,
    tmp_path: Path,
) -> None:
    async with proxied(database) as port:
        controller = SharedController(tmp_path, "one", replace(database, port=port))
        write_managed(controller, seekdb_database, database, open_hosts)
        with pytest.raises(ConfigError, match=f"on a server of the cluster {CLUSTER}"):
            async with controller.running():
                pass
    rows = await StoreDatabase(database).query("SELECT COUNT(*) FROM controller")
    assert rows == [(0,)]


async def test_server_of_store_added_while_running_is_refused(
    seekdb_database: StoreDatabase,
    database: MysqlSettings,
    open_hosts: DemoHosts,
    tmp_path: Path,
) -> None:
    async with proxied(database) as port:
        controller = SharedController(tmp_path, "one", replace(database, port=port))
        valid = controller.cluster_file.read_text()
        async with controller.running() as running:
            (service,) = running.served

            async def is_owned() -> bool:
                return service.local is not None

            async def is_closed() -> bool:
                return service.local is None

            await eventually(is_owned, timeout_s=BOUND_S)
            with capture_logs() as logs:
                write_managed(controller, seekdb_database, database, open_hosts)
                running.reload()
                await eventually(is_closed, timeout_s=BOUND_S)
                rows = await StoreDatabase(database).query(
                    "SELECT owner, ready FROM cluster JOIN controller_cluster ON name = cluster"
                )
                assert rows in ([(1, 0)], [(None, 0)])  # it is given away, and not taken again
            refusals = [line for line in logs if line["event"] == "cluster_on_store"]
            assert len(refusals) == 1
            assert f"on a server of the cluster {CLUSTER}" in refusals[0]["reason"]
            assert "cluster of its own" in refusals[0]["remedy"]
            controller.cluster_file.write_text(valid)
            running.reload()
            await eventually(is_owned, timeout_s=BOUND_S)


async def test_serve_warns_of_single_server_and_untested_parts(
    database: MysqlSettings, tmp_path: Path
) -> None:
    with capture_logs() as logs:
        async with SharedController(tmp_path, "one", database).running():
            pass
    events = {line["event"]: line for line in logs}
    assert "single seekdb server" in events["store_without_redundancy"]["reason"]
    assert "obproxy and MySQL 8 are not tested" in events["store_checked"]["untested"]
    assert [line["event"] for line in logs].count("store_checked") == 1


async def test_serve_refuses_database_on_another_server(
    database: MysqlSettings, tmp_path: Path
) -> None:
    other = '{"address": "10.0.0.9:2881", "cluster": "", "created": "1"}'
    await StoreDatabase(database).query(
        f"INSERT INTO meta (name, value) VALUES ('store_identity', '{other}')"
    )
    with pytest.raises(StoreUnavailable, match="created on another database server"):
        async with SharedController(tmp_path, "one", database).running():
            pass


# --- doctor --------------------------------------------------------------------------------------


async def inspect(controller: SharedController) -> dict[str, SelfCheckStatus]:
    controller.engine_file.write_text(json.dumps(controller.engine))
    results = await inspect_shared_store(load_config(controller.engine_file, {}))
    return {result.check: result.health for result in results}


async def test_doctor_checks_shared_store_before_and_after_first_start(
    database: MysqlSettings, tmp_path: Path
) -> None:
    controller = SharedController(tmp_path, "one", database)
    ok, warn, bad = SelfCheckStatus.OK, SelfCheckStatus.WARN, SelfCheckStatus.BAD
    common = {
        "password of the store": ok,
        "store": ok,
        "server of the store": ok,
        "redundancy": warn,
        "lease": ok,
        "key of the service": ok,
        "controllers": ok,
    }
    assert await inspect(controller) == common
    assert not (tmp_path / "service.key.pem").exists()
    async with controller.running():
        found = await inspect(controller)
        assert found == {**common, "owner": found["owner"]}
    other = SharedController(tmp_path, "two", database)
    other.engine["store"]["lease_s"] = 10
    other.engine["api"]["key_file"] = "other.key.pem"
    assert await inspect(other) == {**common, "lease": bad, "key of the service": bad}
    await StoreDatabase(database).query("DELETE FROM meta WHERE name = 'schema_version'")
    assert (await inspect(controller))["store"] is bad


async def test_doctor_finds_store_on_managed_cluster_behind_proxy(
    seekdb_database: StoreDatabase,
    database: MysqlSettings,
    open_hosts: DemoHosts,
    ssh_pool: SshPool,
    tmp_path: Path,
) -> None:
    async with proxied(database) as port:
        controller = SharedController(tmp_path, "one", replace(database, port=port))
        controller.engine_file.write_text(json.dumps(controller.engine))

        async def compare() -> SelfCheckResult:
            results = await examine(controller.engine_file, ssh_pool, SystemClock())
            (result,) = (each for each in results if each.check == "servers and store")
            return result

        result = await compare()
        assert (result.subject, result.health) == (CLUSTER, SelfCheckStatus.OK)
        write_managed(controller, seekdb_database, database, open_hosts)
        result = await compare()
        assert (result.subject, result.health) == (CLUSTER, SelfCheckStatus.BAD)
        assert f"on a server of the cluster {CLUSTER}" in result.message
        assert "cluster of its own" in result.remedy


async def test_doctor_names_the_unreachable_store(tmp_path: Path) -> None:
    controller = SharedController(tmp_path, "one", MysqlSettings(LOOPBACK, 1, "root", "store"))
    found = await inspect(controller)
    assert found == {"password of the store": SelfCheckStatus.OK, "store": SelfCheckStatus.BAD}


# --- copied clusters -----------------------------------------------------------------------------


async def test_pins_of_copied_cluster_are_completed_once(database: MysqlSettings) -> None:
    await StoreDatabase(database).query(
        "INSERT INTO cluster (name, cluster_id, flavour, advertise, store_id, epoch, commit_no)"
        " VALUES ('copied', 0, '', '10.0.0.5:2886', X'00', 7, 3)"
    )
    membership = MysqlMembership(database, SystemClock(), bytes)
    own = ClusterPins("copied", 5, "seekdb", "10.0.0.6:2886")
    pinned = replace(own, advertise="10.0.0.5:2886")
    assert await membership.pin_cluster(own) == pinned
    other = replace(own, cluster_id=6)
    assert await membership.pin_cluster(other) == pinned
    await membership.close()


# --- commands on a local store -------------------------------------------------------------------


async def claim(
    controller: SharedController, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    controller.engine_file.write_text(json.dumps(controller.engine))
    words = ["hosts", "claim", f"{LOOPBACK}:2886", "--yes", "-c", str(controller.engine_file)]
    code = await asyncio.to_thread(main, words)
    return code, capsys.readouterr().err


async def test_hosts_claim_on_shared_store_names_owner_and_remedy(
    database: MysqlSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = SharedController(tmp_path, "one", database)
    code, printed = await claim(own, capsys)
    assert code == 2
    assert f"the cluster {CLUSTER}, which is in the shared store mysql://" in printed
    assert "no controller has ever owned it" in printed
    assert "runbook.md" in printed
    async with SharedController(tmp_path, "two", database).running() as owner:

        async def is_owned() -> bool:
            return owner.served[0].local is not None

        await eventually(is_owned, timeout_s=60.0)
        code, printed = await claim(own, capsys)
        assert code == 2
        assert "its owner is the controller " in printed
        assert owner.url in printed
    assert "no controller owns it now" in (await claim(own, capsys))[1]


async def test_hosts_claim_without_database_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = SharedController(tmp_path, "one", MysqlSettings(LOOPBACK, 1, "root", "store"))
    code, printed = await claim(lost, capsys)
    assert code == 2
    assert "its owner cannot be determined: " in printed


async def test_new_epoch_exceeds_that_of_earlier_copy(
    database: MysqlSettings, tmp_path: Path
) -> None:
    """A home that was claimed with the copy accepts the controllers of the shared store."""
    await add_clusters(database)
    await StoreDatabase(database).query("UPDATE controller SET state = 'LEFT'")
    path = tmp_path / "a.sqlite"

    async def pass_lease(_seconds: float) -> None: ...

    copied = await copy_to_file(database, "a", path, now_s=NOW_S)
    (renewed,) = await renew_epochs(database, "a", AUDIT, sleep=pass_lease)
    assert renewed.after >= copied.epoch
    assert read_last_token(path)[0].store_id == copied.store_id == "01" + 30 * "0"


# --- new epochs ----------------------------------------------------------------------------------


async def add_clusters(database: MysqlSettings) -> None:
    await StoreDatabase(database).query(
        "INSERT INTO cluster (name, cluster_id, flavour, advertise, store_id, owner, epoch,"
        " commit_no) VALUES ('a', 1, 'seekdb', '', X'01', 3, 7, 3),"
        f" ('b', 2, 'seekdb', '', X'02', NULL, {NOW_S + 5}, 3)"
    )
    await StoreDatabase(database).query(
        "INSERT INTO controller (controller_id, name, version, state, beat, started_at, seen_at)"
        " VALUES (3, 'lost', '1', 'LIVE', 9, 0, 0)"
    )


async def test_new_epochs_ignore_controllers_of_the_backup(database: MysqlSettings) -> None:
    await add_clusters(database)

    async def pass_lease(_seconds: float) -> None: ...

    renewed = await renew_epochs(database, None, AUDIT, sleep=pass_lease)
    assert renewed == [RenewedEpoch("a", 7, NOW_S), RenewedEpoch("b", NOW_S + 5, NOW_S + 6)]
    (again,) = await renew_epochs(database, "a", AUDIT, at_least=NOW_S + 9, sleep=pass_lease)
    assert again.after == NOW_S + 9
    rows = await StoreDatabase(database).query("SELECT name, owner, commit_no FROM cluster")
    assert sorted(rows) == [(b"a", None, 5), (b"b", None, 4)]
    audit = await StoreDatabase(database).query("SELECT cluster, action FROM audit")
    assert sorted(audit) == [(b"a", "NEW_EPOCH"), (b"a", "NEW_EPOCH"), (b"b", "NEW_EPOCH")]


async def test_new_epochs_of_used_store_are_refused(database: MysqlSettings) -> None:
    await add_clusters(database)

    async def beat(_seconds: float) -> None:
        await StoreDatabase(database).query("UPDATE controller SET beat = beat + 1")

    with pytest.raises(StoreInUse, match="in use by 1 controllers"):
        await renew_epochs(database, None, AUDIT, sleep=beat)
    with pytest.raises(StoreUnavailable, match="no cluster x"):
        await renew_epochs(database, "x", AUDIT, sleep=asyncio.sleep)


async def test_new_epoch_pins_the_server_of_a_restored_database(
    database: MysqlSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = '{"address": "10.0.0.9:2881", "cluster": "", "created": "1"}'
    await StoreDatabase(database).query(
        f"INSERT INTO meta (name, value) VALUES ('store_identity', '{other}')"
    )
    controller = SharedController(tmp_path, "one", database)
    controller.engine_file.write_text(json.dumps(controller.engine))
    command = ["store", "new-epoch", "-c", str(controller.engine_file)]
    assert await asyncio.to_thread(main, command) == 0
    assert "start the controllers" in capsys.readouterr().out
    async with controller.running() as running:
        service = running.served[0]

        async def is_owner() -> bool:
            return service.local is not None

        await eventually(is_owner, timeout_s=30)


# --- backup --------------------------------------------------------------------------------------


def test_backup_of_shared_store_names_the_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = MysqlSettings(LOOPBACK, 1, "root", "store")
    controller = SharedController(tmp_path, "one", settings)
    controller.engine_file.write_text(json.dumps(controller.engine))
    copy = tmp_path / "copy.sqlite"
    assert main(["backup", str(copy), "-c", str(controller.engine_file)]) == 2
    error = capsys.readouterr().err
    assert "use the backup of the database" in error
    assert str(tmp_path / "service.key.pem") in error
    assert not copy.exists()

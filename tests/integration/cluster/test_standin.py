"""The stand-in observer, on which the tests of the oceanbase flavour depend."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dagengine.mysql import (
    MysqlAccessDenied,
    MysqlConnectionLost,
    MysqlServerError,
    open_connection,
)
from dagengine.testing import eventually
from tasks.demo.hosts import free_port
from tasks.demo.reaper import ProcessReaper
from tests.support.standin.cluster import install
from tests.support.standin.cluster_state import Ledger, Member
from tests.support.standin.sql import write_config

PASSWORD = "p@ss"


@dataclass(frozen=True)
class Observers:
    """Three of them, one in each zone."""

    directory: Path
    members: list[Member]
    ledger: Ledger

    def home(self, number: int) -> Path:
        return self.directory / f"home{number}"

    def launch(self, number: int, **environment: str) -> subprocess.CompletedProcess[str]:
        home = self.home(number)
        library = {"LD_LIBRARY_PATH": f"{home}/lib"} | environment
        return subprocess.run(
            [str(home / "bin/observer")],
            cwd=home,
            env=os.environ | library,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def pid(self, number: int) -> int:
        return int((self.home(number) / "run/observer.pid").read_text())

    async def run_query(self, number: int, statement: str, password: str = PASSWORD) -> list[Any]:
        async with open_connection(
            ("127.0.0.1", self.members[number].sql_port),
            user="root",
            password=password,
            timeout_s=20,
        ) as connection:
            return list((await connection.query(statement)).rows)

    async def wait_dead(self, number: int) -> None:
        async def is_dead() -> bool:
            port = self.members[number].rpc_port
            return not self.ledger.rows("SELECT 1 FROM server WHERE alive AND svr_port = ?", port)

        await eventually(is_dead, what="the end of a stand-in")

    async def wait_serving(self, *numbers: int) -> None:
        async def serve() -> bool:
            return all(self.ledger.serves(self.members[number]) for number in numbers)

        await eventually(serve, timeout_s=60, what="the service of the stand-ins")

    async def code_of(self, number: int, statement: str) -> int:
        with pytest.raises(MysqlServerError) as caught:
            await self.run_query(number, statement)
        return caught.value.number


@pytest.fixture
def observers() -> Iterator[Observers]:
    guard = ProcessReaper("dagengine-standin-")
    ports = set[int]()
    while len(ports) < 6:
        ports.add(free_port())
    members = [Member("127.0.0.1", ports.pop(), ports.pop(), f"zone{n}") for n in (1, 2, 3)]
    ledger = Ledger(guard.directory / "ledger.sqlite")
    opened = Observers(guard.directory, members, ledger)
    ledger.bootstrap(members, PASSWORD)
    for number, member in enumerate(members):
        install(opened.home(number))
        write_config(opened.home(number), member, guard.directory / "ledger.sqlite")
        guard.watch_home(opened.home(number))
    yield opened
    ledger.close()
    assert guard.close()


async def test_standin_observer_daemonizes_and_serves_sql(
    observers: Observers,
) -> None:
    for number in range(3):
        assert observers.launch(number).returncode == 0
    await observers.wait_serving(0, 1, 2)
    assert await observers.run_query(0, "select 1") == [(1,)]
    ((version,),) = await observers.run_query(1, "select version()")
    assert "OceanBase" in version
    servers = await observers.run_query(
        2,
        "SELECT svr_ip, svr_port, zone, status FROM oceanbase.DBA_OB_SERVERS"
        " WHERE start_service_time > 0 AND stop_time IS NULL ORDER BY id",
    )
    assert servers == [(m.ip, m.rpc_port, m.zone, "ACTIVE") for m in observers.members]
    pid = observers.pid(0)
    argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    assert argv[0].decode() == str(observers.home(0) / "bin/observer")
    assert Path(f"/proc/{pid}/cwd").resolve() == observers.home(0)
    assert observers.launch(0).returncode == 1  # it runs already
    assert observers.pid(0) == pid


async def test_standin_without_majority_answers_only_select_1(
    observers: Observers,
) -> None:
    for number in range(3):
        observers.launch(number)
    await observers.wait_serving(0, 1, 2)
    os.kill(observers.pid(2), signal.SIGKILL)
    query = "SELECT status FROM oceanbase.DBA_OB_SERVERS ORDER BY id"

    await observers.wait_dead(2)
    assert await observers.run_query(0, query) == [("ACTIVE",), ("ACTIVE",), ("INACTIVE",)]
    os.kill(observers.pid(1), signal.SIGTERM)
    await observers.wait_dead(1)
    assert await observers.code_of(0, query) == 4012
    assert await observers.run_query(0, "select 1") == [(1,)]
    observers.launch(1)
    await observers.wait_serving(1)
    assert await observers.run_query(0, query) == [("ACTIVE",), ("ACTIVE",), ("INACTIVE",)]


async def test_standin_stops_and_starts_servers_and_zones_by_sql(observers: Observers) -> None:
    for number in range(3):
        observers.launch(number)
    await observers.wait_serving(0, 1, 2)
    first, second = (f"{m.ip}:{m.rpc_port}" for m in observers.members[:2])
    await observers.run_query(2, f"ALTER SYSTEM STOP SERVER '{first}'")
    stopped = "SELECT svr_port FROM oceanbase.DBA_OB_SERVERS WHERE stop_time > 0"
    assert await observers.run_query(2, stopped) == [(observers.members[0].rpc_port,)]
    assert await observers.code_of(2, f"ALTER SYSTEM STOP SERVER '{second}'") == 4660
    assert await observers.code_of(2, "ALTER SYSTEM STOP ZONE 'zone3'") == 4660
    await observers.run_query(2, f"ALTER SYSTEM START SERVER '{first}'")
    assert await observers.run_query(2, stopped) == []
    await observers.run_query(0, "ALTER SYSTEM STOP ZONE 'zone2'")
    zones = "SELECT zone FROM oceanbase.DBA_OB_ZONES WHERE status = 'INACTIVE'"
    assert await observers.run_query(2, zones) == [("zone2",)]
    await observers.run_query(0, "ALTER SYSTEM START ZONE 'zone2'")
    with pytest.raises(MysqlServerError, match="zone status not match"):
        await observers.run_query(0, "ALTER SYSTEM START ZONE 'zone2'")
    with pytest.raises(MysqlServerError, match="zone not exist"):
        await observers.run_query(0, "ALTER SYSTEM START ZONE 'it''s not there'")
    os.kill(observers.pid(1), signal.SIGKILL)
    await observers.wait_dead(1)
    assert await observers.code_of(2, "ALTER SYSTEM STOP ZONE 'zone3'") == 4179


async def test_standin_minor_freeze_advances_checkpoint(observers: Observers) -> None:
    for number in range(3):
        observers.launch(number)
    await observers.wait_serving(0, 1, 2)
    table = "oceanbase.__all_virtual_ls_info"
    query = f"SELECT svr_port, MIN(checkpoint_scn) FROM {table} GROUP BY svr_port"
    before = dict(await observers.run_query(0, query))
    address = f"127.0.0.1:{observers.members[1].rpc_port}"
    await observers.run_query(0, f"ALTER SYSTEM MINOR FREEZE SERVER = ('{address}')")
    after = dict(await observers.run_query(0, query))
    grown = [port for port, at in after.items() if at > before[port]]
    assert grown == [observers.members[1].rpc_port]


async def test_standin_fails_as_configured(observers: Observers) -> None:
    def configure(number: int, text: str) -> None:
        (observers.home(number) / "etc/standin.json").write_text(text)

    configure(0, '{"dies": "out of disk"}')
    assert observers.launch(0).returncode == 0
    log = observers.home(0) / "log/observer.log"

    async def is_dead() -> bool:
        has_logged = log.is_file() and "errcode=-4184" in log.read_text()
        return has_logged and not Path(f"/proc/{observers.pid(0)}").exists()

    await eventually(is_dead, what="its death")
    configure(0, '{"password": "another", "failures": 1, "code": 4023}')
    configure(1, '{"refuses_sql": true}')
    for number in range(3):
        observers.launch(number)
    await observers.wait_serving(0, 1, 2)
    with pytest.raises(MysqlAccessDenied):
        await observers.run_query(0, "select 1")
    assert await observers.run_query(0, "select 1", "another") == [(1,)]
    with pytest.raises(MysqlConnectionLost):
        await observers.run_query(1, "select 1")
    configure(0, '{"failures": 1, "code": 4023}')
    assert await observers.code_of(0, "ALTER SYSTEM STOP ZONE 'zone1'") == 4023
    await observers.run_query(0, "ALTER SYSTEM STOP ZONE 'zone1'")


def test_standin_without_library_or_config_does_not_start(observers: Observers) -> None:
    failed_launch = observers.launch(0, LD_LIBRARY_PATH="/elsewhere")
    assert (failed_launch.returncode, "shared libraries" in failed_launch.stderr) == (127, True)
    (observers.home(0) / "etc/observer.config.bin").unlink()
    assert observers.launch(0).returncode == 1

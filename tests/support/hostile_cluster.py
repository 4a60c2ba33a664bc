"""Two servers, a controller without SSH, and listeners on the SQL port of the first server."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import yaml

from dagengine import FencingToken, SystemClock
from dagengine.client import Client
from dagengine.model.step import StepContext
from dagengine.server.config import load_config
from dagengine.server.controller import run_controller
from dagengine.store import UnconfirmedRecord
from dagengine.testing import LocalRunnerPool, eventually
from tasks import EXTENSION
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.servers import Server
from tasks.demo.hosts import free_port
from tasks.flavours.select import FLAVOURS
from tasks.hosts.identity import ProcessIdentity
from tests.support.planted_key import plant_key
from tests.support.sql_listener import FRIENDLY, SALT, ListenerProcess, Recording

TOKEN = FencingToken("0" * 32, 1, 1, "test")
PASSWORD = "S3cret-pä55"
NOBODY = 65534
SQL_TIMEOUT_S = 0.3
FIRST, SECOND = "127.0.0.1:2886", "127.0.0.1:2887"
PROGRAMS = {"seekdb": "seekdb", "oceanbase": "observer"}


class ListenerOwner(StrEnum):
    """Which process listens on the SQL port of the first server."""

    OTHER_USER = "a process of another user"
    OTHER_PROCESS = "another process of the same user"
    SERVER = "the server process itself"


def disclosures(password: str) -> Iterator[bytes]:
    """Forms of a password that no listener may receive."""
    for encoding in ("utf-8", "latin-1"):
        raw = password.encode(encoding)
        once = hashlib.sha1(raw).digest()  # proves the password to any server
        for secret in (raw, hashlib.sha256(raw).digest(), once):
            yield secret
            yield secret.hex().encode()
            yield secret.hex().upper().encode()
        mask = SALT * (len(raw) // len(SALT) + 1)
        yield bytes(a ^ b for a, b in zip(raw, mask, strict=False))


def find_disclosures(recording: Recording, password: str = PASSWORD) -> list[bytes]:
    """Return the forbidden parts of a recording, including the content of a local file."""
    forms = [*disclosures(password), b"root:x:0"]
    return [form for form in forms if form in recording.received]


@dataclass
class FakeContext:
    """A StepContext of a step that is called without an engine.

    Attributes:
        data: what the stages before returned, by name of the stage.
    """

    target: str | None
    targets: tuple[str, ...] = (FIRST,)
    healthy_targets: tuple[str, ...] = (FIRST,)
    params: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    generic_id: str = "21"
    resumed: bool = False
    unconfirmed: UnconfirmedRecord | None = None
    fencing_token: FencingToken = TOKEN

    def id_of(self, dag_id: int) -> str:
        return f"2{dag_id}"

    def data_of(self, stage_name: str, target: str | None = None) -> Any:
        del target
        return self.data.get(stage_name)

    async def log(self, line: str) -> None:
        self.lines.append(line)

    def wait_for(
        self, kind: str, on: str, *, last: str = "", next_in_s: float | None = None
    ) -> None:
        """Nothing reads it."""

    def as_context(self) -> StepContext:
        return self  # type: ignore[return-value]  # the steps of these tests use no other member


def row_answers(servers: tuple[Server, ...]) -> dict[str, Any]:
    """Return the rows with which a friendly server describes the whole cluster."""
    first, second = servers
    table = [[s.ip, s.rpc_port, "ACTIVE", None, "NO", "4.3.1.0-1", "1700000000"] for s in servers]
    rows = [[s.ip, s.rpc_port, s.zone, "ACTIVE", "2024-01-01", None] for s in servers]
    return {
        "version()": [["4.3.1.0"]],
        "UNIX_TIMESTAMP(start_service_time) FROM oceanbase.DBA_OB_SERVERS": table,
        "FROM oceanbase.DBA_OB_SERVERS": rows,
        "FROM oceanbase.DBA_OB_ZONES": [[first.zone, "ACTIVE"], [second.zone, "ACTIVE"]],
        "FROM oceanbase.GV$OB_LOG_STAT": [],
        "FROM oceanbase.DBA_OB_TENANTS": [],
    }


class HostileCluster:
    """A cluster of two servers on this machine; the first one is attacked.

    Attributes:
        process: identity of the first server, once a test has determined it.
        server: process of the first server; recognized as such, listens only on request.
        friend: process of the second server, which answers SQL.
        client: of a controller for both.
    """

    def __init__(self, flavour: str, directory: Path) -> None:
        self.flavour = flavour
        self.directory = directory
        self.ports = (free_port(), free_port())
        self.homes = (directory / "home1", directory / "home2")
        for home in self.homes:
            for part in ("bin", "lib", "log", "run", "etc", "store"):
                (home / part).mkdir(parents=True)
        self._write_files()
        self.pool, self.clock = LocalRunnerPool(), SystemClock()
        self.cluster = ClusterFile(directory / "cluster.yaml", FLAVOURS)
        self.access = ClusterAccess(self.cluster, self.pool, self.clock)
        self.url = ""
        self.process: ProcessIdentity | None = None
        program = f"bin/{PROGRAMS[flavour]}"
        self._stack = ExitStack()
        self.server = self._start(self.homes[0] / program, self.homes[0])
        self.friend = self._start(self.homes[1] / program, self.homes[1])
        self._thieves: dict[ListenerOwner, ListenerProcess] = {ListenerOwner.SERVER: self.server}

    @property
    def first(self) -> Server:
        return self.cluster.servers[0]

    def rogue_listener(self, kind: ListenerOwner) -> ListenerProcess:
        """Return the process of this kind."""
        if kind not in self._thieves:
            uid = NOBODY if kind is ListenerOwner.OTHER_USER else None
            self._thieves[kind] = self._start(None, self.directory, uid=uid)
        return self._thieves[kind]

    def listen_on_second_server(self, changed: Mapping[str, Any] | None = None) -> None:
        """Let the second server answer SQL; `changed` replaces some of its answers."""
        answers = row_answers(tuple(self.cluster.servers)) | dict(changed or {})
        self.friend.listen(FRIENDLY, self.ports[1], answers)

    def set_sql_timeout(self, seconds: float) -> None:
        """Change how long the cluster's SQL may take, from the next request on."""
        entries = yaml.safe_load(self.cluster.path.read_text())
        self.cluster.path.write_text(yaml.safe_dump(entries | {"cluster_sql_timeout_s": seconds}))

    def client(self) -> Client:
        return Client(self.url, PASSWORD)

    def close(self) -> None:
        self._stack.close()

    def _start(
        self, program: Path | None, directory: Path, *, uid: int | None = None
    ) -> ListenerProcess:
        process = ListenerProcess(program, directory, uid=uid)
        self._stack.callback(process.end)
        return process

    def _write_files(self) -> None:
        known_hosts = self.directory / "known_hosts"
        known_hosts.touch()
        zones = {
            f"zone{number}": [
                {
                    "ip": "127.0.0.1",
                    "agent_port": 2885 + number,
                    "sql_port": port,
                    "rpc_port": free_port(),
                    "home": str(home),
                }
            ]
            for number, (home, port) in enumerate(zip(self.homes, self.ports, strict=True), 1)
        }
        cluster = {
            "name": "hostile",
            "id": 1,
            "flavour": self.flavour,
            "root_password_env": "DAGENGINE_ROOT_PASSWORD",
            "cluster_sql_timeout_s": SQL_TIMEOUT_S,
            "stop": {"freeze_timeout_s": SQL_TIMEOUT_S},
            "ssh": {"known_hosts": str(known_hosts)},
            "zones": zones,
        }
        engine = {
            "api": {"host": "127.0.0.1", "port": free_port()},
            "store": {"path": "store.sqlite"},
            "cluster": "cluster.yaml",
        }
        (self.directory / "cluster.yaml").write_text(yaml.safe_dump(cluster))
        (self.directory / "engine.yaml").write_text(yaml.safe_dump(engine))


@asynccontextmanager
async def open_hostile_cluster(flavour: str, directory: Path) -> AsyncIterator[HostileCluster]:
    """A cluster with its controller, in which a wait for SQL ends after one attempt."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGENGINE_ROOT_PASSWORD", PASSWORD)
        patch.setattr("tasks.operations.health.LIMIT_S", 0.0)
        patch.setattr("tasks.monitoring.monitor.CACHE_S", 0.0)
        patch.setattr("tasks.monitoring.monitor.WITHIN_S", 60.0)  # also on a busy machine
        patch.setattr("tasks.monitoring.monitor._CALL_S", 60.0)
        patch.setattr("dagengine.server.controller.SshPool", lambda *_: LocalRunnerPool())
        hostile_cluster = HostileCluster(flavour, directory)
        try:
            config = load_config(directory / "engine.yaml", {})
            plant_key(directory / "store.key.pem")
            async with run_controller(config, [EXTENSION]) as controller:
                hostile_cluster.url = controller.url
                yield hostile_cluster
        finally:
            hostile_cluster.close()


async def wait_dag(client: Client, dag_id: str) -> dict[str, Any]:
    """Return a DAG once it has ended."""
    dags: list[dict[str, Any]] = []

    async def has_ended() -> bool:
        dags.append(await client.get_dag(dag_id))
        return dags[-1]["state"] in ("SUCCEED", "FAILED")

    await eventually(has_ended, timeout_s=60, what=f"the end of DAG {dag_id}")
    return dags[-1]

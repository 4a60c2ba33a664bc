"""The processes of one service, its tables, and the effects of its steps."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagengine.store.membership import Fleet
from dagengine.store.mysql.connection import open_store_connection
from dagengine.store.mysql.membership import MysqlMembership
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.testing import eventually
from tests.support.owning_controller import HELD_STAGE, STAGES, Settings

ROOT = Path(__file__).parents[3]
BOUND_S = 60.0


class ControllerProcess:
    """One controller process."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.name = settings.name
        self.log = log
        command = [sys.executable, "-m", "tests.support.owning_controller", settings.render()]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def events(self, name: str) -> Sequence[dict[str, Any]]:
        """Return the log lines of one event."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [entry for entry in map(json.loads, lines) if entry.get("event") == name]


class ServiceProcesses:
    """Starts controllers on one database and reads what they do."""

    def __init__(
        self, database: MysqlSettings, store: MysqlMembership, directory: Path, clusters: int
    ) -> None:
        self._database = database
        self._store = store
        self._directory = directory
        self.clusters = tuple(f"k{number}" for number in range(clusters))
        self._hold = directory / "hold"
        self._hold.touch()
        self._processes: list[ControllerProcess] = []

    def start(self, name: str, *, port: int | None = None, **more: Any) -> ControllerProcess:
        settings = Settings(
            name,
            port or self._database.port,
            self._database.database,
            str(self._directory),
            **({"clusters": self.clusters} | more),
        )
        process = ControllerProcess(settings, self._directory / f"{name}.log")
        self._processes.append(process)
        return process

    def end(self) -> None:
        self._hold.unlink(missing_ok=True)  # commands of killed controllers end as well
        for each in self._processes:
            each.end()

    async def fleet(self) -> Fleet:
        return await self._store.read_fleet()

    async def owners(self) -> dict[str, str]:
        """Return the names of the LIVE owners by cluster."""
        fleet = await self.fleet()
        return {
            name: fleet.controllers[record.owner].name
            for name, record in fleet.clusters.items()
            if record.owner is not None and fleet.is_live(record.owner)
        }

    async def dag_states(self) -> dict[str, str]:
        connection = await open_store_connection(self._database)
        try:
            rows = (await connection.query("SELECT cluster, state FROM dag")).rows
        finally:
            connection.close()
        return {_text(cluster): _text(state) for cluster, state in rows}

    def lines(self, cluster: str) -> list[str]:
        """Return the effects of the steps so far."""
        file = self._directory / cluster
        return file.read_text().splitlines() if file.exists() else []

    async def until_owned_by(self, name: str, *clusters: str) -> None:
        wanted = dict.fromkeys(clusters or self.clusters, name)

        async def is_so() -> bool:
            return wanted.items() <= (await self.owners()).items()

        await self._until(is_so)

    async def until_live(self, *names: str) -> None:
        async def are_live() -> bool:
            fleet = await self.fleet()
            return {fleet.controllers[each].name for each in fleet.live()} >= set(names)

        await self._until(are_live)

    async def until_begun(self) -> None:
        """Wait until the command of HELD_STAGE runs in each cluster."""

        async def have_begun() -> bool:
            lines = [self.lines(cluster) for cluster in self.clusters]
            return all(f"1 {HELD_STAGE}" in each for each in lines)

        await self._until(have_begun)

    async def until_succeeded(self) -> None:
        """Let the held commands end, and wait for the end of all DAGs."""
        self._hold.unlink()
        wanted = dict.fromkeys(self.clusters, "SUCCEED")

        async def have_succeeded() -> bool:
            return await self.dag_states() == wanted

        await self._until(have_succeeded)

    async def until_logged(self, process: ControllerProcess, event: str, count: int = 1) -> None:
        async def is_logged() -> bool:
            return len(process.events(event)) >= count

        await self._until(is_logged)

    def check_effects(self) -> None:
        """Each step of each DAG has had its effect exactly once, in order."""
        expected = [f"1 s{number}" for number in range(STAGES)]
        for cluster in self.clusters:
            lines = self.lines(cluster)
            doubles = {line: n for line, n in Counter(lines).items() if n > 1}
            assert doubles == {}, (cluster, doubles)
            assert lines == expected, cluster

    async def _until(self, condition: Callable[[], Any]) -> None:
        try:
            await eventually(condition, timeout_s=BOUND_S)
        except AssertionError:
            logs = "\n".join(
                f"--- {each.name}\n{each.log.read_text()[-3000:]}" for each in self._processes
            )
            raise AssertionError(
                f"{await self.owners()} {await self.dag_states()}\n{logs}"
            ) from None


@contextmanager
def service_processes(
    database: MysqlSettings, store: MysqlMembership, directory: Path, clusters: int
) -> Iterator[ServiceProcesses]:
    """Provide a service without controllers; end all that are started."""
    service = ServiceProcesses(database, store, directory, clusters)
    try:
        yield service
    finally:
        service.end()


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

"""A controller process for faults: its steps have their effects over SSH, and points hold it.

Run as a program with one argument, a JSON object with the fields of `Settings`.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from random import SystemRandom
from typing import Any
from weakref import WeakKeyDictionary

from dagengine import (
    Engine,
    Failed,
    IdempotencyKey,
    Operation,
    Outcome,
    Problem,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.act_guard import ActGuard
from dagengine.errors import DagengineError
from dagengine.model.changes import Batch, LockReleased
from dagengine.model.fencing import Ownership
from dagengine.mysql import Connection, MysqlServerError, Result
from dagengine.ownership import engines
from dagengine.ownership.exit_timer import ExitTimer
from dagengine.ownership.local_cluster import LocalCluster
from dagengine.ownership.service import OwnershipService
from dagengine.ownership.timings import Timings
from dagengine.remote.command import script
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh import runner
from dagengine.remote.ssh.pool import SshPool
from dagengine.runtime.clock import SystemClock
from dagengine.runtime.logging import configure_logs
from dagengine.server.controller import STOP_LIMIT_S
from dagengine.store.membership import ClusterPins, JoiningController, MembershipStore
from dagengine.store.mysql.membership import MysqlMembership
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.store import MysqlStore
from tasks.hosts.fence import render_token
from tests.soak_fleet.points import Point, PointFiles

STAGES = 4
_PACKET = "commit_no ="  # in every packet that writes
_REFUSED = 1048
_POLL_S = 0.05
_LEASE_S = 2.5
_STEP_S = 90.0


@dataclass(frozen=True)
class Settings:
    """The argument of the program.

    Attributes:
        name: of this controller.
        port: of the database, or of a proxy to it.
        database: name of the database.
        directory: of the points, the homes and the file `round`.
        clusters: the clusters; each has the home of its name.
        host: address of the SSH server of all clusters.
        fence: whether the hosts compare fencing tokens.
    """

    name: str
    port: int
    database: str
    directory: str
    clusters: tuple[str, ...]
    ssh_port: int
    user: str
    key_file: str
    known_hosts: str
    fence: bool = True

    def render(self) -> str:
        return json.dumps(asdict(self))


class SoakEngines:
    """The ClusterHost of the process, and the steps of its engines."""

    def __init__(self, settings: Settings, points: PointFiles, pool: SshPool) -> None:
        self._settings = settings
        self._points = points
        self._database = MysqlSettings("127.0.0.1", settings.port, "root", settings.database)
        self._runner = pool.runner(
            HostAddress(
                host="127.0.0.1",
                port=settings.ssh_port,
                user=settings.user,
                key_file=Path(settings.key_file),
                known_hosts=Path(settings.known_hosts),
            )
        )
        fence = resources.files("tasks.hosts").joinpath("scripts", "fence.sh").read_text()
        self._script = fence + Path(__file__).with_name("step.sh").read_text()
        self._stages = [f"s{number}" for number in range(STAGES)]
        self._engines: dict[str, tuple[Engine, MysqlStore]] = {}
        self._submitted: dict[str, int] = {}

    async def open(self, cluster: str, ownership: Ownership, act_guard: ActGuard) -> None:
        self._points.hold(Point.TAKEN, self._settings.name)
        store = MysqlStore(self._database, ownership)
        engine = Engine(
            store=store,
            operations=[self._operation(cluster)],
            controller_name=self._settings.name,
            act_guard=act_guard,
        )
        await engine.__aenter__()
        self._engines[cluster] = engine, store
        self._submitted.pop(cluster, None)
        Path(self._settings.directory, "opened", f"{cluster}.{ownership.epoch}").touch()

    async def close(self, cluster: str) -> None:
        if (pair := self._engines.pop(cluster, None)) is not None:
            await pair[0].__aexit__(None, None, None)

    async def drop(self, cluster: str) -> None:
        self._points.hold(Point.CLEAN_UP, self._settings.name)
        await self.close(cluster)

    def is_running(self, cluster: str) -> bool:
        pair = self._engines.get(cluster)
        return pair is not None and pair[0].is_scheduling

    def is_idle(self, cluster: str) -> bool:
        pair = self._engines.get(cluster)
        return pair is not None and not pair[0].has_active_dags

    async def submit_rounds(self) -> None:
        """Submit one DAG per round in each cluster; a commit is stale if that point is armed."""
        rounds = Path(self._settings.directory, "round")
        while True:
            number = int(rounds.read_text())
            for cluster, (engine, store) in list(self._engines.items()):
                try:
                    if number > self._submitted.get(cluster, 0):
                        key = IdempotencyKey(f"round {number}", "digest")
                        await engine.submit(Submission("count"), key=key)
                        self._submitted[cluster] = number
                    if self._points.armed(Point.AFTER_1048).exists():
                        stale = LockReleased("none", 1, 1 << 40, datetime.now(UTC))
                        await store.commit([Batch(1, None, (stale,))])
                except DagengineError:
                    continue  # the next pass repeats it, here or in the new owner
            await asyncio.sleep(_POLL_S)

    def _operation(self, cluster: str) -> Operation:
        home = Path(self._settings.directory, "homes", cluster)

        async def run(context: StepContext) -> Outcome:
            stage = next(name for name in self._stages if context.data_of(name) is None)
            token = render_token(context.fencing_token) if self._settings.fence else ""
            mode = "probe" if context.resumed else "act"
            line = f"{context.dag_id} {stage}"
            words = (str(home), line, mode, token, self._settings.directory, self._settings.name)
            result = await self._runner.run(script(self._script, "step", *words), timeout_s=_STEP_S)
            if result.exit_status != 0:
                return Failed(Problem("Test.Refused", f"{result.exit_status} {result.stdout}"))
            return Succeeded({"by": self._settings.name})

        stages = tuple(Stage(name, StageKind.NORMAL, run) for name in self._stages)
        return Operation("count", stages)


def install_points(settings: Settings, points: PointFiles) -> None:
    """Put the points into the product's functions of this process."""
    query_all, may_act = Connection.query_all, runner.wait_until_may_act
    give_away = engines.give_away

    async def query_and_hold(self: Connection, statement: str, **options: Any) -> Sequence[Result]:
        if _PACKET not in statement or "epoch = epoch + 1" in statement:
            return await query_all(self, statement, **options)
        query = asyncio.ensure_future(query_all(self, statement, **options))
        await asyncio.sleep(0)  # the packet is on its way
        points.hold(Point.PACKET_SENT, settings.name)
        try:
            results = await query
        except MysqlServerError as exc:
            if exc.number == _REFUSED:
                points.hold(Point.AFTER_1048, settings.name)
            raise
        points.hold(Point.COMMITTED, settings.name)
        return results

    checks: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    async def wait_and_hold() -> None:
        await may_act()
        task = asyncio.current_task()
        checks[task] = checks.get(task, 0) + 1
        if checks[task] % 2 == 0:  # a runner checks again when the connection is ready
            points.hold(Point.ACT, settings.name)

    async def hold_and_give_away(
        store: MembershipStore, ownership: Ownership, to: int | None
    ) -> None:
        if to is not None:
            points.hold(Point.HAND_OVER, settings.name)
        await give_away(store, ownership, to)

    Connection.query_all = query_and_hold  # type: ignore[method-assign]
    runner.wait_until_may_act = wait_and_hold
    engines.give_away = hold_and_give_away


def print_tasks() -> None:
    """Print where each task of the process waits."""
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)


async def main(settings: Settings) -> None:
    configure_logs(sys.stderr)
    faulthandler.register(signal.SIGUSR1)  # shows a point that holds the process
    points = PointFiles(Path(settings.directory))
    install_points(settings, points)
    clock, stopping = SystemClock(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGUSR2, print_tasks)
    pool = SshPool(clock, SystemRandom())
    host = SoakEngines(settings, points, pool)
    database = MysqlSettings("127.0.0.1", settings.port, "root", settings.database)
    pins = [ClusterPins(name, 1, "seekdb", "2886 127.0.0.1") for name in settings.clusters]
    service = OwnershipService(
        lambda: MysqlMembership(database, clock, secrets.token_bytes),
        JoiningController(settings.name, "1", _LEASE_S, "ab" * 32),
        lambda: [LocalCluster(pin, "http://x", "d") for pin in pins],
        host,
        clock,
        replace(Timings(), hand_over_s=2.0),
        lambda: os._exit(70),
    )
    await service.join()
    service.start()
    async with asyncio.TaskGroup() as group:
        submitting = group.create_task(host.submit_rounds(), name="submit rounds")
        await stopping.wait()
        # As in `serve`. It is never cancelled: the end of the event loop and of the threads counts.
        ExitTimer(STOP_LIMIT_S, lambda: os._exit(os.EX_TEMPFAIL), "stop_late").start()
        submitting.cancel()
    await service.leave()
    await pool.close()


if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    try:
        asyncio.run(main(Settings(**(fields | {"clusters": tuple(fields["clusters"])}))))
    except DagengineError as exc:
        sys.exit(str(exc))

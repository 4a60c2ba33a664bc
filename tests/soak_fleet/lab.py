"""Three controllers, their database, a host and an oracle; injects faults at named points."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from dagengine.errors import StoreError
from dagengine.mysql import MysqlError
from dagengine.runtime.clock import SystemClock
from dagengine.store.membership import Fleet
from dagengine.store.mysql.connection import open_store_connection
from dagengine.store.mysql.membership import MysqlMembership
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.testing import eventually
from tasks.demo.cluster import find_seekdb
from tasks.demo.hosts import DemoHosts
from tests.soak_fleet.controller import STAGES, Settings
from tests.soak_fleet.points import Point, PointFiles
from tests.support.silent_proxy import SilentProxy, open_silent_proxy
from tests.support.store_databases import run_seekdb

ROOT = Path(__file__).parents[2]
NAMES = ("a", "b", "c")
BOUND_S = 300.0  # only finds what never happens: with a load of 30, a start takes a minute
_OUTAGE_S = 3.5
_LATE = ("stop_late", "stop_phase_cut", "tasks_not_stopped")  # events of stops beyond a limit
_DUMP_S = 2.0
_PAUSE_S = 0.2


class Fault(StrEnum):
    """What happens to the controller at the point, or to the database."""

    KILL = "kill -9"
    FREEZE = "SIGSTOP, SIGCONT"
    CUT_ONE = "partition of one controller"
    CUT_ALL = "partition of all controllers"
    KILL_DATABASE = "kill -9 of the database"


REPLACES_OWNER = (Fault.KILL, Fault.FREEZE, Fault.CUT_ONE)


@dataclass
class Report:
    """The results of a run.

    Attributes:
        done: faults that were injected.
        take_overs_s: from each fault until all clusters of the controller ran elsewhere.
        doubles: lines that occur more than once.
        lost: lines of ended DAGs that are missing.
        stuck: faults after which DAGs did not end, with their states.
        late: log lines of controllers whose stop reached a limit.
    """

    done: list[tuple[Point, Fault]] = field(default_factory=list)
    take_overs_s: list[float] = field(default_factory=list)
    doubles: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def render(self) -> str:
        points = Counter(point for point, _ in self.done)
        kinds = Counter(fault for _, fault in self.done)
        lines = [f"{len(self.done)} faults: {dict(points)} {dict(kinds)}"]
        if self.take_overs_s:
            median_s, most_s = statistics.median(self.take_overs_s), max(self.take_overs_s)
            lines.append(
                f"{len(self.take_overs_s)} take-overs: median {median_s:.2f} s, max {most_s:.2f} s"
            )
        counts = {name: len(getattr(self, name)) for name in ("doubles", "lost", "stuck", "late")}
        lines.append(", ".join(f"{name} {count}" for name, count in counts.items()))
        return "\n".join([*lines, *self.doubles, *self.lost, *self.stuck, *self.late])


class Lab:
    """See the module docstring.

    Args:
        directory: of all files.
        hosts: one host, whose SSH server runs the commands of all clusters.
        database: the store.
        proxies: the way of each controller to the database.
        clusters: number of clusters.
        fence: whether the host compares fencing tokens.
    """

    def __init__(
        self,
        directory: Path,
        hosts: DemoHosts,
        database: MysqlSettings,
        proxies: dict[str, SilentProxy],
        *,
        clusters: int,
        fence: bool,
    ) -> None:
        self.report = Report()
        self._directory = directory
        self._hosts = hosts
        self._database = database
        self._proxies = proxies
        self._clusters = tuple(f"k{number}" for number in range(clusters))
        self._fence = fence
        self._points = PointFiles(directory)
        self._points.clear()
        self._store = MysqlMembership(database, SystemClock(), secrets.token_bytes)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._round = 0
        self._write_round()
        (directory / "opened").mkdir()
        for cluster in self._clusters:
            (directory / "homes" / cluster).mkdir(parents=True)

    # --- controllers and database ----------------------------------------------------------------

    async def start(self) -> None:
        """Start the controllers that do not run, and wait until each cluster has an owner."""

        async def is_ready() -> bool:
            self._restart_ended()
            fleet = await self._read()
            if fleet is None:
                return False
            owners = [record.owner for record in fleet.clusters.values()]
            named = {fleet.controllers[id_].name for id_ in fleet.live()}
            return (
                named == set(NAMES)
                and len(owners) == len(self._clusters)
                and all(fleet.is_live(owner) for owner in owners)
            )

        await self._until(is_ready, "the owners of all clusters")

    def _restart_ended(self) -> None:
        """Start controllers that have ended, as a service manager does."""
        for name in NAMES:
            if name not in self._processes or self._processes[name].poll() is not None:
                self._start_controller(name)

    def _start_controller(self, name: str) -> None:
        host = self._hosts.hosts[0]
        settings = Settings(
            name,
            self._proxies[name].port,
            self._database.database,
            str(self._directory),
            self._clusters,
            host.port,
            host.user,
            str(host.key_file),
            str(host.known_hosts),
            self._fence,
        )
        with (self._directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.soak_fleet.controller", settings.render()],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def end(self) -> None:
        """End all controllers and held commands."""
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        self._points.open()

    def _database_pid(self) -> int:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"seekdb") and str(self._database.port).encode() in words:
                return int(entry.name)
        raise AssertionError("the database does not run")

    async def _kill_database(self) -> None:
        pid = self._database_pid()
        command = [
            word.decode() for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") if word
        ]
        os.kill(pid, signal.SIGKILL)

        async def is_gone() -> bool:
            return not Path(f"/proc/{pid}").exists()

        await self._until(is_gone, "the end of the database")
        restarted = await asyncio.create_subprocess_exec(
            *(str(find_seekdb()), *command[1:]),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await restarted.wait()

        async def answers() -> bool:
            return await self._read() is not None

        await self._until(answers, "the restart of the database")

    # --- faults ----------------------------------------------------------------------------------

    async def inject(self, point: Point, fault: Fault) -> None:
        """Let a fault hit the first controller at a point, and wait for the end of all DAGs."""
        self._points.clear()
        before = self._round
        await self._provoke(point)
        await self._until(self._has(self._points.reached(point)), f"the point {point}")
        victim = self._points.reached(point).read_text().strip()
        epochs = await self._epochs_of(victim)
        await self._apply(fault, victim, epochs)
        if self._round == before:
            self._next_round()
        self.report.done.append((point, fault))
        await self.start()
        try:
            await self._until(self._have_ended, "the end of the DAGs")
        except AssertionError as error:
            self.report.stuck.append(f"{point}, {fault}: {error}")
            raise

    async def _provoke(self, point: Point) -> None:
        """Arm a point and do what leads a controller there."""
        self._points.armed(point).touch()
        if point is not Point.HAND_OVER:
            self._next_round()
        if point in (Point.TAKEN, Point.HAND_OVER):
            # A controller leaves: others take over. It returns: they hand over.
            owner = await self._largest_owner()
            self._processes[owner].terminate()
            await self._until(self._has_left(owner, point), f"the end of {owner}")
            self._restart_ended()
        elif point is Point.CLEAN_UP:
            owner = await self._largest_owner()

            async def runs_engine() -> bool:
                # One that is still opening is cancelled, and does not get to the point.
                owned = await self._epochs_of(owner)
                return bool(owned.items() & self._running_epochs().items())

            await self._until(runs_engine, f"an engine of {owner}")
            epochs = await self._epochs_of(owner)
            self._processes[owner].send_signal(signal.SIGSTOP)
            await self._until_replaced(owner, epochs)
            self._processes[owner].send_signal(signal.SIGCONT)

    async def _apply(self, fault: Fault, victim: str, epochs: dict[str, int]) -> None:
        process, proxy, loop = (
            self._processes[victim],
            self._proxies[victim],
            asyncio.get_running_loop(),
        )
        began_s = loop.time()
        match fault:
            case Fault.KILL:
                process.kill()
                await asyncio.to_thread(process.wait)
                self._points.open()
                await self._until_replaced(victim, epochs)
            case Fault.FREEZE:
                process.send_signal(signal.SIGSTOP)
                self._points.open()
                await self._until_replaced(victim, epochs)
            case Fault.CUT_ONE:
                proxy.forwards.clear()
                self._points.open()
                await self._until_replaced(victim, epochs)
            case Fault.CUT_ALL:
                for each in self._proxies.values():
                    each.forwards.clear()
                self._points.open()
                await self._pass(_OUTAGE_S)
            case Fault.KILL_DATABASE:
                self._points.open()
                await self._kill_database()
        if fault in REPLACES_OWNER and epochs:
            self.report.take_overs_s.append(loop.time() - began_s)
        for each in self._proxies.values():
            each.forwards.set()
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
        self._points.open()

    async def _pass(self, duration_s: float) -> None:
        """Let time pass: the duration of an outage is the tested condition."""
        await asyncio.sleep(duration_s)

    # --- state -----------------------------------------------------------------------------------

    async def _read(self) -> Fleet | None:
        """Return the tables; None while the database does not answer."""
        try:
            return await self._store.read_fleet()
        except StoreError:
            return None

    async def _epochs_of(self, name: str) -> dict[str, int]:
        """Return the clusters that a LIVE controller owns, and their epochs."""
        while (fleet := await self._read()) is None:
            await self._pass(_PAUSE_S)  # a loaded database does not answer in time
        ids = {id_ for id_ in fleet.live() if fleet.controllers[id_].name == name}
        return {
            cluster: record.epoch
            for cluster, record in fleet.clusters.items()
            if record.owner in ids
        }

    async def _largest_owner(self) -> str:
        owned = {name: len(await self._epochs_of(name)) for name in NAMES}
        return max(owned, key=lambda name: owned[name])

    async def _until_replaced(self, name: str, epochs: dict[str, int]) -> None:
        """Wait until a controller is DEAD and its clusters run in a later epoch.

        If it has no membership, only the usual duration of an outage passes.
        """
        if not await self._is_live(name):
            await self._pass(_OUTAGE_S)
            return

        async def are_taken() -> bool:
            running = self._running_epochs()
            are_open = all(running.get(cluster, 0) > epoch for cluster, epoch in epochs.items())
            return are_open and not await self._is_live(name)

        await self._until(are_taken, "the take-over")

    def _running_epochs(self) -> dict[str, int]:
        """Return the last epoch in which the engine of each cluster was opened."""
        running: dict[str, int] = {}
        for file in (self._directory / "opened").iterdir():
            cluster, _, epoch = file.name.partition(".")
            running[cluster] = max(int(epoch), running.get(cluster, 0))
        return running

    async def _is_live(self, name: str) -> bool:
        fleet = await self._read()
        return fleet is None or any(fleet.controllers[id_].name == name for id_ in fleet.live())

    async def _read_dags(self) -> Sequence[tuple[str, int, str]]:
        connection = await open_store_connection(self._database)
        try:
            rows = (await connection.query("SELECT cluster, dag_id, state FROM dag")).rows
        finally:
            connection.close()
        return [(_text(name), int(str(id_)), _text(state)) for name, id_, state in rows]

    async def _have_ended(self) -> bool:
        self._restart_ended()
        try:
            dags = await self._read_dags()
        except (StoreError, MysqlError):
            return False
        ended = Counter(name for name, _, state in dags if state == "SUCCEED")
        failed = [dag for dag in dags if dag[2] == "FAILED"]
        assert not failed, failed
        return all(ended[name] == self._round for name in self._clusters)

    async def check(self) -> Report:
        """Compare the oracle with the DAGs; return the report."""
        lines = Counter(
            f"{cluster} {line}"
            for cluster in self._clusters
            if (oracle := self._directory / "homes" / cluster / "oracle").exists()
            for line in oracle.read_text().splitlines()
        )
        expected = {
            f"{cluster} {id_} s{stage}"
            for cluster, id_, state in await self._read_dags()
            for stage in range(STAGES)
            if state == "SUCCEED"
        }
        self.report.doubles = [line for line, count in sorted(lines.items()) if count > 1]
        self.report.lost = sorted(expected - lines.keys())
        logs = [line for name in NAMES for line in self._log_of(name).splitlines()]
        self.report.late = [line for line in logs if any(event in line for event in _LATE)]
        return self.report

    async def close(self) -> None:
        self.end()
        self._points.close()
        await self._store.close()

    def _next_round(self) -> None:
        self._round += 1
        self._write_round()

    def _write_round(self) -> None:
        draft = self._directory / "round.draft"
        draft.write_text(str(self._round))
        draft.rename(self._directory / "round")

    def _has_left(self, name: str, point: Point) -> Callable[[], Awaitable[bool]]:
        """Whether a controller has ended, or is held at the point because it got there itself."""

        async def has_left() -> bool:
            reached = self._points.reached(point)
            is_held = reached.exists() and reached.read_text().strip() == name
            return is_held or self._processes[name].poll() is not None

        return has_left

    def _has(self, file: Path) -> Callable[[], Awaitable[bool]]:
        async def has() -> bool:
            return file.exists()

        return has

    async def _until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        try:
            await eventually(condition, timeout_s=BOUND_S, what=what)
        except AssertionError as error:
            await self._dump_stacks()
            logs = "\n".join(self._read_log(name) for name in self._processes)
            raise AssertionError(f"{error}\n{self.report.render()}\n{logs}") from None

    async def _dump_stacks(self) -> None:
        """Let each controller write to its log where its threads and its tasks are."""
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            for process in self._processes.values():
                if process.poll() is None:
                    process.send_signal(number)
        await self._pass(_DUMP_S)

    def _log_of(self, name: str) -> str:
        file = self._directory / f"{name}.log"
        return file.read_text() if file.exists() else ""

    def _read_log(self, name: str) -> str:
        """Return the last lines of a controller without those of its engines."""
        lines = [line for line in self._log_of(name).splitlines() if "_moved" not in line]
        return "\n".join([f"--- {name}", *lines[-60:]])


def plan_faults(count: int, seed: int) -> list[tuple[Point, Fault]]:
    """Return faults in a random order, with all points equally often, as far as possible."""
    chance = random.Random(seed)
    points = [*Point] * (count // len(Point)) + chance.sample([*Point], count % len(Point))
    faults = [*Fault] * (count // len(Fault)) + chance.sample([*Fault], count % len(Fault))
    chance.shuffle(points)
    chance.shuffle(faults)
    return list(zip(points, faults, strict=True))


@asynccontextmanager
async def open_lab(directory: Path, *, clusters: int, fence: bool = True) -> AsyncIterator[Lab]:
    """Start everything; end it with the context."""
    async with AsyncExitStack() as stack:
        database = stack.enter_context(run_seekdb()).settings
        hosts = await stack.enter_async_context(DemoHosts(1))
        proxies = {
            name: await stack.enter_async_context(open_silent_proxy(database.port))
            for name in NAMES
        }
        lab = Lab(directory, hosts, database, proxies, clusters=clusters, fence=fence)
        stack.push_async_callback(lab.close)
        await lab.start()
        yield lab


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

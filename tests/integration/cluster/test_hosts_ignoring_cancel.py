"""Steps of this project whose wait for a host or for SQL ignores its cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from dagengine import (
    Engine,
    Operation,
    Operator,
    Outcome,
    SqliteStore,
    State,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.remote import Command, CommandResult, HostAddress
from dagengine.testing import FakeClock, LocalRunner, LocalRunnerPool
from dagengine.testing.internals import settled
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.flavours.select import FLAVOURS
from tasks.hosts.identity import ProcessIdentity
from tasks.operations import start, stop
from tests.support.hostile_cluster import FIRST

CONFIRM_S = 5.0
PROCESS = {"process": asdict(ProcessIdentity("", 1, 1, 1, "")), "log_from": 0}
EARLIER_DATA: dict[str, dict[str, Any]] = {start.START: PROCESS, stop.CHECK: {"runs": True}}
PARAMS = {"scope": {"type": "GLOBAL", "target": []}, "mode": "terminate"}

# Stage 5 of a start contacts no host with seekdb, nor does stage 5 of a stop that ends processes.
START_STAGES = (start.CHECK, start.START, start.HEALTH, start.VERIFY)
STOP_STAGES = (stop.CHECK, stop.FREEZE, stop.STOP, stop.VERIFY)


class StubbornHost:
    """Waits that ignore every cancellation until they are released."""

    def __init__(self) -> None:
        self.reached, self.released = asyncio.Event(), asyncio.Event()

    async def wait(self) -> NoReturn:
        self.reached.set()
        while not self.released.is_set():
            with suppress(asyncio.CancelledError):
                await self.released.wait()
        raise asyncio.CancelledError


class StubbornRunner(LocalRunner):
    def __init__(self, address: HostAddress, host: StubbornHost) -> None:
        super().__init__(address)
        self._host = host

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        del command, timeout_s
        await self._host.wait()


class StubbornPool(LocalRunnerPool):
    def __init__(self, host: StubbornHost) -> None:
        self._host = host

    def runner(self, address: HostAddress) -> LocalRunner:
        return StubbornRunner(address, self._host)


def start_at(operation: Operation, name: str) -> Operation:
    """Return the operation in which every other stage succeeds at once."""

    def with_data(stage_name: str) -> Any:
        async def succeed(context: StepContext) -> Outcome:
            return Succeeded(EARLIER_DATA.get(stage_name, {}))

        return succeed

    stages = tuple(
        stage if stage.name == name else replace(stage, run=with_data(stage.name))
        for stage in operation.stages
    )
    return replace(operation, stages=stages, lock_key=None, takes_lock=None)


def cases() -> Iterator[Any]:
    for is_cancelled in (False, True):
        for name in START_STAGES:
            yield pytest.param("start", name, is_cancelled)
        for name in STOP_STAGES:
            yield pytest.param("stop", name, is_cancelled)


@pytest.mark.parametrize(("action", "stage_name", "is_cancelled"), list(cases()))
async def test_own_step_ignoring_cancel_ends_at_its_bound(
    tmp_path: Path, action: str, stage_name: str, is_cancelled: bool
) -> None:
    file, clock, host = tmp_path / "cluster.yaml", FakeClock(), StubbornHost()
    file.write_text(
        "name: c\nid: 1\nflavour: seekdb\nroot_password: none\n"
        f"zones: {{z: [{{ip: 127.0.0.1, home: {tmp_path}}}]}}\n"
    )
    access = ClusterAccess(ClusterFile(file, FLAVOURS), StubbornPool(host), clock)
    whole = start.start_operation(access) if action == "start" else stop.stop_operation(access)
    operation = start_at(whole, stage_name)
    (stage,) = (stage for stage in operation.stages if stage.name == stage_name)
    async with (
        asyncio.timeout(20),
        Engine(
            store=SqliteStore(tmp_path / "store.sqlite"),
            operations=[operation],
            clock=clock,
            confirm_timeout_s=CONFIRM_S,
        ) as engine,
    ):
        accepted = await engine.submit(Submission(operation.name, (FIRST,), PARAMS))
        dag_id = accepted.dag.dag_id
        await host.reached.wait()
        if is_cancelled:
            await engine.operate_dag(dag_id, Operator.CANCEL)
        else:
            clock.advance(stage.timeout_s)
        await settled(engine)
        clock.advance(CONFIRM_S)
        detail = await engine.wait(dag_id)
        host.released.set()  # tasks that the step has started would block the end of the loop
        assert detail.dag.state is State.FAILED
        assert detail.nodes is not None
        node = next(each for each in detail.nodes if each.node.name == stage_name)
        (entry,) = node.sub_tasks
        attempts = await engine.find_attempts(entry.sub_task.sub_task_id)
        assert [attempt.outcome for attempt in attempts] == ["ResultUnknown"]
        assert "was abandoned" in entry.logs[-1].content

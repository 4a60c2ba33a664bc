"""The official SDK behind a load balancer, while controllers of a shared store come and go."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from obshell import ClientSet
from obshell.auth import PasswordAuth

from dagengine.testing import eventually
from tasks.demo.fleet import DemoFleet
from tasks.demo.hosts import LOOPBACK, DemoHosts
from tests.support.owner_balancer import open_balancer

pytestmark = pytest.mark.slow

CLUSTER = "cluster1"


@dataclass
class Calls:
    """Calls of the SDK one after the other, from another task.

    Attributes:
        done: when each call began, on the clock of the event loop, and its error or None.
    """

    sdk: Any
    done: list[tuple[float, Exception | None]] = field(default_factory=list)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            error: Exception | None = None
            try:
                await asyncio.to_thread(self.sdk.get_unfinished_dags)
            except Exception as exc:  # noqa: BLE001  # any error counts
                error = exc
            self.done.append((began_s, error))

    def failed_since(self, began_s: float) -> list[Exception]:
        return [error for at_s, error in self.done if at_s >= began_s and error is not None]


@dataclass
class SdkFleet:
    """A service, and the SDK behind its load balancer."""

    fleet: DemoFleet
    sdk: Any
    calls: Calls

    async def start_dag(self) -> str:
        dag = await asyncio.to_thread(self.sdk.start, "GLOBAL", [])
        return str(dag.generic_id)

    async def wait_for_end(self, dag_id: str) -> None:
        async def has_succeeded() -> bool:
            try:
                dag = await asyncio.to_thread(self.sdk.get_dag, dag_id)
            except Exception:  # noqa: BLE001  # the calls in the other task show for how long
                return False
            assert dag.state != "FAILED"
            return bool(dag.state == "SUCCEED")

        await eventually(has_succeeded, timeout_s=60, what=f"the end of DAG {dag_id}")

    async def check_calls(self) -> None:
        """Every call that begins after the take-over succeeds."""
        await self.fleet.wait_for_owner(CLUSTER)
        owned_s, count = asyncio.get_running_loop().time(), len(self.calls.done)

        async def have_continued() -> bool:
            return len(self.calls.done) >= count + 5

        await eventually(have_continued, timeout_s=60, what="further calls")
        assert self.calls.failed_since(owned_s) == []


@asynccontextmanager
async def open_fleet(controllers: int) -> AsyncIterator[SdkFleet]:
    async with DemoHosts(1) as hosts:
        fleet = DemoFleet(hosts, controllers=controllers)
        try:
            store = fleet.store
            await store.start()
            place = (store.url, "--password-file", str(store.password_file))
            await fleet.read_text("store", "migrate", *place)
            for controller in fleet.controllers[:3]:
                await fleet.start_controller(controller)
            await fleet.wait_for_owner(CLUSTER)
            urls = [each.urls[CLUSTER] for each in fleet.controllers]
            async with open_balancer(urls) as balancer, asyncio.TaskGroup() as group:
                auth = PasswordAuth(fleet.password)
                sdk, other = (ClientSet(LOOPBACK, balancer.port, auth).v1 for _ in range(2))
                calls = Calls(other)
                calling = group.create_task(calls.run(), name="calls")
                try:
                    yield SdkFleet(fleet, sdk, calls)
                finally:
                    calling.cancel()
        finally:
            await fleet.stop()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_sdk_calls_fail_only_until_take_over(number: signal.Signals) -> None:
    async with open_fleet(3) as service:
        for controller in service.fleet.controllers:
            dag_id = await service.start_dag()
            assert controller.process is not None
            controller.process.send_signal(number)
            await controller.process.wait()
            await service.check_calls()
            await service.fleet.start_controller(controller)
            await service.wait_for_end(dag_id)
        assert len(service.calls.done) > len(service.fleet.controllers)


async def test_sdk_calls_continue_when_controller_joins_and_one_leaves() -> None:
    async with open_fleet(4) as service:
        dag_id = await service.start_dag()
        await service.fleet.start_controller(service.fleet.controllers[3])
        owner = await service.fleet.wait_for_owner(CLUSTER)
        assert owner.process is not None
        owner.process.terminate()
        assert await owner.process.wait() == 0
        await service.check_calls()
        await service.wait_for_end(dag_id)
        successor = await service.fleet.wait_for_owner(CLUSTER)
        assert successor is not owner

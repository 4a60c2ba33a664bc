"""The order and the limits in which bulk actions begin."""

from __future__ import annotations

import asyncio

import pytest

from dagengine.api.fleet.admission import Admission, AdmissionLimits, count_admitted


@pytest.mark.parametrize(
    ("waiting", "running", "expected"),
    [
        ([], [], 0),
        ([1, 1, 1], [], 2),
        ([1, 1], [1], 1),
        ([1], [1, 1], 0),
        ([3, 3], [], 1),
        ([9, 1], [], 1),
        ([9], [1], 0),
        ([4, 1, 1], [1], 1),
        ([5, 1], [1], 0),
    ],
)
def test_count_admitted_keeps_order_and_limits(
    waiting: list[int], running: list[int], expected: int
) -> None:
    assert count_admitted(waiting, running, AdmissionLimits(clusters=2, servers=5)) == expected


async def test_admission_admits_the_next_at_an_end() -> None:
    admission = Admission(AdmissionLimits(clusters=1, servers=5))
    order: list[str] = []

    async def work(name: str, ended: asyncio.Event) -> None:
        async with admission.admit(1):
            order.append(name)
            await ended.wait()

    async with asyncio.TaskGroup() as group:
        ends = {name: asyncio.Event() for name in "abc"}
        tasks = {name: group.create_task(work(name, end), name=name) for name, end in ends.items()}
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (order, admission.running) == (["a"], 1)
        tasks["b"].cancel()  # while it waits
        ends["a"].set()
        ends["c"].set()
    assert order == ["a", "c"]
    assert admission.running == 0

"""Faults of controllers and of their database at named points: no step runs twice, none is lost."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.soak_fleet.lab import Fault, Report, open_lab, plan_faults
from tests.soak_fleet.points import Point

SAMPLE, SAMPLE_SEED, SAMPLE_CLUSTERS = 12, 15, 6
FAULTS = int(os.environ.get("SOAK_FLEET_FAULTS", "100"))
SEED = int(os.environ.get("SOAK_FLEET_SEED", "1"))
CLUSTERS = 20
MAX_FREEZES = 20


async def run(
    directory: Path, faults: list[tuple[Point, Fault]], clusters: int, *, fence: bool = True
) -> Report:
    async with open_lab(directory, clusters=clusters, fence=fence) as lab:
        try:
            for number, (point, fault) in enumerate(faults, 1):
                began_s = asyncio.get_running_loop().time()
                await lab.inject(point, fault)
                took_s = asyncio.get_running_loop().time() - began_s
                load = os.getloadavg()[0]
                sys.stdout.write(f"{number} {point}, {fault}: {took_s:.1f} s, load {load:.1f}\n")
                sys.stdout.flush()
        finally:
            report = await lab.check()
            sys.stdout.write(f"\n{report.render()}\n")
        return report


def check(report: Report, least: int) -> None:
    assert (report.doubles, report.lost, report.stuck, report.late) == ([], [], [], [])
    counts = Counter(point for point, _ in report.done)
    assert min(counts[point] for point in Point) >= least


@pytest.mark.slow
async def test_sample_of_faults_runs_each_step_once(tmp_path: Path) -> None:
    check(await run(tmp_path, plan_faults(SAMPLE, SAMPLE_SEED), SAMPLE_CLUSTERS), 1)


@pytest.mark.slow
async def test_frozen_owner_without_host_fence_runs_step_twice(tmp_path: Path) -> None:
    # A command is sent only if the controller notices its replacement a little later.
    async with open_lab(tmp_path, clusters=2, fence=False) as lab:
        for _ in range(MAX_FREEZES):
            await lab.inject(Point.ACT, Fault.FREEZE)
            if (await lab.check()).doubles:
                return
    pytest.fail(f"no step has run twice in {MAX_FREEZES} freezes")


@pytest.mark.soak
async def test_soak_of_faults_runs_each_step_once(tmp_path: Path) -> None:
    check(await run(tmp_path, plan_faults(FAULTS, SEED), CLUSTERS), FAULTS // 20)

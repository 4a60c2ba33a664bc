"""Many attackers at once: a controller under attack serves others and leaks nothing."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.attacked_controller import (
    ACCEPTED,
    DAGS,
    NO_SCOPE,
    PASSWORD,
    START,
    AttackedController,
    Caller,
    Reply,
    encrypt_body,
)

ATTACKS = Path(__file__).with_name("attack_program.py")
SAMPLES = 600
MAX_RATIO = 3
ATTEMPTS = 3


@asynccontextmanager
async def serving(attacked_controller: AttackedController) -> AsyncIterator[psutil.Process]:
    """The controller as a process of its own, with its log beside the engine file."""
    with (attacked_controller.directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "dagengine",
                "serve",
                "-c",
                str(attacked_controller.directory / "engine.yaml"),
            ),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(60):
                assert b"ready" in await process.stdout.readline()
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            await process.wait()


async def sample(caller: Caller, count: int) -> list[float]:
    """Durations of reads and starts by a client with the password, in seconds."""
    times = []
    for number in range(count):
        keys = secrets.token_bytes(32)
        if number % 4:
            call = ("GET", DAGS, caller.sign(DAGS, keys), None)
            expected: Reply = (200, "")
        else:
            call = ("POST", START, caller.sign(START, keys), encrypt_body(NO_SCOPE, keys))
            expected = ACCEPTED
        started_s = time.perf_counter()
        assert await caller.send(*call) == expected
        times.append(time.perf_counter() - started_s)
    return times


def p99(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


@dataclass(frozen=True)
class AttackMeasurement:
    """Measurements of an attacked controller; times are p99 in seconds."""

    quiet: tuple[float, float]  # before and after
    attacked: float
    served: int  # requests of a client with the password, during the attack
    results: dict[str, dict[str, int]]  # the responses to each attack
    grown_bytes: int
    log: str


async def measure_attack(
    attacked_controller: AttackedController, normal_address: str
) -> AttackMeasurement:
    """Attack a new controller, and send it requests before, during and after the attack.

    The attacks come from loopback, which is one client, and the other requests from elsewhere.
    """
    async with (
        serving(attacked_controller) as controller,
        attacked_controller.caller(normal_address) as normal,
    ):
        await sample(normal, 50)
        before = p99(await sample(normal, SAMPLES))
        before_bytes = controller.memory_info().rss
        attack = await asyncio.create_subprocess_exec(
            sys.executable, str(ATTACKS), normal.url, stdout=asyncio.subprocess.PIPE
        )
        try:
            busy: list[float] = []
            ending = asyncio.create_task(attack.communicate(), name="attacks")
            while not ending.done():
                busy += await sample(normal, 20)
            results = json.loads((await ending)[0])
        finally:
            if attack.returncode is None:
                attack.kill()
                await attack.wait()
        grown_bytes = controller.memory_info().rss - before_bytes
        after = p99(await sample(normal, SAMPLES))
    log = (attacked_controller.directory / "log").read_text()
    return AttackMeasurement((before, after), p99(busy), len(busy), results, grown_bytes, log)


def assert_refused(measurement: AttackMeasurement) -> None:
    """Check that every attack failed and that no secret was logged."""
    results = measurement.results
    assert sum(results["guess"].values()) == 10_000
    assert results["guess"]["429 TooManyFailures"] > 9_900
    for name in ("guess", "probe", "bloat"):
        assert all(answer.startswith(("401 ", "429 ")) for answer in results[name]), results
    assert set(results["trickle"]) == {"cut off"}, results
    assert results["trickle"]["cut off"] % 500 == 0
    assert results["flood"].pop("bytes") < 64 * 2**20
    # All addresses of loopback are one client, whose guesses were too many.
    assert set(results["flood"]) <= {"413 BadRequest", "429 TooManyFailures", "cut off"}, results
    assert measurement.grown_bytes < 200 * 2**20
    assert measurement.log.count('"request_refused"') >= 10_000
    for secret in (PASSWORD, "s3cret", "X-OCS", "Traceback"):
        assert secret not in measurement.log, secret
    assert measurement.served >= 100


def slowdown(measurements: Sequence[AttackMeasurement]) -> float:
    """How many times as long a request takes while the controller is attacked.

    What else the machine does can only add to a time, so of each kind the lowest p99 is the
    nearest to the truth: of the quiet ones, too, or their noise would make the attack look small.
    """
    quiet = min(time for measurement in measurements for time in measurement.quiet)
    return min(measurement.attacked for measurement in measurements) / quiet


@pytest.mark.slow
async def test_controller_under_attack_serves_others_without_leak(
    attacked_controller: AttackedController, other_address: str
) -> None:
    measurements: list[AttackMeasurement] = []
    while not measurements or (len(measurements) < ATTEMPTS and slowdown(measurements) > MAX_RATIO):
        measurements.append(await measure_attack(attacked_controller, other_address))
        assert_refused(measurements[-1])
    p99s = "; ".join(
        "{:.1f} and {:.1f} quiet, {:.1f} attacked".format(
            *(1000 * time for time in (*measurement.quiet, measurement.attacked))
        )
        for measurement in measurements
    )
    sys.stdout.write(f"p99 in ms: {p99s}: {slowdown(measurements):.2f}\n")
    assert slowdown(measurements) <= MAX_RATIO, p99s

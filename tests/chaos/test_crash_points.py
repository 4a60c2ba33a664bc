"""The process ends at every durable write: nothing is lost or runs twice, and all DAGs end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.crash import SCENARIOS

ROOT = Path(__file__).parents[2]


# Crash points of a sample, spread over all writes of a scenario: 10 (cancel) to 27 (stop_retry).
# Each takes three runs of the scenario; a run of most stops takes over a second.
SAMPLES = {
    "start": "1-after,4-before,7-after,10-before",
    "rollback": "2-before,8-after,14-before,21-after",
    "failing_lane": "2-before,5-after,7-before,10-after",
    "retry": "1-after,6-before,11-after,16-before",
    "cancel": "1-after,4-before,7-after,9-before",
    "force_pass": "2-after,4-before,6-before,8-after,10-after,12-before,15-before",
    "stop_force": "1-before,3-after,6-before,10-before,13-after,16-after",
    "stop_cancel": "1-after,3-after,6-before,10-after,13-before,13-after",
    "stop_plain": "1-after,3-before,5-before,7-after,10-after,12-before",
    "stop_retry": "1-before,4-after,8-before,13-before,17-after,20-before,23-after",
    "stop_terminate": "2-after,5-before,8-after,11-before",
    "stop_rollback": "2-before,4-after,7-before,9-after",
}
QUICK = {"start", "rollback"}
SAMPLED = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in SCENARIOS
]


def crash(scenario: str, directory: Path, points: str) -> int:
    """Crash at these points; return the number of survived crashes."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.crash", scenario, str(directory), points],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["wrong"] == []
    return int(report["crashes"])


@pytest.mark.parametrize("scenario", SAMPLED)
def test_engine_crash_at_sampled_writes_loses_nothing(scenario: str, tmp_path: Path) -> None:
    points = SAMPLES[scenario]
    assert crash(scenario, tmp_path, points) >= len(points.split(","))


@pytest.mark.soak
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_engine_crash_at_any_write_loses_nothing(scenario: str, tmp_path: Path) -> None:
    assert crash(scenario, tmp_path, "all") > 20

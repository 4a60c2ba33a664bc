"""The process ends at every durable write: nothing is lost or runs twice, and all DAGs end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.crash import SCENARIOS

ROOT = Path(__file__).parents[2]


def crash(scenario: str, directory: Path, step: int) -> int:
    """Run crash.py; return the number of survived crashes."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.crash", scenario, str(directory), str(step)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["wrong"] == []
    return int(report["crashes"])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_engine_crash_at_each_fifth_write_loses_nothing(scenario: str, tmp_path: Path) -> None:
    assert crash(scenario, tmp_path, 5) > 4


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_engine_crash_at_any_write_loses_nothing(scenario: str, tmp_path: Path) -> None:
    assert crash(scenario, tmp_path, 1) > 20

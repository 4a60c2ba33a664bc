"""The process ends at every durable write: nothing is lost, nothing runs twice, all ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.crash import SCENARIOS

ROOT = Path(__file__).parents[2]


def crash(scenario: str, directory: Path, step: int) -> int:
    """Returns how many crashes were survived."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.crash", scenario, str(directory), str(step)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    return int(found["crashes"])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_some_crashes_are_survived(scenario: str, tmp_path: Path) -> None:
    assert crash(scenario, tmp_path, 5) > 4


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_crash_at_any_write_is_survived(scenario: str, tmp_path: Path) -> None:
    assert crash(scenario, tmp_path, 1) > 20

"""The rule of `make test` and `make test-slow`: few tests may pass only when they run again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MAX_RERUNS

ROOT = Path(__file__).parents[2]
_CONFTEST = "from tests.conftest import pytest_sessionfinish, pytest_terminal_summary\n"
_TEST = """
import pytest
seen = set()
@pytest.mark.parametrize("n", range({count}))
def test_first_time(n):
    assert n in seen or seen.add(n), "only once"
"""


@pytest.mark.parametrize(("count", "status"), [(MAX_RERUNS, 0), (MAX_RERUNS + 1, 1)])
def test_reruns_beyond_the_limit_fail_the_run(tmp_path: Path, count: int, status: int) -> None:
    (tmp_path / "conftest.py").write_text(_CONFTEST)
    (tmp_path / "test_some.py").write_text(_TEST.format(count=count))
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--reruns", "1"]
    done = subprocess.run(
        [*words, "--rootdir", tmp_path, "-c", "/dev/null", tmp_path],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout.count("E       AssertionError: only once") == count
    assert f"{count} passed, {count} rerun" in done.stdout
    assert (f"at most {MAX_RERUNS} may" in done.stdout) is (status == 1)

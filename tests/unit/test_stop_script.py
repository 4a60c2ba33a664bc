"""The script that ends a server, run on this machine on processes that are servers by name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dagengine.remote.local import LocalRunner
from tasks.commands import stop_server
from tasks.facts import StopOutcome, StopReport, parse_stop
from tasks.flavour import OCEANBASE

_SAYS_READY = "echo ready; read -r word"


@contextmanager
def server(home: Path, script: str = _SAYS_READY) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is an observer of this home; DAG 77 has started it."""
    with subprocess.Popen(
        [f"{home}/bin/observer", "-c", script],
        executable="/bin/sh",
        cwd=home,
        env=os.environ | {"DAGENGINE_START": "77"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # its signal handlers are set
        try:
            yield process
        finally:
            process.kill()


async def end(home: Path, *, kill_after_s: float = 20, marker: str = "") -> StopReport:
    command = stop_server(OCEANBASE, str(home), kill_after_s, marker)
    result = await LocalRunner().run(command, timeout_s=60)
    assert result.stderr == ""
    return parse_stop(result.stdout)


async def test_a_server_is_ended_by_sigterm_and_only_that_of_this_home(tmp_path: Path) -> None:
    home, other = tmp_path / "home with 'odd' $name", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    with (
        server(home) as ours,
        server(other) as theirs,
        subprocess.Popen(["sleep", "60"], cwd=home) as near,  # noqa: ASYNC220
    ):
        report = await end(home)
        assert report.outcome is StopOutcome.STOPPED
        assert report.process is not None
        assert report.process.pid == ours.pid
        assert ours.wait() == -15
        assert (theirs.poll(), near.poll()) == (None, None)
        near.kill()


async def test_a_server_that_ignores_sigterm_is_killed_after_the_stated_time(
    tmp_path: Path,
) -> None:
    with server(tmp_path, f"trap '' TERM; {_SAYS_READY}") as process:
        assert (await end(tmp_path, kill_after_s=0.3)).outcome is StopOutcome.KILLED
        assert process.wait() == -9


async def test_where_nothing_runs_there_is_nothing_to_stop(tmp_path: Path) -> None:
    assert (await end(tmp_path)).outcome is StopOutcome.GONE
    assert (await end(tmp_path / "none")).outcome is StopOutcome.GONE


@pytest.mark.parametrize(
    ("marker", "outcome"), [("77", StopOutcome.STOPPED), ("78", StopOutcome.FOREIGN)]
)
async def test_a_rollback_ends_only_what_its_own_dag_has_started(
    tmp_path: Path, marker: str, outcome: StopOutcome
) -> None:
    with server(tmp_path) as process:
        assert (await end(tmp_path, marker=marker)).outcome is outcome
        assert (process.poll() is None) is (outcome is StopOutcome.FOREIGN)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a process of another user")
async def test_a_server_of_another_user_is_not_touched(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with subprocess.Popen(  # noqa: ASYNC220
        [f"{tmp_path}/bin/observer", "-c", _SAYS_READY],
        executable="/bin/sh",
        cwd=tmp_path,
        user=65534,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        report = await end(tmp_path)
        assert report.outcome is StopOutcome.OTHER_USER
        assert process.poll() is None
        process.kill()

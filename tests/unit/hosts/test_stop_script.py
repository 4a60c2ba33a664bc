"""The script that stops a server, run on this machine on processes that look like servers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dagengine.remote import Command
from dagengine.testing import LocalRunner
from tasks.hosts.commands import stop_command
from tasks.hosts.identity import DoubtKind
from tasks.hosts.reports import StopOutcome, StopReport, parse_stop
from tests.support.factories import make_server
from tests.support.fake_servers import SAYS_READY, listen, run_server


async def end(
    home: Path, *, kill_after_s: float = 20, marker: str = "", sql_port: int = 1
) -> StopReport:
    server = make_server(flavour="oceanbase", home=str(home), sql_port=sql_port)
    command = stop_command(server, kill_after_s, marker)
    result = await LocalRunner().run(command, timeout_s=60)
    assert result.stderr == ""
    return parse_stop(result.stdout)


async def test_stop_script_sigterm_ends_server_of_home_only(tmp_path: Path) -> None:
    home, other = tmp_path / "home with 'odd' $name", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    with (
        run_server(home, program="observer") as own_server,
        run_server(other, program="observer") as other_server,
        subprocess.Popen(["sleep", "60"], cwd=home) as unrelated,  # noqa: ASYNC220
    ):
        report = await end(home)
        assert report.outcome is StopOutcome.STOPPED
        assert report.process is not None
        assert report.process.pid == own_server.pid
        assert own_server.wait() == -15
        assert (other_server.poll(), unrelated.poll()) == (None, None)
        unrelated.kill()


async def test_stop_script_kills_server_that_ignores_sigterm(
    tmp_path: Path,
) -> None:
    text = f"trap '' TERM; {SAYS_READY}"
    with run_server(tmp_path, program="observer", text=text) as process:
        assert (await end(tmp_path, kill_after_s=0.3)).outcome is StopOutcome.KILLED
        assert process.wait() == -9


@pytest.mark.parametrize("pause_s", [0.2, 0.6])
async def test_stop_script_waits_by_clock_but_polls_after_pause(
    tmp_path: Path, pause_s: float
) -> None:
    """Each `sleep` takes twice as long, as on a busy host, or longer, as on one that is paused."""
    text = f"trap '' TERM; {SAYS_READY}"
    server = make_server(flavour="oceanbase", home=str(tmp_path), sql_port=1)
    command = stop_command(server, kill_after_s=1)
    slow_sleep = (
        f"sleep() {{ case $1 in 0.1) echo poll=yes; set {pause_s} ;; esac; command sleep $1; }}"
    )
    shell, option, script, *arguments = command.argv
    slow = Command((shell, option, f"{slow_sleep}\n{script}", *arguments))
    with run_server(tmp_path, program="observer", text=text) as process:
        output = (await LocalRunner().run(slow, timeout_s=60)).stdout
        assert parse_stop(output).outcome is StopOutcome.KILLED
        assert process.wait() == -9
    assert output.count("poll=yes") in (5, 6)  # of 10; one more while it is killed


def test_stop_script_without_controller_ends_without_sigkill(tmp_path: Path) -> None:
    text = f"trap '' TERM; {SAYS_READY}"
    server = make_server(flavour="oceanbase", home=str(tmp_path), sql_port=1)
    words = stop_command(server, kill_after_s=30).argv
    with (
        run_server(tmp_path, program="observer", text=text) as process,
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as script,
    ):
        assert script.stdout is not None
        assert b"waiting=yes\n" in iter(script.stdout.readline, b"")
        script.stdout.close()
        assert script.wait(20) != 0
        assert process.poll() is None
        process.kill()


async def test_stop_script_without_server_reports_gone(tmp_path: Path) -> None:
    assert (await end(tmp_path)).outcome is StopOutcome.GONE
    assert (await end(tmp_path / "none")).outcome is StopOutcome.GONE


@pytest.mark.parametrize(
    ("marker", "outcome"), [("77", StopOutcome.STOPPED), ("78", StopOutcome.OTHER_DAG)]
)
async def test_stop_script_marker_limits_stop_to_own_dag(
    tmp_path: Path, marker: str, outcome: StopOutcome
) -> None:
    with run_server(tmp_path, program="observer") as process:
        assert (await end(tmp_path, marker=marker)).outcome is outcome
        assert (process.poll() is None) is (outcome is StopOutcome.OTHER_DAG)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a process of another user")
async def test_stop_script_server_of_other_user_is_not_touched(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    os.chown(tmp_path, 65534, 65534)
    with run_server(tmp_path, program="observer", user=65534) as process:
        report = await end(tmp_path)
        assert report.outcome is StopOutcome.OTHER_USER
        assert process.poll() is None


@pytest.mark.parametrize("program", ["seekdb", "observer"])
async def test_stop_script_without_server_names_server_on_port(
    tmp_path: Path, program: str
) -> None:
    with listen(program=program) as (port, pid):
        report = await end(tmp_path, sql_port=port)
        assert report.outcome is StopOutcome.GONE
        assert report.contradiction is not None
        assert str(report.contradiction) == f"{program}, pid {pid}"
        assert (await end(tmp_path / "none", sql_port=port)).contradiction is not None


async def test_stop_script_other_program_on_port_is_accepted(tmp_path: Path) -> None:
    with listen(program="nc") as (port, pid):
        report = await end(tmp_path, sql_port=port)
        assert (report.outcome, report.contradiction) == (StopOutcome.GONE, None)
        assert [str(each) for each in report.listeners] == [f"nc, pid {pid}"]


@pytest.mark.parametrize("is_linked", [False, True], ids=["home", "link"])
async def test_stop_script_without_server_names_listener_in_home(
    tmp_path: Path, is_linked: bool
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    link = tmp_path / "link"
    link.symlink_to(home)
    with listen(program="nc", cwd=home) as (port, pid):
        report = await end(link if is_linked else home, sql_port=port)
        assert report.outcome is StopOutcome.GONE
        assert report.contradiction is not None
        assert (report.contradiction.pid, report.contradiction.is_in_home) == (pid, True)
        assert (await end(tmp_path, sql_port=port)).contradiction is None


async def test_stop_script_reports_listener_after_stop(tmp_path: Path) -> None:
    with listen() as (port, pid), run_server(tmp_path, program="observer"):
        report = await end(tmp_path, sql_port=port)
        assert report.outcome is StopOutcome.STOPPED
        assert report.contradiction is not None
        assert report.contradiction.pid == pid


async def test_stop_script_doubtful_process_is_not_ended(tmp_path: Path) -> None:
    with run_server(tmp_path, program="seekdb") as process:
        report = await end(tmp_path)
        assert report.outcome is StopOutcome.DOUBTFUL
        assert [doubt.kind for doubt in report.doubts] == [DoubtKind.FLAVOUR]
        assert process.poll() is None


async def test_stop_script_missing_home_finds_server_elsewhere(tmp_path: Path) -> None:
    home = tmp_path / "removed link"
    words = ("--base-dir", str(home))
    with run_server(tmp_path, *words, program="observer") as process:
        report = await end(home)
        assert report.outcome is StopOutcome.DOUBTFUL
        assert [doubt.kind for doubt in report.doubts] == [DoubtKind.BASE]
        assert process.poll() is None

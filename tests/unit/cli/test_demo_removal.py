"""The demo's hosts report whether everything is removed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import psutil
import pytest

from dagengine.cli import main
from tasks.demo.cluster import describe_end
from tasks.demo.hosts import ASYNCSSH, DemoHosts


async def test_demo_hosts_report_complete_removal() -> None:
    async with DemoHosts(0, kind=ASYNCSSH) as hosts:
        assert not hosts.is_removed
    assert hosts.is_removed
    assert not hosts.directory.exists()


async def test_demo_hosts_report_removal_that_failed() -> None:
    async with DemoHosts(0, kind=ASYNCSSH) as hosts:
        (reaper,) = (
            child
            for child in psutil.Process().children()
            if str(hosts.directory) in child.cmdline()
        )
        reaper.kill()
    assert not hosts.is_removed
    assert hosts.directory.exists()
    shutil.rmtree(hosts.directory)


def test_demo_hosts_never_started_left_nothing() -> None:
    assert DemoHosts(3).is_removed


@pytest.mark.parametrize(
    ("status", "log", "expected"),
    [
        (-9, "", ["c was ended by SIGKILL"]),
        (3, "", ["c ended with the exit status 3"]),
        (0, "a\nb\n", ["c ended with the exit status 0; the last lines of its log:", "  a", "  b"]),
    ],
)
def test_describe_end_states_cause_and_last_lines(
    tmp_path: Path, status: int, log: str, expected: list[str]
) -> None:
    file = tmp_path / "log"
    file.write_text(log)
    assert describe_end("c", status, file) == expected


def test_describe_end_shows_only_the_last_lines(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("".join(f"{number}\n" for number in range(100)))
    assert describe_end("c", 1, file)[1:] == ["  95", "  96", "  97", "  98", "  99"]


def test_demo_error_with_json_is_a_document(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.demo.cluster.find_spec", lambda _: None)
    assert main(["demo", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["message"] == "the demo needs the seekdb server"
    assert error["remedy"] != ""

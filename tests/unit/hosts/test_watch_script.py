"""The watch of a host: the script, run on fake processes."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tasks.hosts.commands import SEARCH_S, watch_command
from tests.support.factories import make_server
from tests.support.fake_servers import run_server

VISIBLE_S = 2.0  # limit for an end of a process to be visible


class Watch:
    """A running watch of some homes, and its lines."""

    def __init__(self, *homes: Path, silence_s: int = 50, life_s: int = 20) -> None:
        servers = [make_server(home=str(home)) for home in homes]
        command = watch_command(servers, life_s=life_s, silence_s=silence_s)
        self.process = subprocess.Popen(
            [str(word) for word in command.argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def lines(self, count: int) -> list[str]:
        assert self.process.stdout is not None
        return [self.process.stdout.readline().rstrip("\n") for _ in range(count)]

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.wait(timeout=10)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home with 'odd' $name"
    (path / "run").mkdir(parents=True)
    return path


@pytest.fixture
def watches() -> Iterator[list[Watch]]:
    opened: list[Watch] = []
    yield opened
    for watch in opened:
        watch.close()


def test_watch_reports_every_server_then_end_of_process(
    home: Path, tmp_path: Path, watches: list[Watch]
) -> None:
    with run_server(home) as process:
        watches.append(Watch(tmp_path / "missing", home))
        first, second, third = watches[0].lines(3)
        started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        assert (first, third) == ("server=0 none", "life=yes")
        assert second == f"server=1 {process.pid} {started}"
        process.kill()
        killed_s = time.monotonic()
        process.wait()
        assert watches[0].lines(1) == ["server=1 none"]
        assert time.monotonic() - killed_s < VISIBLE_S


def test_watch_notices_start_of_server(home: Path, watches: list[Watch]) -> None:
    watches.append(Watch(home))
    assert watches[0].lines(2) == ["server=0 none", "life=yes"]
    with run_server(home) as process:
        started_s = time.monotonic()
        assert watches[0].lines(1)[0].startswith(f"server=0 {process.pid} ")
        assert time.monotonic() - started_s < SEARCH_S / 2


def test_watch_ambiguous_process_is_unknown(home: Path, watches: list[Watch]) -> None:
    with run_server(home, program="observer"):  # of another flavour
        watches.append(Watch(home))
        assert watches[0].lines(2) == ["server=0 unknown", "life=yes"]


@pytest.mark.parametrize("cause", ["stdin ends", "silence"])
def test_watch_without_controller_ends(home: Path, cause: str) -> None:
    watch = Watch(home, silence_s=2)
    watch.lines(2)
    assert watch.process.stdin is not None
    if cause == "stdin ends":
        watch.process.stdin.close()
    watch.process.wait(timeout=10)
    watch.close()


def test_watch_with_closed_stdout_ends(home: Path) -> None:
    watch = Watch(home, life_s=1)
    watch.lines(2)
    assert watch.process.stdout is not None
    watch.process.stdout.close()
    watch.process.wait(timeout=10)
    assert watch.process.stdin is not None
    watch.process.stdin.close()


def test_watch_answered_signs_of_life_keep_it_running(home: Path) -> None:
    watch = Watch(home, silence_s=3, life_s=1)
    watch.lines(1)
    assert watch.process.stdin is not None
    for _ in range(5):
        assert watch.lines(1) == ["life=yes"]
        watch.process.stdin.write("\n")
        watch.process.stdin.flush()
    assert watch.process.poll() is None
    watch.close()


@pytest.mark.slow
def test_watch_that_remains_as_a_zombie_leaves_no_process(home: Path) -> None:
    """While sshd is frozen, it does not wait for the script, which accepts signals."""
    watch = Watch(home, silence_s=2)
    watch.lines(2)
    assert watch.process.stdin is not None
    watch.process.stdin.close()

    def running() -> list[str]:
        names = []
        for process in psutil.process_iter():
            with suppress(ProcessLookupError, psutil.NoSuchProcess):  # it has ended
                if os.getsid(process.pid) == watch.process.pid:
                    names += [process.name()] * (process.status() != psutil.STATUS_ZOMBIE)
        return names

    deadline_s = time.monotonic() + 60
    while running() and time.monotonic() < deadline_s:
        threading.Event().wait(0.2)
    assert running() == []
    watch.close()

"""What a server has left on its host: the real script on this machine, and its answer."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from dagengine.testing import LocalRunner
from tasks.diagnosis.postmortem import Postmortem, parse_postmortem, postmortem_command

BEGUN_TICKS = 0  # since the boot: everything counts


async def ask(
    home: Path, log_from: int = 0, pid: int = 0, started: int = BEGUN_TICKS
) -> Postmortem:
    question = postmortem_command(
        str(home), str(home / "log" / "seekdb.log"), log_from, pid, started
    )
    result = await LocalRunner().run(question, timeout_s=30)
    assert result.stderr == ""
    return parse_postmortem(result.stdout)


async def test_a_home_without_a_log_is_told_as_such(tmp_path: Path) -> None:
    found = await ask(tmp_path)
    assert (found.complete, found.log_missing, found.log_grew, found.log) == (True, True, False, ())
    assert found.free_bytes is not None
    assert found.available_bytes is not None
    assert found.open_files is not None


async def test_only_error_lines_since_the_start_are_taken(tmp_path: Path) -> None:
    log = tmp_path / "log" / "seekdb.log"
    log.parent.mkdir()
    before = b"[t] ERROR old\n"
    log.write_bytes(before + b"[t] INFO x\n[t] ERROR a=b \xff\n[t] EDIAG why\n[t] WARN y\n")
    found = await ask(tmp_path, len(before))
    assert found.log == ("[t] ERROR a=b �", "[t] EDIAG why")
    assert found.log_grew
    assert (await ask(tmp_path, log.stat().st_size)).log_grew is False
    # A log that has become shorter than it was is a new one: all of it counts.
    assert "[t] ERROR old" in (await ask(tmp_path, 10_000)).log


async def test_a_huge_log_is_told_in_few_short_lines(tmp_path: Path) -> None:
    log = tmp_path / "log" / "seekdb.log"
    log.parent.mkdir()
    with log.open("wb") as file:
        for number in range(60_000):
            file.write(b"[t] ERROR %d %s\n" % (number, b"x" * 150))
        file.write(b"[t] ERROR last %s\n" % (b"y" * 5_000))
    found = await ask(tmp_path)
    assert len(found.log) == 40
    assert found.log[-1].startswith("[t] ERROR last")
    assert max(map(len, found.log)) == 600


async def test_a_core_file_counts_when_it_is_newer_than_the_server(tmp_path: Path) -> None:
    (tmp_path / "core.4242").write_bytes(b"x" * 10)
    boot = next(
        int(text.split()[1])
        for text in Path("/proc/stat").read_text().splitlines()
        if text.startswith("btime")
    )
    os.utime(tmp_path / "core.4242", (boot + 1000, boot + 1000))
    assert (await ask(tmp_path, pid=4242, started=99_000)).cores == (
        f"{tmp_path}/core.4242, 10 bytes",
    )
    assert (await ask(tmp_path, pid=4242, started=101_000)).cores == ()
    assert (await ask(tmp_path, pid=0)).cores == ()


async def test_postmortem_of_a_core_with_a_newline_has_one_line(tmp_path: Path) -> None:
    (tmp_path / "core.1\ncore=2\nend=no").write_bytes(b"x" * 10)
    traces = await ask(tmp_path, pid=4242)
    assert traces.cores == (f"{tmp_path}/core.1?core=2?end=no, 10 bytes",)
    assert traces.complete


async def test_a_port_on_which_somebody_listens_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1], other.getsockname()[1]]
        question = postmortem_command(str(tmp_path), str(tmp_path / "log"), 0, 0, 0, ports)
        result = await LocalRunner().run(question, timeout_s=30)
        assert parse_postmortem(result.stdout).taken == (ports[1],)


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    await ask(tmp_path, pid=os.getpid(), started=int(time.monotonic()))
    assert sorted(tmp_path.rglob("*")) == before


def test_an_answer_that_broke_off_is_not_complete() -> None:
    assert parse_postmortem("log=[t] ERROR x\nfree_bytes=").complete is False
    assert parse_postmortem("").as_evidence() == {"kernel_readable": False}


def test_evidence_holds_what_is_known_and_no_log() -> None:
    found = parse_postmortem(
        "log=secret\nkernel_readable=yes\nkernel=a\noom_kills=0\noom_kills=3\nfree_bytes=7\n"
        "available_kib=2\nopen_files=unlimited\nend=yes\n"
    )
    assert found.as_evidence() == {
        "kernel": ["a"],
        "kernel_readable": True,
        "oom_kills": 3,
        "free_bytes": 7,
        "open_files": 0,
        "available_bytes": 2048,
    }

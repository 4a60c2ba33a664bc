"""Evidence of a dead server on its host: the real script on this machine, and its parsed output."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from dagengine.testing import LocalRunner
from tasks.diagnosis.postmortem import Postmortem, parse_postmortem, postmortem_command
from tests.support.source_port import source_port

START_TICKS = 0  # since the boot, so every file is recent enough


async def collect(
    home: Path, log_from: int = 0, pid: int = 0, started: int = START_TICKS
) -> Postmortem:
    command = postmortem_command(
        str(home), str(home / "log" / "seekdb.log"), log_from, pid, started
    )
    result = await LocalRunner().run(command, timeout_s=30)
    assert result.stderr == ""
    return parse_postmortem(result.stdout)


async def test_postmortem_command_reports_missing_log(tmp_path: Path) -> None:
    collected = await collect(tmp_path)
    assert (collected.complete, collected.log_missing, collected.log_grew, collected.log) == (
        True,
        True,
        False,
        (),
    )
    assert collected.free_bytes is not None
    assert collected.available_bytes is not None
    assert collected.open_files is not None


async def test_postmortem_command_reads_errors_since_start_only(tmp_path: Path) -> None:
    log = tmp_path / "log" / "seekdb.log"
    log.parent.mkdir()
    before = b"[t] ERROR old\n"
    log.write_bytes(before + b"[t] INFO x\n[t] ERROR a=b \xff\n[t] EDIAG why\n[t] WARN y\n")
    collected = await collect(tmp_path, len(before))
    assert collected.log == ("[t] ERROR a=b �", "[t] EDIAG why")
    assert collected.log_grew
    assert (await collect(tmp_path, log.stat().st_size)).log_grew is False
    # A log that is shorter than its recorded offset is a new log and is read completely.
    assert "[t] ERROR old" in (await collect(tmp_path, 10_000)).log


async def test_postmortem_command_huge_log_gives_few_short_lines(tmp_path: Path) -> None:
    log = tmp_path / "log" / "seekdb.log"
    log.parent.mkdir()
    with log.open("wb") as file:
        for number in range(60_000):
            file.write(b"[t] ERROR %d %s\n" % (number, b"x" * 150))
        file.write(b"[t] ERROR last %s\n" % (b"y" * 5_000))
    collected = await collect(tmp_path)
    assert len(collected.log) == 40
    assert collected.log[-1].startswith("[t] ERROR last")
    assert max(map(len, collected.log)) == 600


async def test_postmortem_command_older_core_file_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "core.4242").write_bytes(b"x" * 10)
    boot = next(
        int(text.split()[1])
        for text in Path("/proc/stat").read_text().splitlines()
        if text.startswith("btime")
    )
    os.utime(tmp_path / "core.4242", (boot + 1000, boot + 1000))
    assert (await collect(tmp_path, pid=4242, started=99_000)).cores == (
        f"{tmp_path}/core.4242, 10 bytes",
    )
    assert (await collect(tmp_path, pid=4242, started=101_000)).cores == ()
    assert (await collect(tmp_path, pid=0)).cores == ()


async def test_postmortem_command_core_name_with_newline_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "core.1\ncore=2\nend=no").write_bytes(b"x" * 10)
    traces = await collect(tmp_path, pid=4242)
    assert traces.cores == (f"{tmp_path}/core.1?core=2?end=no, 10 bytes",)
    assert traces.complete


async def test_postmortem_command_reports_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1], other.getsockname()[1]]
        command = postmortem_command(str(tmp_path), str(tmp_path / "log"), 0, 0, 0, ports)
        result = await LocalRunner().run(command, timeout_s=30)
        postmortem = parse_postmortem(result.stdout)
        assert postmortem.taken == (ports[1],)
        (listener,) = postmortem.listeners[ports[1]]
        assert (listener.pid, listener.uid) == (os.getpid(), os.getuid())


@pytest.mark.parametrize("is_ended", [False, True])
async def test_postmortem_command_reports_source_port(tmp_path: Path, is_ended: bool) -> None:
    with source_port(is_ended=is_ended) as port:
        command = postmortem_command(str(tmp_path), str(tmp_path / "log"), 0, 0, 0, [port])
        result = await LocalRunner().run(command, timeout_s=30)
    (connection,) = parse_postmortem(result.stdout).connections
    assert (connection.port, connection.has_ended) == (port, is_ended)
    assert connection.pid == (0 if is_ended else os.getpid())


async def test_postmortem_command_leaves_no_file(tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    await collect(tmp_path, pid=os.getpid(), started=int(time.monotonic()))
    assert sorted(tmp_path.rglob("*")) == before


def test_parse_postmortem_truncated_output_is_incomplete() -> None:
    assert parse_postmortem("log=[t] ERROR x\nfree_bytes=").complete is False
    assert parse_postmortem("").as_evidence() == {"kernel_readable": False}


def test_postmortem_as_evidence_omits_log() -> None:
    collected = parse_postmortem(
        "log=secret\nkernel_readable=yes\nkernel=a\noom_kills=0\noom_kills=3\nfree_bytes=7\n"
        "available_kib=2\nopen_files=unlimited\nend=yes\n"
    )
    assert collected.as_evidence() == {
        "kernel": ["a"],
        "kernel_readable": True,
        "oom_kills": 3,
        "free_bytes": 7,
        "open_files": 0,
        "available_bytes": 2048,
    }

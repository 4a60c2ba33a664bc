"""Measure the files of a first boot that is killed or fails, for each place of its directories.

    python -m tests.layouts.measure [EVENT…]

boots the installed seekdb 80 times, one at a time (1 GB of memory and 4 GB of disk each, several
minutes in total), and prints a table for docs/concepts/flavours.md. Needs root for a small disk and
for a home that cannot be written to.
"""

from __future__ import annotations

import argparse
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.demo.hosts import free_port
from tests.layouts.real_seekdb import RealSeekdb, find_program, size_options

_STEP_S = 0.01
_DEADLINE_S = 12.0
_LINE = re.compile(rb"\[server_start (\d+/\d+)\] [^\n]*?(success|fail|begin|start)[^\n]*")
_CODE = re.compile(rb"E(?:RROR|DIAG) [^\n]*errcode=(-\d+)")
_SERVED = b"[server_start 14/14] observer start success"


@dataclass(frozen=True, slots=True)
class Place:
    """The directories of a first boot; paths below the root of a run."""

    options: Mapping[str, str]
    data: str = "home/store"
    redo: str = "home/store/redo"
    store_link: str = ""


PLACES: Mapping[str, Place] = {
    "in the home": Place({}),
    "`--data-dir`": Place({"--data-dir": "disk/data"}, "disk/data", "disk/data/redo"),
    "`--redo-dir`": Place({"--redo-dir": "disk/redo"}, redo="disk/redo"),
    "`store` a link": Place({}, "disk/data", "disk/data/redo", store_link="disk/data"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One first boot: its home below `root`, and the output of its launcher and its log."""

    root: Path
    place: Place

    @property
    def server(self) -> RealSeekdb:
        return RealSeekdb(self.root / "home")

    @property
    def log(self) -> bytes:
        log = self.server.home / "log/seekdb.log"
        return log.read_bytes() if log.exists() else b""

    def launch(self, *options: str, port: int | None = None, **sizes: str) -> int:
        """Start for the first time; return the exit status of the launcher."""
        places = [w for key, path in self.place.options.items() for w in (key, self.root / path)]
        words = ["--port", str(port or free_port()), *places, *options, *size_options(**sizes)]
        return self.launch_again(*map(str, words))

    def launch_again(self, *options: str) -> int:
        command = [find_program(), "--base-dir", self.server.home, *options]
        return subprocess.run(command, capture_output=True, check=False).returncode

    def wait_until_ended(self) -> bool:
        """Wait, and kill the server if it does not end; return whether it ended by itself."""
        begun_s = time.monotonic()
        while self.server.find_pid() is not None:
            if time.monotonic() - begun_s > _DEADLINE_S:
                self.server.kill()
                return False
            time.sleep(_STEP_S)
        return True


def _kill_after(delay_s: float) -> Callable[[Run], int]:
    def event(run: Run) -> int:
        begun_s = time.monotonic()
        status = run.launch()
        time.sleep(max(0.0, begun_s + delay_s - time.monotonic()))
        run.server.kill()
        return status

    return event


def _fail(*options: str, **sizes: str) -> Callable[[Run], int]:
    def event(run: Run) -> int:
        status = run.launch(*options, **sizes)
        run.wait_until_ended()
        return status

    return event


def _take_port(run: Run) -> int:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        status = run.launch(port=listener.getsockname()[1])
        run.wait_until_ended()
    return status


def _forbid_writing(run: Run) -> int:
    home = run.server.home
    subprocess.run(["mount", "--bind", "-o", "ro", home, home], check=True)
    try:
        return run.launch()
    finally:
        subprocess.run(["umount", home], check=True)


def _start_twice(run: Run) -> int:
    run.launch()
    run.server.wait_until_booted()
    status = run.launch()
    assert run.server.find_pid() is not None
    run.server.kill()
    return status


SMALL_DISK = "disk full"
EVENTS: Mapping[str, Callable[[Run], int]] = {
    "killed after 0.2 s": _kill_after(0.2),
    "killed after 1 s": _kill_after(1),
    "killed after 2 s": _kill_after(2),
    "killed after 5 s": _kill_after(5),
    "`log_disk_size` 1G": _fail(log_disk_size="1G"),
    "port taken": _take_port,
    SMALL_DISK: _fail(),
    "home not writable": _forbid_writing,
    "unknown flag": _fail("--no-such-flag"),
    "already running": _start_twice,
}


def measure(event: str, place: Place) -> tuple[str, ...]:
    """Return the cells of a row: the files after the event, then the result of a later start."""
    with _make_root(is_small=event == SMALL_DISK) as root:
        home = root / "home"
        home.mkdir()
        if place.store_link:
            (root / place.store_link).mkdir(parents=True)
            (home / "store").symlink_to(root / place.store_link)
        run = Run(root, place)
        status = EVENTS[event](run)
        telemetry, sock = home / "run/telemetry.json", home / "run/sql.sock"
        cells = (
            str(status),
            _describe_record(home / "store/sstable/meta.db"),
            _say(root / place.data / "sstable/block_file"),
            _say(root / place.redo / "sys/log_stream/log/0"),
            _say(telemetry),
            _say(sock),
            _last_line(run.log),
        )
        return (*cells, _describe_later_start(run))


def _describe_later_start(run: Run) -> str:
    before = len(run.log)
    begun_s = time.monotonic()
    status = run.launch_again()
    if status:
        return f"exit {status}"
    while time.monotonic() - begun_s < _DEADLINE_S:
        if _SERVED in run.log[before:]:
            run.server.kill()
            return "serves"
        if run.server.find_pid() is None and time.monotonic() - begun_s > 1:
            return _describe_end(run.log[before:])
        time.sleep(_STEP_S)
    run.server.kill()
    return "never serves"


def _describe_end(lines: bytes) -> str:
    codes = _CODE.findall(lines)
    if codes:
        return f"dies, {codes[-1].decode()}"
    return "dies" if lines else "dies, log unchanged"


def _describe_record(database: Path) -> str:
    if not database.exists():
        return "no"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
        try:
            ((tables,),) = reader.execute("SELECT count(*) FROM sqlite_master WHERE type='table'")
            ((rows,),) = reader.execute("SELECT count(*) FROM __all_sys_parameter")
        except sqlite3.DatabaseError:
            return f"{database.stat().st_size} bytes, unreadable"
    return f"{tables} tables, {rows} rows"


def _say(path: Path) -> str:
    return "yes" if path.exists() else "no"


def _last_line(log: bytes) -> str:
    lines = list(_LINE.finditer(log))
    if not lines:
        return "no"
    number, result = (part.decode() for part in lines[-1].groups())
    result = "fail" if b"fail" in lines[-1][0] else "success" if b"success" in lines[-1][0] else ""
    return f"{number} {result}".strip()


@contextmanager
def _make_root(*, is_small: bool) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="layouts-") as directory:
        root = Path(directory).resolve()
        if not is_small:
            yield root
            return
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "test", root], check=True)
        try:
            yield root
        finally:
            subprocess.run(["umount", root], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure failed first boots.")
    parser.add_argument("events", nargs="*", metavar="EVENT", help=", ".join(EVENTS))
    arguments = parser.parse_args()
    heads = "event, directories, exit, meta.db, `block_file`, `log_stream`, telemetry, `sql.sock`"
    columns = [*heads.split(", "), "last line", "later start"]
    _write_row(columns)
    _write_row(["---"] * len(columns))
    for event in arguments.events or EVENTS:
        rows: dict[tuple[str, ...], list[str]] = {}
        for name, place in PLACES.items():
            sys.stderr.write(f"{event}, {name}\n")
            rows.setdefault(measure(event, place), []).append(name)
        for cells, names in rows.items():
            place_names = "all" if len(names) == len(PLACES) else ", ".join(names)
            _write_row((event, place_names, *cells))


def _write_row(cells: Iterable[str]) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

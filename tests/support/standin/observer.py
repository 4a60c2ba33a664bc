"""A stand-in for the observer program, which is not available here.

Run as `<home>/bin/observer` from its home. Like the real one it turns into a daemon, writes
run/observer.pid, reads etc/observer.config.bin (JSON here), opens an SQL and an rpc port, writes
log/observer.log, and speaks the MySQL protocol. What it knows of its cluster lies in the ledger.
On demand it fails: see `Wish`.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

WISHES = Path("etc/standin.json")
DEATHS = {
    "out of disk": (
        "ERROR issue_dba_error (ob_log.cpp:1868) {where}[errcode=-4388] Unexpected internal error"
        ' happen, please checkout the internal errcode(errcode=-4184, file="ob_log_block_mgr.cpp",'
        ' line_no=731, info="server is out of disk space")',
        "EDIAG [CLOG] try_resize (ob_log_block_mgr.cpp:731) {where}[errcode=-4184]"
        " server is out of disk space(ret=-4184)",
    ),
    "small memory": (
        "ERROR issue_dba_error (ob_log.cpp:1868) {where}[errcode=-4388] Unexpected internal error"
        ' happen, please checkout the internal errcode(errcode=-4147, file="ob_server_config.cpp",'
        ' line_no=365, info="update observer memory config failed")',
        "EDIAG [SHARE.CONFIG] reload_config (ob_server_config.cpp:365) {where}[errcode=-4147]"
        " update observer memory config failed",
    ),
    "no word": (),
}
_WHERE = "[{pid}][observer][T0][Y0-0000000000000000-0-0] [lt=7]"


@dataclass(frozen=True, slots=True)
class Wish:
    """Scripted failures of a stand-in, from etc/standin.json, read again for every statement.

    Attributes:
        boot_s: seconds from its start to the opening of its ports.
        dies: reason for its end, a key of DEATHS; empty if it does not end. It ends at once.
        hangs: it accepts connections and sends nothing.
        refuses_sql: its SQL port stays closed.
        password: the password of root, if it differs from the password of the cluster.
        never_serves: it never comes into service.
        ignores_term: SIGTERM does not end it.
        notes_term: SIGTERM adds a line to the file `signals`, and ends it.
        failures: number of ALTER statements that fail first.
        code: error code of those statements.
    """

    boot_s: float = 0.0
    dies: str = ""
    hangs: bool = False
    refuses_sql: bool = False
    password: str | None = None
    never_serves: bool = False
    ignores_term: bool = False
    notes_term: bool = False
    failures: int = 0
    code: int = 4012


def read_wish() -> Wish:
    """Of the home that is the working directory."""
    try:
        entries = json.loads(WISHES.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return Wish()
    names = {field.name for field in fields(Wish)}
    return Wish(**{name: entries[name] for name in entries if name in names})


def main(argv: list[str]) -> int:
    """The program."""
    home = Path.cwd()
    if f"{home}/lib" not in os.environ.get("LD_LIBRARY_PATH", "").split(":"):
        sys.stderr.write(
            "observer: error while loading shared libraries: libaio.so.1: cannot open\n"
        )
        return 127
    if len(argv) > 1:
        sys.stderr.write(f"observer: this stand-in takes no option: {argv[1:]}\n")
        return 1
    try:
        config = json.loads((home / "etc/observer.config.bin").read_text())
    except FileNotFoundError:
        sys.stderr.write("observer: no configuration, and no option to make one\n")
        return 1
    for part in ("run", "log"):
        (home / part).mkdir(exist_ok=True)
    pid_file = (home / "run/observer.pid").open("a+b")
    try:
        fcntl.flock(pid_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write("observer: it is running already\n")
        return 1
    _daemonise(pid_file, argv[0])
    return _serve(config)


def _daemonise(pid_file: IO[bytes], name: str) -> None:
    """The parent exits once the pid file is written, as the real program's does."""
    read_end, write_end = os.pipe()
    if os.fork():
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.close(read_end)
    _take_name(str(Path.cwd() / "bin" / Path(name).name))
    pid_file.truncate(0)
    pid_file.write(f"{os.getpid()}\n".encode())
    pid_file.flush()
    os.set_inheritable(pid_file.fileno(), False)
    globals()["_pid_file"] = pid_file  # its lock lives as long as the process
    silent = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(silent, number)
    os.close(write_end)


def _take_name(name: str) -> None:
    """Show the command line of the replaced program instead of that of the interpreter."""
    fields_ = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields_[45]), int(fields_[46])  # arg_start and arg_end, proc(5)
    text = name.encode()[: end - begin - 1]
    ctypes.memset(begin, 0, end - begin)
    ctypes.memmove(begin, text, len(text))


def _serve(config: dict[str, Any]) -> int:
    begun_s = time.monotonic()
    wish = read_wish()
    if wish.ignores_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if wish.notes_term:
        signal.signal(signal.SIGTERM, _note_term)
    _log("INFO", "[SERVER] main (main.cpp:592) {where}observer starts")
    if wish.dies:
        return _die(wish)
    from tests.support.standin.sql import serve  # noqa: PLC0415  # it takes a while, and the parent exits

    return asyncio.run(serve(config, wish, begun_s, _die))


def _die(wish: Wish) -> int:
    for line in DEATHS[wish.dies]:
        _log("", line)
    os._exit(1)


def _note_term(number: int, frame: object) -> None:
    with Path("signals").open("a") as file:
        file.write("TERM\n")
    os._exit(0)


def _log(level: str, line: str) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime())
    text = line.replace("{where}", _WHERE.format(pid=os.getpid()))
    with Path("log/observer.log").open("a") as log:
        log.write(f"[{stamp}.000000] {level}{' ' if level else ''}{text}\n")

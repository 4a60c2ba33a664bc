"""The installed seekdb program: start it in a home, wait for its states, kill it."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

SIZES = {"memory_limit": "1G", "datafile_size": "2G", "log_disk_size": "2G"}
_BOOTED = b"[server_start 14/14] observer start success"
_DEADLINE_S = 60.0
_STEP_S = 0.001
_GRACE_S = 1.0  # until the pid file exists and is locked
_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, pid


def find_program() -> Path:
    """Return the program of the wheel."""
    import pylibseekdb  # noqa: PLC0415  # not needed for restoring

    return Path(pylibseekdb.__file__).parent / "seekdb"


def find_version() -> str:
    return version("pylibseekdb")


def size_options(**changes: str) -> list[str]:
    """Return the options of a small server."""
    options = SIZES | changes
    return [word for name, value in options.items() for word in ("--parameter", f"{name}={value}")]


@dataclass(frozen=True, slots=True)
class RealSeekdb:
    """A server in a home, whatever path its command line uses."""

    home: Path

    def launch(
        self, *options: str | Path, cwd: Path | None = None, program: Path | None = None
    ) -> None:
        """Start the program, which becomes a daemon; return when its launcher has exited."""
        with self.launching(*options, cwd=cwd, program=program):
            pass

    @contextmanager
    def launching(
        self, *options: str | Path, cwd: Path | None = None, program: Path | None = None
    ) -> Iterator[None]:
        """Start the program, and wait for its launcher only at the end of the block."""
        command = [program or find_program(), *options]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, cwd=cwd, stdout=quiet, stderr=quiet) as launcher:
            yield
            launcher.wait(_DEADLINE_S)

    def boot(
        self, *options: str | Path, cwd: Path | None = None, program: Path | None = None
    ) -> None:
        """Start the program and wait until the boot is complete and SQL is served."""
        self.launch(*options, cwd=cwd, program=program)
        self.wait_until_booted()

    def wait_until_booted(self) -> None:
        """Wait until a first boot is complete."""
        self.wait_until(self.has_booted)

    def has_booted(self) -> bool:
        """Return whether the log shows a completed boot of this home."""
        return _BOOTED in self._read_log()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, in short steps: some hold for milliseconds only.

        Raises:
            RuntimeError: the server ended first.
            TimeoutError: the condition was not met in time.
        """
        begun_s = running_s = time.monotonic()
        while not condition():
            now_s = time.monotonic()
            if self.find_pid() is not None:
                running_s = now_s
            elif now_s - running_s > _GRACE_S:
                raise RuntimeError(f"seekdb in {self.home} ended: {self._read_log()[-300:]!r}")
            if now_s - begun_s > _DEADLINE_S:
                raise TimeoutError(f"seekdb in {self.home}")
            time.sleep(_STEP_S)

    def wait_until_ended(self) -> None:
        """Wait until all threads of the server are gone."""
        begun_s = time.monotonic()
        while self.find_pid() is not None:
            if time.monotonic() - begun_s > _DEADLINE_S:
                raise TimeoutError(f"seekdb in {self.home}")
            time.sleep(_STEP_S)

    def kill(self) -> None:
        """Kill the server if it runs."""
        pid = self.find_pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            self.wait_until_ended()

    def find_pid(self) -> int | None:
        """Return the process that holds the lock of the pid file, as a running server does."""
        try:
            with self.pid_file.open("rb") as file:
                # Query the lock only: taking it would make the server exit.
                query = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                lock_state = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, query))
        except FileNotFoundError:
            return None
        return None if lock_state[0] == fcntl.F_UNLCK else int(lock_state[4])

    @property
    def pid_file(self) -> Path:
        return self.home / "run/seekdb.pid"

    def _read_log(self) -> bytes:
        log = self.home / "log/seekdb.log"
        return log.read_bytes() if log.exists() else b""


def run_failing(server: RealSeekdb, options: Sequence[str | Path]) -> None:
    """Run a start that fails after the launcher has exited."""
    server.launch(*options)
    server.wait_until_ended()

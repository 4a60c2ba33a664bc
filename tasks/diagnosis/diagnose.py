"""Diagnosis of a server that did not come up, from the traces on its host. Pure.

The most reliable evidence takes precedence: the kernel's messages about the process, then a core
file, then the server's own log, then known problems of its options.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tasks.cluster.sizes import parse_size
from tasks.diagnosis.error_codes import ERROR_PATTERNS, KNOWN_ERRORS
from tasks.diagnosis.postmortem import Postmortem

_FIRST_KEPT, _LAST_KEPT = 2, 3
_LINE_LENGTH = 300
_CODE = re.compile(r"\[errcode=(-[0-9]{1,9})\]|\bret=(-[0-9]{1,9})\b")
_BACKTRACE = re.compile(r" BACKTRACE:.*")
_KILLED = re.compile(r"Killed process ([0-9]+) \(([^)]*)\)")
_CRASHED = re.compile(r"segfault|traps:|general protection")
_LITTLE_BYTES, _FEW_FILES = 64 << 20, 100

# Source: seekdb 1.4 here. With less it exits immediately: for the log disk with errcode -4736, for
# the memory without a line in its log.
_LEAST_BYTES = {"log_disk_size": (2 << 30, "2G"), "memory_limit": (1 << 30, "1G")}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Cause, remedy, and the log lines that support them.

    Attributes:
        names_error: False if no evidence names the error.
        errcode: the server's error code; None if the diagnosis does not come from one.
        lines: lines of the server's log, or of the kernel.
        hints: further observations that may explain the failure.
    """

    cause: str
    remedy: str
    lines: tuple[str, ...] = ()
    names_error: bool = True
    errcode: int | None = None
    hints: tuple[str, ...] = field(default=())

    @property
    def sentence(self) -> str:
        """The cause, followed by the hints."""
        return "; ".join((self.cause, *self.hints))


def diagnose(
    postmortem: Postmortem, *, pid: int, program: str, options: Mapping[str, str] | None = None
) -> Diagnosis:
    """Determine why a server ended.

    Args:
        postmortem: the traces on the host.
        pid: of its process; 0 if unknown.
        program: the process name, as the kernel shows it.
        options: the start options, if this was a first start.
    """
    lines = _keep(postmortem.log)
    diagnosis = (
        _find_kill(postmortem, pid)
        or _find_crash(postmortem, pid, program, lines)
        or _find_specific(postmortem.log, lines)
        or find_small_option(options or {}, lines)
        or _find_taken_port(postmortem, lines)
        or _find_general(postmortem.log, lines)
        or _find_kill_by_name(postmortem, program)
        or _find_nothing(postmortem, lines)
    )
    return replace(diagnosis, hints=_observations(postmortem))


def find_small_option(options: Mapping[str, str], lines: tuple[str, ...] = ()) -> Diagnosis | None:
    """Return a diagnosis if a start option is known to be too small; None otherwise.

    A dying server may lose its last log lines: seekdb 1.4 lost those that name the error in 3 of
    30 deaths caused by a small log disk, and writes none if memory_limit is too small.
    """
    for name, (least, text) in _LEAST_BYTES.items():
        size = parse_size(options.get(name, ""))
        if size is not None and 0 < size < least:
            cause = f"{name} {options[name]} is too small (its log does not mention this)"
            return Diagnosis(cause, f"set {name} to at least {text}", lines)
    return None


def _find_kill(postmortem: Postmortem, pid: int) -> Diagnosis | None:
    for line in reversed(postmortem.kernel):
        killed = _KILLED.search(line)
        if killed and pid and int(killed[1]) == pid:
            return _out_of_memory(f"the kernel killed it because memory ran out (pid {pid})", line)
    return None


def _find_kill_by_name(postmortem: Postmortem, program: str) -> Diagnosis | None:
    """Find a kill by process name: in a container, the kernel's log shows the host's pids."""
    for line in reversed(postmortem.kernel):
        killed = _KILLED.search(line)
        if killed and killed[2] == program:
            cause = (
                f"its log names no error, but the kernel killed a {program} since it was started"
            )
            return _out_of_memory(f"{cause}, because memory ran out", line)
    return None


def _out_of_memory(cause: str, line: str) -> Diagnosis:
    remedy = "free memory on the host, lower memory_limit, or raise its control group's limit"
    return Diagnosis(cause, remedy, (line[:_LINE_LENGTH],))


def _find_crash(
    postmortem: Postmortem, pid: int, program: str, lines: tuple[str, ...]
) -> Diagnosis | None:
    remedy = "report the crash to the vendor, with the core file and the log"
    for line in reversed(postmortem.kernel):
        # The kernel logs the id of the crashed thread, but also the name of its program.
        if _CRASHED.search(line) and (f"[{pid}]" in line or f" in {program}[" in line):
            cause = "it crashed, according to the log of the kernel"
            return Diagnosis(cause, remedy, (line[:_LINE_LENGTH], *lines[-_LAST_KEPT:]))
    if postmortem.cores:
        return Diagnosis(f"it crashed and left a core file: {postmortem.cores[-1]}", remedy, lines)
    return None


def _find_specific(log: Iterable[str], lines: tuple[str, ...]) -> Diagnosis | None:
    """Find the last log line with a specific error.

    The server often ends with a general code after the line that has the specific one.
    """
    for line in reversed(list(log)):
        codes = _codes(line)
        for pattern in ERROR_PATTERNS:
            if pattern.text in line and pattern.code in codes:
                cause = f"{pattern.cause} (errcode {pattern.code})"
                return Diagnosis(cause, pattern.remedy, lines, errcode=pattern.code)
        for code in reversed(codes):
            known = KNOWN_ERRORS.get(code)
            if known is not None and not known.is_general:
                return _known(code, lines)
    return None


def _find_taken_port(postmortem: Postmortem, lines: tuple[str, ...]) -> Diagnosis | None:
    """Find a port that another process has taken: the server is gone, yet the port is open."""
    if not postmortem.taken:
        return None
    cause = f"a port is taken: another process listens on {postmortem.taken[0]}"
    return Diagnosis(cause, "free the port or set another one", lines)


def _find_general(log: Iterable[str], lines: tuple[str, ...]) -> Diagnosis | None:
    codes = [code for line in log for code in _codes(line)]
    known = [code for code in codes if code in KNOWN_ERRORS]
    if known:
        return _known(known[-1], lines)
    if codes:
        return Diagnosis(f"errcode {codes[-1]}", "read the server's log", lines, errcode=codes[-1])
    return None


def _known(code: int, lines: tuple[str, ...]) -> Diagnosis:
    error = KNOWN_ERRORS[code]
    cause = f"{error.cause} (errcode {code}, {error.name})"
    return Diagnosis(cause, error.remedy, lines, errcode=code)


def _find_nothing(postmortem: Postmortem, lines: tuple[str, ...]) -> Diagnosis:
    remedy = "read the server's log"
    if not postmortem.complete:
        return Diagnosis(
            "cause unknown: the response of the host was truncated", remedy, lines, False
        )
    if postmortem.log_missing:
        cause = "it has written no log"
        return Diagnosis(cause, "start it by hand once, in the foreground", lines, False)
    if not postmortem.log_grew:
        cause = "it ended without writing to its log"
        return Diagnosis(cause, "start it by hand once, in the foreground", lines, False)
    # A signal leaves no log line. Source: seekdb 1.4 here, TERM, KILL, SEGV and ABRT.
    cause = "its log names no error, as after a signal"
    return Diagnosis(cause, "find out who ended it, and read the server's log", lines, False)


def _observations(postmortem: Postmortem) -> tuple[str, ...]:
    observations = []
    if postmortem.free_bytes is not None and postmortem.free_bytes < _LITTLE_BYTES:
        observations.append(f"only {postmortem.free_bytes:,} bytes are free for its home")
    if postmortem.free_files is not None and 0 < postmortem.free_files < _FEW_FILES:
        observations.append(f"only {postmortem.free_files} more files can be created on its disk")
    if any("I/O error" in line or "EXT4-fs error" in line for line in postmortem.kernel):
        observations.append("the kernel has reported disk errors since its start")
    return tuple(observations)


def _codes(line: str) -> list[int]:
    return [int(match[1] or match[2]) for match in _CODE.finditer(line)]


def _keep(log: Iterable[str]) -> tuple[str, ...]:
    """Keep the first lines, which name the problem, and the last ones, which show the exit."""
    lines = [_BACKTRACE.sub("", line)[:_LINE_LENGTH] for line in log if line.strip()]
    if len(lines) > _FIRST_KEPT + _LAST_KEPT:
        lines = [*lines[:_FIRST_KEPT], *lines[-_LAST_KEPT:]]
    return tuple(lines)

"""Diagnosis of a server that did not come up, from the traces on its host. Pure.

The most reliable evidence takes precedence: the kernel's messages about the process, then a core
file, then the server's own log, then known problems of its options.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tasks.cluster.parameters import Parameter, explain_refusal, parse_size
from tasks.diagnosis import messages
from tasks.diagnosis.error_codes import ERROR_PATTERNS, KNOWN_ERRORS
from tasks.diagnosis.postmortem import Postmortem
from tasks.hosts.identity import explain_connection

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
        if not self.hints:
            return self.cause
        return messages.WITH_OBSERVATIONS(cause=self.cause, observations="; ".join(self.hints))


def diagnose(
    postmortem: Postmortem,
    *,
    pid: int,
    program: str,
    options: Mapping[str, str] | None = None,
    parameters: Mapping[str, Parameter] | None = None,
) -> Diagnosis:
    """Determine why a server ended.

    Args:
        postmortem: the traces on the host.
        pid: of its process; 0 if unknown.
        program: the process name, as the kernel shows it.
        options: the start options, if this was a first start.
        parameters: of the server, by name; None if they are not known.
    """
    options, lines = options or {}, _keep(postmortem.log)
    diagnosis = (
        _find_kill(postmortem, pid)
        or _find_crash(postmortem, pid, program, lines)
        or _find_specific(postmortem, lines)
        or find_small_option(options, lines)
        or _find_refused_option(postmortem, options, parameters or {})
        or _find_taken_port(postmortem, lines)
        or _find_general(postmortem.log, lines)
        or _find_kill_by_name(postmortem, program)
        or _find_nothing(postmortem, options, lines)
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
            cause = messages.OPTION_TOO_SMALL(option=name, value=options[name])
            return Diagnosis(cause, messages.RAISE_OPTION(option=name, minimum=text), lines)
    return None


def _find_refused_option(
    postmortem: Postmortem, options: Mapping[str, str], parameters: Mapping[str, Parameter]
) -> Diagnosis | None:
    """Find a start option that the server refuses: it ends before it writes to its log."""
    if postmortem.log_grew and not postmortem.log_missing:
        return None
    for option, value in options.items():
        problem = explain_refusal(option, value, parameters)
        if problem is not None:
            return Diagnosis(messages.OPTION_REFUSED(problem=problem), messages.CORRECT_OPTION())
    return None


def _find_kill(postmortem: Postmortem, pid: int) -> Diagnosis | None:
    for line in reversed(postmortem.kernel):
        killed = _KILLED.search(line)
        if killed and pid and int(killed[1]) == pid:
            return _out_of_memory(messages.KILLED(pid=pid), line)
    return None


def _find_kill_by_name(postmortem: Postmortem, program: str) -> Diagnosis | None:
    """Find a kill by process name: in a container, the kernel's log shows the host's pids."""
    for line in reversed(postmortem.kernel):
        killed = _KILLED.search(line)
        if killed and killed[2] == program:
            return _out_of_memory(messages.KILLED_BY_NAME(program=program), line)
    return None


def _out_of_memory(cause: str, line: str) -> Diagnosis:
    return Diagnosis(cause, messages.FREE_MEMORY(), (line[:_LINE_LENGTH],))


def _find_crash(
    postmortem: Postmortem, pid: int, program: str, lines: tuple[str, ...]
) -> Diagnosis | None:
    remedy = messages.REPORT_CRASH()
    for line in reversed(postmortem.kernel):
        # The kernel logs the id of the crashed thread, but also the name of its program.
        if _CRASHED.search(line) and (f"[{pid}]" in line or f" in {program}[" in line):
            evidence = (line[:_LINE_LENGTH], *lines[-_LAST_KEPT:])
            return Diagnosis(messages.CRASHED(), remedy, evidence)
    if postmortem.cores:
        cause = messages.CORE_FILE_LEFT(path=postmortem.cores[-1])
        return Diagnosis(cause, remedy, lines)
    return None


def _find_specific(postmortem: Postmortem, lines: tuple[str, ...]) -> Diagnosis | None:
    """Find the last log line with a specific error.

    The server often ends with a general code after the line that has the specific one.
    """
    for line in reversed(postmortem.log):
        codes = _codes(line)
        for pattern in ERROR_PATTERNS:
            if pattern.text in line and pattern.code in codes:
                user = _find_port_user(postmortem) if pattern.names_port else None
                problem, remedy = user or (pattern.cause, pattern.remedy)
                cause = messages.PATTERN_FOUND(cause=problem, code=pattern.code)
                return Diagnosis(cause, remedy, lines, errcode=pattern.code)
        for code in reversed(codes):
            known = KNOWN_ERRORS.get(code)
            if known is not None and not known.is_general:
                user = _find_port_user(postmortem) if known.names_port else None
                return _known(code, lines, user)
    return None


def _find_port_user(postmortem: Postmortem) -> tuple[str, str] | None:
    """Return cause and remedy if a process listens on a port of the server or connects from it."""
    for port in postmortem.taken:
        listeners = postmortem.listeners.get(port)
        if not listeners:
            return messages.PORT_TAKEN(port=port), messages.FREE_PORT()
        cause = messages.PORT_TAKEN_BY(port=port, listener=str(listeners[0]))
        return cause, messages.FREE_PORT()
    for connection in postmortem.connections:
        return explain_connection(connection, messages.PORT())
    return None


def _find_taken_port(postmortem: Postmortem, lines: tuple[str, ...]) -> Diagnosis | None:
    """Find a port that is in use although the server is gone.

    A connection counts only if the server came as far as its log: it opens its port last.
    """
    user = _find_port_user(postmortem)
    if user is None or not (postmortem.taken or postmortem.log_grew):
        return None
    return Diagnosis(*user, lines)


def _find_general(log: Iterable[str], lines: tuple[str, ...]) -> Diagnosis | None:
    codes = [code for line in log for code in _codes(line)]
    known = [code for code in codes if code in KNOWN_ERRORS]
    if known:
        return _known(known[-1], lines)
    if codes:
        cause = messages.CODE_UNKNOWN(code=codes[-1])
        return Diagnosis(cause, messages.READ_LOG(), lines, errcode=codes[-1])
    return None


def _known(
    code: int, lines: tuple[str, ...], more_precise: tuple[str, str] | None = None
) -> Diagnosis:
    error = KNOWN_ERRORS[code]
    problem, remedy = more_precise or (error.cause, error.remedy)
    cause = messages.CODE_FOUND(cause=problem, code=code, name=error.name)
    return Diagnosis(cause, remedy, lines, errcode=code)


def _find_nothing(
    postmortem: Postmortem, options: Mapping[str, str], lines: tuple[str, ...]
) -> Diagnosis:
    if not postmortem.complete:
        return Diagnosis(messages.RESPONSE_TRUNCATED(), messages.READ_LOG(), lines, False)
    if options and (postmortem.log_missing or not postmortem.log_grew):
        cause = messages.LOG_UNCHANGED_WITH_OPTIONS(
            options=", ".join(f"{name}={value}" for name, value in options.items())
        )
        return Diagnosis(cause, messages.CORRECT_OPTION_OR_START(), lines, False)
    if postmortem.log_missing:
        return Diagnosis(messages.LOG_MISSING(), messages.START_BY_HAND(), lines, False)
    if not postmortem.log_grew:
        return Diagnosis(messages.LOG_UNCHANGED(), messages.START_BY_HAND(), lines, False)
    if _is_disk_full(postmortem):  # its last lines may be missing for the same reason
        return Diagnosis(messages.DISK_FULL(), messages.FREE_SPACE(), lines, False)
    # A signal leaves no log line. Source: seekdb 1.4 here, TERM, KILL, SEGV and ABRT.
    return Diagnosis(messages.LOG_WITHOUT_ERROR(), messages.FIND_SENDER(), lines, False)


def _is_disk_full(postmortem: Postmortem) -> bool:
    return postmortem.free_bytes is not None and postmortem.free_bytes < _LITTLE_BYTES


def _observations(postmortem: Postmortem) -> tuple[str, ...]:
    observations: list[str] = []
    if _is_disk_full(postmortem):
        observations.append(messages.DISK_ALMOST_FULL(size=postmortem.free_bytes))
    if postmortem.free_files is not None and 0 < postmortem.free_files < _FEW_FILES:
        observations.append(messages.FILES_ALMOST_EXHAUSTED(count=postmortem.free_files))
    if any("I/O error" in line or "EXT4-fs error" in line for line in postmortem.kernel):
        observations.append(messages.DISK_ERRORS())
    return tuple(observations)


def _codes(line: str) -> list[int]:
    return [int(match[1] or match[2]) for match in _CODE.finditer(line)]


def _keep(log: Iterable[str]) -> tuple[str, ...]:
    """Keep the first lines, which name the problem, and the last ones, which show the exit."""
    lines = [_BACKTRACE.sub("", line)[:_LINE_LENGTH] for line in log if line.strip()]
    if len(lines) > _FIRST_KEPT + _LAST_KEPT:
        lines = [*lines[:_FIRST_KEPT], *lines[-_LAST_KEPT:]]
    return tuple(lines)

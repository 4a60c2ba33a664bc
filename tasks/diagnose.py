"""Why a server did not come up, from its own log. Pure.

Source of the codes: the server's public error list; the first three were provoked with seekdb
1.4 (a small log disk, a taken port, a full disk).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_LINES_KEPT = 5
_LINE_LENGTH = 300
_LEAST_BYTES = {"log_disk_size": (2 << 30, "2G")}
_SIZE = re.compile(r"([0-9]{1,12})([kmgtKMGT]?)[bB]?")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_CODE = re.compile(r"\[errcode=(-[0-9]{1,9})\]|\bret=(-[0-9]{1,9})\b")


@dataclass(frozen=True, slots=True)
class KnownError:
    """A server's error code, in words."""

    cause: str
    remedy: str


KNOWN_ERRORS = {
    -4736: KnownError("a resource option is too small", "give log_disk_size at least 2G"),
    -4016: KnownError("a port is taken", "free the port or set another sql_port"),
    -4184: KnownError("the disk is full", "free disk space for the home"),
    -4013: KnownError("there is not enough memory", "lower memory_limit or free memory"),
    -4015: KnownError(
        "the server found its files in disorder", "read its log; is the home from a failed start?"
    ),
    -4009: KnownError("reading or writing a file failed", "look at the disk and the kernel log"),
    -4027: KnownError("a file of the home is missing", "restore the home"),
    -4103: KnownError("a checksum does not match: data is damaged", "restore the home"),
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the log says: cause and remedy in words, and the lines that say so.

    Attributes:
        names_error: False when no error code was found.
    """

    cause: str
    remedy: str
    lines: tuple[str, ...]
    names_error: bool = True


def suspect(options: Mapping[str, str]) -> Diagnosis | None:
    """What is known to be too little among the start options; None when nothing is.

    A dying server does not always get its last lines to the disk: seekdb 1.4 lost those that name
    the error in 3 of 30 deaths by a small log disk.
    """
    for name, (least, text) in _LEAST_BYTES.items():
        size = _parse_size(options.get(name, ""))
        if size is not None and size < least:
            cause = f"its log names no error, but {name} {options[name]} is too small"
            return Diagnosis(cause, f"give {name} at least {text}", ())
    return None


def _parse_size(text: str) -> int | None:
    found = _SIZE.fullmatch(text.strip())
    return int(found[1]) * _UNITS[found[2].upper()] if found else None


def diagnose(output: str) -> Diagnosis:
    """Read the ERROR and EDIAG lines of a server's log.

    The server often ends on a general code after the telling one, so the last known code wins
    over later unknown ones.
    """
    lines = [line[:_LINE_LENGTH] for line in output.splitlines() if line.strip()]
    codes = [int(m[1] or m[2]) for line in output.splitlines() for m in _CODE.finditer(line)]
    kept = tuple(lines[-_LINES_KEPT:])
    known = [code for code in codes if code in KNOWN_ERRORS]
    if known:
        error = KNOWN_ERRORS[known[-1]]
        return Diagnosis(f"{error.cause} (errcode {known[-1]})", error.remedy, kept)
    if codes:
        return Diagnosis(f"errcode {codes[-1]}", "read the server's log", kept)
    return Diagnosis("its log names no error", "read the server's log", kept, names_error=False)

"""The lines of a known_hosts file, read as OpenSSH reads them: an unreadable one is skipped. Pure.

For the format see sshd(8). The SSH library refuses a whole file for one such line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import asyncssh

from dagengine.remote import messages

_BLANKS = re.compile(r"[ \t]+")
_MARKERS = ("@cert-authority", "@revoked")


@dataclass(frozen=True, slots=True)
class SkippedLine:
    """A line that is not used.

    Attributes:
        number: of the line, from 1.
        reason: why it cannot be read.
    """

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """The content of a known_hosts file.

    Attributes:
        trusted: the readable lines.
        skipped: the others, except for comments and blank lines.
    """

    trusted: asyncssh.SSHKnownHosts
    skipped: tuple[SkippedLine, ...] = ()


class _UnreadableLineError(ValueError):
    """Raised when a line cannot be read."""


def parse_known_hosts(data: bytes) -> KnownHosts:
    """Parse a known_hosts file; never fails."""
    entries: list[str] = []
    skipped: list[SkippedLine] = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            entries += _parse_line(line)
        except _UnreadableLineError as exc:
            skipped.append(SkippedLine(number, str(exc)))
    return KnownHosts(asyncssh.import_known_hosts("\n".join(entries)), tuple(skipped))


def _parse_line(line: bytes) -> Iterator[str]:
    """Yield the entry of a line without its comment; nothing for a comment or a blank line.

    Raises:
        _UnreadableLineError: OpenSSH would skip the line.
    """
    before_nul, nul, _ = line.partition(b"\0")  # at which OpenSSH ends the line
    text = before_nul.decode("utf-8", errors="surrogateescape").strip(" \t\r")
    if not text:
        if nul:
            raise _UnreadableLineError(messages.LINE_HAS_ZEROES())
        return
    if text.startswith("#"):
        return
    words = _BLANKS.split(text)
    marker = words.pop(0) if text.startswith("@") else ""
    if marker not in ("", *_MARKERS):
        raise _UnreadableLineError(messages.LINE_MARKER_UNKNOWN())
    if len(words) < 3:
        raise _UnreadableLineError(messages.LINE_INCOMPLETE())
    names, algorithm, key = words[:3]
    entry = " ".join(filter(None, (marker, names, algorithm, key)))
    # The library would take a line separator, such as a lone carriage return, for a line's end.
    if len(entry.splitlines()) != 1 or not _is_key(f"{algorithm} {key}"):
        raise _UnreadableLineError(messages.LINE_KEY_UNREADABLE())
    if names.startswith("|"):
        try:
            asyncssh.import_known_hosts(entry)
        except ValueError as exc:
            raise _UnreadableLineError(messages.LINE_NAME_UNREADABLE()) from exc
    yield entry


def _is_key(text: str) -> bool:
    for read in (asyncssh.import_public_key, asyncssh.import_certificate):
        try:
            read(text)
        except (asyncssh.KeyImportError, ValueError):
            continue
        return True
    return False

"""Lines that quote a host, a peer or a user: clean and of limited length."""

from __future__ import annotations

from collections.abc import Iterable

from dagengine import messages
from dagengine.text import escape_controls

_KEPT_BYTES = 2048  # of each end of a line that is too long
MAX_LINE_BYTES = 3 * _KEPT_BYTES
"""Size of a line that is kept whole: a sentence around a text that was already shortened."""


def clean_line(text: str) -> str:
    """Return the text as it may be stored and shown: one line, without control characters.

    Of a text of more than 6 KiB only the first and the last 2 KiB are kept.
    """
    if len(text) <= MAX_LINE_BYTES:
        cleaned = escape_controls(text)
        if len(cleaned) * 4 <= MAX_LINE_BYTES or len(cleaned.encode()) <= MAX_LINE_BYTES:
            return cleaned
    first, last = text[:_KEPT_BYTES], text[-_KEPT_BYTES:]
    return join_ends(first, _size_bytes(text) - _size_bytes(first) - _size_bytes(last), last)


def join_ends(first: str, omitted_bytes: int, last: str) -> str:
    """Return one clean line of the first and the last part of a text that is too long.

    Args:
        first: the first part; 2 KiB of it are kept.
        omitted_bytes: what is missing between the parts, in bytes.
        last: the last part; 2 KiB of it are kept.
    """
    start, start_bytes = _take(first)
    end, end_bytes = _take(reversed(last))
    omitted_bytes += _size_bytes(first) - start_bytes + _size_bytes(last) - end_bytes
    return messages.OMITTED(
        first="".join(start), size_bytes=omitted_bytes, last="".join(reversed(end))
    )


def _take(characters: Iterable[str]) -> tuple[list[str], int]:
    """Return the leading characters that fit, escaped, and their size before they were escaped."""
    taken: list[str] = []
    room_bytes, size_bytes = _KEPT_BYTES, 0
    for character in characters:
        escaped = escape_controls(character)
        room_bytes -= len(escaped.encode())
        if room_bytes < 0:
            break
        taken.append(escaped)
        size_bytes += _size_bytes(character)
    return taken, size_bytes


def _size_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))

"""Sizes in the notation of the server's parameters."""

from __future__ import annotations

import re

_SIZE = re.compile(r"([0-9]{1,12})([kmgtKMGT]?)[bB]?")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int | None:
    """Return a size in bytes, such as 2147483648 for `2G`; None for any other text."""
    match = _SIZE.fullmatch(text.strip())
    return int(match[1]) * _UNITS[match[2].upper()] if match else None

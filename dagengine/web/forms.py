"""Fields of forms."""

from __future__ import annotations

from urllib.parse import parse_qsl

from multidict import MultiDict

REASON_CHARS = 4000
"""Maximum length of a reason."""

_MAX_FIELDS = 5000  # a form may have one per server


def parse_form(body: bytes) -> MultiDict[str]:
    """Return the fields of a form; nothing for another kind of body."""
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        return MultiDict()
    return MultiDict(pairs)

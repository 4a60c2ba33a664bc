"""Statements with their values as literals. The server never parses a value as SQL.

Texts are hexadecimal literals, so no character of a host's output can end a literal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from dagengine.mysql import hex_literal
from dagengine.store.queries import parse_queries, read_sql

Literals: TypeAlias = Mapping[str, str]

_PACKAGE: Final = __package__ or ""
QUERIES: Final = parse_queries(read_sql(_PACKAGE, "queries.sql"))
PACKETS: Final = parse_queries(read_sql(_PACKAGE, "packets.sql"))

NULLABLE: Final = frozenset(
    {
        *("lock_key", "lock_successor_id", "target", "data", "evidence", "error", "node_id"),
        *("clusters", "expires_at", "last_used_at", "fingerprint", "token"),
    }
)
"""Columns of new rows that may be NULL."""

SET_LENGTHS: Final = (16, 4, 1)
"""Numbers of rows in a set statement; the database plans each length once."""

_NAME = re.compile(r":([a-z_]+)")
_MAX_INTEGER = 2**63 - 1


def render_literal(value: object) -> str:
    """Return a value as a literal; its length does not depend on the session's variables.

    Raises:
        TypeError: a value of this type cannot be stored.
        OverflowError: the number does not fit into 64 bits.
        UnicodeEncodeError: the text is not valid Unicode.
    """
    if isinstance(value, str):
        return hex_literal(value.encode())
    if isinstance(value, int):
        if not -_MAX_INTEGER - 1 <= value <= _MAX_INTEGER:
            raise OverflowError("the number does not fit into 64 bits")
        return str(int(value))
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return hex_literal(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be stored")


def render_values(columns: Sequence[str], values: Sequence[object]) -> Sequence[str]:
    """Return the values of one change as literals.

    Raises:
        TypeError: a value is missing or has an unsuitable type.
        OverflowError, UnicodeEncodeError: see `render_literal`.
    """
    for column, value in zip(columns, values, strict=True):
        if value is None and column not in NULLABLE:
            raise TypeError(f"the value of {column} is missing")
    return [render_literal(value) for value in values]


def render_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a derived table of literals with these columns."""
    first, *others = rows
    named = ", ".join(f"{value} AS {name}" for value, name in zip(first, columns, strict=True))
    return " UNION ALL ".join(
        f"SELECT {text}" for text in (named, *(", ".join(row) for row in others))
    )


def render_statement(text: str, literals: Literals) -> str:
    """Return a statement with literals in the places of its names.

    Raises:
        KeyError: a name has no literal.
    """
    return _NAME.sub(lambda match: literals[match[1]], text)


def render_query(name: str, cluster: str, /, **values: object) -> str:
    """Return a named statement of queries.sql or packets.sql for a cluster.

    A list or a tuple is a list of literals; it must not be empty.
    """
    literals = {"cluster": render_literal(cluster)}
    for key, value in values.items():
        if isinstance(value, list | tuple):
            literals[key] = ", ".join(map(render_literal, value))
        else:
            literals[key] = render_literal(value)
    return render_statement(PACKETS.get(name) or QUERIES[name], literals)


def pad_ids(ids: Iterable[int]) -> Sequence[Sequence[int]]:
    """Split ids into lists of the lengths in SET_LENGTHS; the last id may be repeated."""
    waiting = list(ids)
    parts: list[list[int]] = []
    while waiting:
        length = max(SET_LENGTHS)
        part, waiting = waiting[:length], waiting[length:]
        wanted = min(size for size in SET_LENGTHS if size >= len(part))
        parts.append(part + part[-1:] * (wanted - len(part)))
    return parts

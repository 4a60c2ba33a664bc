"""The statements of queries.sql, by name."""

from __future__ import annotations

from dagengine.store.queries import parse_queries, read_sql


def read_file(name: str) -> str:
    """Return the text of a .sql file of this package, such as `schema.sql`."""
    return read_sql(__package__ or "", name)


QUERIES = parse_queries(read_file("queries.sql"))

"""The statements of the .sql files, by name."""

from __future__ import annotations

import re
from importlib import resources

_MARK = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


def parse_queries(text: str) -> dict[str, str]:
    """Split a file of `-- name: x` sections into statements without comments."""
    parts = _MARK.split(text)[1:]
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"a query name occurs twice: {sorted(names)}")
    return {
        name: " ".join(_COMMENT.sub("", body).split()).rstrip(";")
        for name, body in zip(names, bodies, strict=True)
    }


def read_sql(package: str, name: str) -> str:
    """Return the text of a .sql file of a package, such as `schema.sql`."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")

"""Files of other projects: each has a row in docs/reference/vendored.md, and is unchanged."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ROW = re.compile(
    r"^\| `(\S+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| `([0-9a-f]{64})` \|$"
)
OWN = {
    *("dagengine/api/document/static/docs.html", "dagengine/api/document/static/docs.js"),
    *(f"dagengine/web/static/{name}" for name in ("app.mjs", "icon.svg", "style.css")),
}
FOREIGN_FOLDERS = ("dagengine/api/document/static", "dagengine/web/static")
"""Folders whose files are vendored, except the ones in OWN."""


def rows() -> dict[str, list[str]]:
    """Return the cells of each row, by the path of its file."""
    text = (ROOT / "docs/reference/vendored.md").read_text(encoding="utf-8")
    matches = [match for line in text.splitlines() if (match := _ROW.match(line))]
    return {match[1]: [cell.strip() for cell in match.groups()[1:]] for match in matches}


def test_vendored_files_match_their_digests() -> None:
    digests = {path: hashlib.sha256((ROOT / path).read_bytes()).hexdigest() for path in rows()}
    assert digests
    assert {path: cells[-1] for path, cells in rows().items()} == digests


def test_vendored_files_are_all_listed() -> None:
    present = {
        path.relative_to(ROOT).as_posix()
        for folder in FOREIGN_FOLDERS
        for path in (ROOT / folder).iterdir()
    }
    assert present - OWN == {path for path in rows() if path.startswith(FOREIGN_FOLDERS)}


def test_vendored_rows_name_version_licence_and_source() -> None:
    for path, (name, version, licence, source, _) in rows().items():
        assert name, path
        assert re.fullmatch(r"\d+(\.\d+)+", version), path
        assert re.fullmatch(r"[A-Za-z0-9.-]+", licence), path
        assert re.match(r"npm `\S+`, `\S+`$", source), path

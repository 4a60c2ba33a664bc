"""docs/reference/compatibility.md has a row for each point and names existing tests."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.strict_decoder import NULLABLE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "compatibility.md").read_text(encoding="utf-8")
POINTS = {
    int(number): text for number, text in re.findall(r"^\| (\d+) \|(.*)\|$", PAGE, re.MULTILINE)
}
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
}


def test_compatibility_page_has_one_line_per_point() -> None:
    assert sorted(POINTS) == list(range(1, 44))


def test_compatibility_page_names_existing_tests() -> None:
    named = {number: re.findall(r"`(test_\w+)`", text) for number, text in POINTS.items()}
    assert [number for number, names in named.items() if not names] == []
    missing = {name for names in named.values() for name in names} - TESTS
    assert missing == set()


def test_compatibility_page_has_row_for_each_nullable_field() -> None:
    rows = re.findall(
        r"^\| `(\w+)` .*\| (.*?) \|$", PAGE.partition("## Null values")[2], re.MULTILINE
    )
    assert dict(rows) == {name: field.when for name, field in NULLABLE.items()}

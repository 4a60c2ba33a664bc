"""Links between the documents: their files and headings exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.checkout import ROOT, tracked_files

PAGES = [name for name in tracked_files() if name.endswith(".md")]
LINK = re.compile(r"\]\(([^)\s:#]*)(?:#([^)\s]+))?\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub builds them."""
    text = FENCED.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_and_headings(name: str) -> None:
    page = ROOT / name
    broken = []
    for target, anchor in LINK.findall(FENCED.sub("", page.read_text("utf-8"))):
        file = (page.parent / target) if target else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def test_index_lists_all_pages() -> None:
    """Every page but the index itself can be found from the index."""
    index = ROOT / "docs/index.md"
    linked = {
        str((index.parent / target).resolve().relative_to(ROOT.resolve()))
        for target, _ in LINK.findall(index.read_text("utf-8"))
        if target
    }
    pages = {name for name in PAGES if name.startswith("docs/")}
    assert pages - linked - {"docs/index.md"} == set()

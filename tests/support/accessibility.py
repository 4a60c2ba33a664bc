"""Accessibility of pages: axe-core from npm, and the width of a small screen."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.async_api import Page

_AXE = "axe-core@4.14.1"
_RUN = "async () => (await window.axe.run()).violations"
_IS_TOO_WIDE = "document.documentElement.scrollWidth > innerWidth"
_HAS_CUT_TABLE = """
() => [...document.querySelectorAll("table.list, table.servers")].some(
  table => table.parentElement.scrollWidth > table.parentElement.clientWidth)
"""
_HAS_BROKEN_NAME = """
() => [...document.querySelectorAll(".timeline tbody th.lane")].some(
  lane => lane.clientWidth < 100)
"""


def load_axe(directory: Path) -> str:
    """Return the source of axe-core; the archive from npm is stored in a directory."""
    subprocess.run(["npm", "pack", "--silent", _AXE], cwd=directory, check=True, timeout=120)
    archive = next(directory.glob("axe-core-*.tgz"))
    command = ["tar", "-xOzf", str(archive), "package/axe.min.js"]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout.decode()


async def find_defects(page: Page, axe: str) -> list[str]:
    """Return the violations of all rules of axe-core, and what a small screen cuts off."""
    await page.evaluate(axe)
    found = await page.evaluate(_RUN)
    defects = [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]
    if await page.evaluate(_IS_TOO_WIDE):
        defects.append("the page is wider than the screen")
    if await page.evaluate(_HAS_CUT_TABLE):
        defects.append("a table is wider than its frame")
    if await page.evaluate(_HAS_BROKEN_NAME):
        defects.append("the names in the timeline have no room")
    return defects

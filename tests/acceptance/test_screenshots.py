"""The script that takes the screenshots of all pages.

The pictures are kept in the directory that the environment variable SCREENSHOTS names.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from docs.screenshots import IMAGES, LOOKS, MAX_BYTES, SHOWN, take_every_page
from tests.support.browser import CHROMIUM

PNG = b"\x89PNG\r\n"
PAGES = ["audit", "doctor", "fleet", "locks", "log", "login", "plan", "servers", "task", "tasks"]


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")
async def test_script_takes_every_page_in_every_look(tmp_path: Path) -> None:
    try:
        await take_every_page(tmp_path)
    finally:
        if kept := os.environ.get("SCREENSHOTS"):
            shutil.copytree(tmp_path, kept, dirs_exist_ok=True)
    names = {f"{page}-{look}.png" for page in PAGES for look in LOOKS}
    assert {path.name for path in tmp_path.iterdir()} == names
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(PNG)


def test_documentation_has_its_screenshots() -> None:
    assert {path.name for path in IMAGES.iterdir()} == {f"{page}.png" for page in SHOWN}
    guide = (IMAGES.parent / "howto" / "dashboard.md").read_text()
    for path in IMAGES.iterdir():
        assert path.stat().st_size <= MAX_BYTES
        assert f"(../images/{path.name})" in guide

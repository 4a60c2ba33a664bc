"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import BrowserContext, Page, async_playwright

CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@asynccontextmanager
async def open_chromium() -> AsyncIterator[BrowserContext]:
    """Open a browser with an empty profile."""
    with tempfile.TemporaryDirectory() as profile:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch_persistent_context(
                profile, executable_path=str(CHROMIUM), headless=True, args=_FLAGS
            )
            try:
                yield browser
            finally:
                await browser.close()


async def log_in(page: Page, url: str, password: str) -> None:
    """Log in with the password of root@sys."""
    await page.goto(f"{url}/ui/login")
    await page.fill("#secret", password)
    await page.click("form:has(#secret) button")
    await page.wait_for_selector("#live")

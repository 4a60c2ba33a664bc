"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, Page, async_playwright

CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@asynccontextmanager
async def open_browser(profile: Path, *flags: str, **options: Any) -> AsyncIterator[BrowserContext]:
    """Open a browser with an empty profile; violations of the CSP end up in `violations_of`."""
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=str(CHROMIUM),
            headless=True,
            args=[*_FLAGS, *flags],
            **options,
        )
        try:
            yield context
        finally:
            await context.close()


async def log_in(page: Page, url: str, password: str) -> None:
    """Log in with the password of root@sys."""
    await page.goto(f"{url}/ui/login")
    await page.fill("#secret", password)
    await page.click("form:has(#secret) button")  # in any language
    await page.wait_for_selector("#live")

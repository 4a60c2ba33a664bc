"""Users of the pages: one with a mouse, one with a keyboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from playwright.async_api import Locator, Page

_MAX_TABS = 400
_IS_FOCUSED = "element => element === document.activeElement"


class User(Protocol):
    """Uses a page with one device; texts are always typed."""

    @property
    def page(self) -> Page: ...

    async def activate(self, target: Locator) -> None:
        """Follow a link or press a button."""
        ...

    async def fill(self, field: Locator, text: str) -> None:
        """Type a text into an empty field."""
        ...


@dataclass(frozen=True)
class MouseUser:
    """Moves the pointer and clicks."""

    page: Page

    async def activate(self, target: Locator) -> None:
        await target.click()

    async def fill(self, field: Locator, text: str) -> None:
        await field.click()
        await self.page.keyboard.type(text)


@dataclass(frozen=True)
class KeyboardUser:
    """Presses Tab until the target has the focus, and then Enter."""

    page: Page

    async def activate(self, target: Locator) -> None:
        await self._focus(target)
        await self.page.keyboard.press("Enter")

    async def fill(self, field: Locator, text: str) -> None:
        await self._focus(field)
        await self.page.keyboard.type(text)

    async def _focus(self, target: Locator) -> None:
        await target.wait_for()
        for _ in range(_MAX_TABS):
            if await target.evaluate(_IS_FOCUSED):
                return
            await self.page.keyboard.press("Tab")
        raise AssertionError(f"the key Tab never reached {target}")

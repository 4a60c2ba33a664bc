"""A controller that serves pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.support.page_controller import PageController, open_page_controller


@pytest_asyncio.fixture
async def controller(tmp_path: Path) -> AsyncIterator[PageController]:
    """A controller with the pages about DAGs only."""
    async with open_page_controller(tmp_path) as controller:
        yield controller

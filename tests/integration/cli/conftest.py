"""A controller for the commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.support.cli_controller import CliController


@pytest_asyncio.fixture
async def controller(tmp_path: Path) -> AsyncIterator[CliController]:
    opened = CliController(tmp_path)
    async with opened.running():
        yield opened

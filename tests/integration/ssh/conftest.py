"""SSH servers of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.support.sshd import SshLab, open_lab


@pytest_asyncio.fixture
async def lab(tmp_path: Path) -> AsyncIterator[SshLab]:
    async with open_lab(tmp_path) as lab:
        yield lab

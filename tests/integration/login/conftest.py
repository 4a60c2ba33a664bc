"""A controller with pages on TCP, TLS and a unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.session_pages import Pages, open_pages


@pytest_asyncio.fixture
async def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pages]:
    async with open_pages(tmp_path, monkeypatch) as opened:
        yield opened

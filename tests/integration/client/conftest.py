"""A controller with scripted DAGs, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dagengine.client import Client
from tests.support.event_controller import EventController


@pytest.fixture
def event_controller(tmp_path: Path) -> EventController:
    return EventController(tmp_path)


@pytest_asyncio.fixture
async def running_controller(event_controller: EventController) -> AsyncIterator[EventController]:
    async with event_controller.running():
        yield event_controller


@pytest_asyncio.fixture
async def client(running_controller: EventController) -> AsyncIterator[Client]:
    async with running_controller.client() as opened:
        yield opened

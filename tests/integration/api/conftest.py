"""A controller that serves the API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.api_controller import AGENT, ApiController, open_api_controller
from tests.support.strict_decoder import DecodedResponses, record_responses


@pytest_asyncio.fixture
async def controller(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ApiController]:
    """A controller at AGENT, or at the address that a test asks for."""
    async with open_api_controller(
        tmp_path, monkeypatch, getattr(request, "param", AGENT)
    ) as controller:
        yield controller


@pytest.fixture(autouse=True)
def decoded_responses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Decode each response strictly; a violation fails the test that received it."""
    responses = DecodedResponses()
    with record_responses(monkeypatch, responses):
        yield
    assert responses.violations == []

"""Fixtures of the tests of a whole controller."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from tests.support.attacked_controller import AttackedController
from tests.support.raw_connection import OPEN_CONNECTIONS


@pytest_asyncio.fixture(autouse=True)
async def _close_raw_connections() -> AsyncIterator[None]:
    yield
    while OPEN_CONNECTIONS:
        await OPEN_CONNECTIONS.pop().close()


@pytest.fixture
def attacked_controller(tmp_path: Path) -> AttackedController:
    return AttackedController(tmp_path)


@pytest.fixture
def other_address() -> str:
    """An address of this machine besides loopback; packets between the two stay on `lo`."""
    addresses = [
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family is socket.AF_INET and not address.address.startswith("127.")
    ]
    if not addresses:
        pytest.skip("this machine has no address besides loopback")
    return addresses[0]

"""A client of the API, for Python callers who want no SDK, and for the commands."""

from __future__ import annotations

from dagengine.client.address import Trust
from dagengine.client.calls import Client
from dagengine.client.door import Dto
from dagengine.client.stream import Event
from dagengine.errors import ApiRefused, ClientError, ControllerUnreachable, InvalidId

__all__ = [
    "ApiRefused",
    "Client",
    "ClientError",
    "ControllerUnreachable",
    "Dto",
    "Event",
    "InvalidId",
    "Trust",
]

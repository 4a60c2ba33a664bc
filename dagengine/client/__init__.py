"""A client of the API, for the command line and for Python callers that do not use an SDK."""

from __future__ import annotations

from dagengine.client.client import Client
from dagengine.client.events import StreamEvent
from dagengine.client.fleet import FleetClient
from dagengine.client.tls import TlsConfig
from dagengine.client.transport import Dto
from dagengine.errors import (
    ApiRefused,
    ClientError,
    ControllerUnreachable,
    InvalidId,
    ResponseMalformed,
)

__all__ = [
    "ApiRefused",
    "Client",
    "ClientError",
    "ControllerUnreachable",
    "Dto",
    "FleetClient",
    "InvalidId",
    "ResponseMalformed",
    "StreamEvent",
    "TlsConfig",
]

"""The fields of a response that depend on the client's permissions."""

from __future__ import annotations

import json

import pytest

from dagengine.api.middleware import ResponseBuilder
from dagengine.errors import Conflict, DagengineError
from dagengine.security.errors import SocketPermissionDenied
from dagengine.testing import FakeClock


@pytest.mark.parametrize(
    ("error", "expected"),
    [(Conflict("a conflict"), ("trace", 1500)), (SocketPermissionDenied("uid 1"), ("", 0))],
)
def test_response_builder_socket_denial_omits_trace_and_duration(
    error: DagengineError, expected: tuple[str, int]
) -> None:
    clock = FakeClock()
    builder = ResponseBuilder(clock, clock.monotonic_s() - 1.5, "trace")
    body = builder.failure(error).body
    assert isinstance(body, bytes)
    envelope = json.loads(body)
    assert (envelope["traceId"], envelope["duration"]) == expected

"""Failures of calls: in words of this program, not of a library."""

from __future__ import annotations

import errno
import os
import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp.client_exceptions import UnixClientConnectorError
from aiohttp.client_reqrep import ConnectionKey

from dagengine.client.failures import explain_failure
from dagengine.errors import Message

_KEY: Any = ConnectionKey("h", 1, True, True, None, None, None)


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


CASES: dict[str, tuple[Exception, str, str]] = {
    "port too high": (
        aiohttp.InvalidURL("http://127.0.0.1:999999"),
        "the port of the URL is not valid",
        "from 1 to 65535 in --url",
    ),
    "port is a word": (
        aiohttp.InvalidURL("http://127.0.0.1:abc/api"),
        "the port of the URL is not valid",
        "from 1 to 65535 in --url",
    ),
    "bracket missing": (
        aiohttp.InvalidURL("http://[::1"),
        "the URL is not valid",
        "http://HOST:PORT",
    ),
    "refused": (
        aiohttp.ClientConnectorError(_KEY, os_error(errno.ECONNREFUSED)),
        "nothing listens there",
        "dagengine serve",
    ),
    "refused at each address": (
        aiohttp.ClientConnectorError(_KEY, OSError("Multiple: [Errno 111] Connect call failed")),
        "nothing listens there",
        "dagengine serve",
    ),
    "socket missing": (
        UnixClientConnectorError("/s", _KEY, os_error(errno.ENOENT)),
        "the socket does not exist",
        "--url",
    ),
    "socket denied": (
        UnixClientConnectorError("/s", _KEY, os_error(errno.EACCES)),
        "this user may not connect",
        "--url",
    ),
    "no route": (
        aiohttp.ClientConnectorError(_KEY, os_error(errno.EHOSTUNREACH)),
        "the host cannot be reached",
        "--url",
    ),
    "unknown name": (
        aiohttp.ClientConnectorDNSError(_KEY, OSError(-2, "Name or service not known")),
        "its host name is not known",
        "--url",
    ),
    "timeout": (aiohttp.ServerTimeoutError(), "it did not answer in time", "dagengine serve"),
    "asyncio timeout": (TimeoutError(), "it did not answer in time", "dagengine serve"),
    "closed": (aiohttp.ServerDisconnectedError(), "it closed the connection", "dagengine serve"),
    "reset": (aiohttp.ClientOSError(errno.ECONNRESET, "x"), "it closed the connection", "--url"),
    "certificate": (
        aiohttp.ClientConnectorCertificateError(_KEY, ssl.SSLCertVerificationError(1, "x")),
        "its certificate is not trusted",
        "DAGENGINE_CA_FILE",
    ),
    "http behind https": (
        aiohttp.ClientConnectorSSLError(_KEY, ssl.SSLError(1, "[SSL] record layer failure")),
        "it does not accept TLS",
        "http://",
    ),
    "ssh port": (
        aiohttp.ClientResponseError(None, (), status=400, message="Bad status line"),  # type: ignore[arg-type]
        "it does not speak HTTP",
        "check scheme and port",
    ),
    "not JSON": (ValueError("Expecting value: line 1"), "its response is not JSON", "--url"),
    "own text": (
        ValueError(Message("x.y", "its response is not a JSON object")()),
        "its response is not a JSON object",
        "--url",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_explain_failure_says_reason_and_remedy(name: str) -> None:
    exc, reason_part, remedy_part = CASES[name]
    reason, remedy = explain_failure(exc)
    assert reason.startswith(reason_part)
    assert remedy_part in remedy
    assert not any(text in reason for text in ("Errno", "ssl:", "Connect call", "line 1"))

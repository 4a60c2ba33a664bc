"""Errors of this machine are not reported as those of a host."""

from __future__ import annotations

import errno
import os
import socket

import asyncssh
import pytest

from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.connector import explain_failure

TRUSTED = asyncssh.import_known_hosts("")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_explain_failure_without_descriptor_names_controller(number: int) -> None:
    error = OSError(number, os.strerror(number))
    explained = explain_failure(error, HostAddress("192.0.2.1"), TRUSTED)
    assert "this controller has no free file descriptor" in explained.message
    assert "LimitNOFILE" in explained.remedy


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            OSError(errno.ECONNREFUSED, "Connect call failed ('192.0.2.1', 22)"),
            "Connection refused",
        ),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed"), "Connection refused"),
        (OSError(errno.EHOSTUNREACH, "x"), "No route to host"),
        (socket.gaierror(-2, "Name or service not known"), "the host name db1 is not known"),
        (TimeoutError(), "it did not answer in time"),
    ],
)
def test_explain_failure_has_no_text_of_asyncio(error: Exception, reason: str) -> None:
    explained = explain_failure(error, HostAddress("db1"), TRUSTED)
    assert explained.message == f"db1:22 cannot be reached over SSH: {reason}"
    assert "sshd listens" in explained.remedy


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH])
def test_explain_failure_of_network_names_host(number: int) -> None:
    error = OSError(number, os.strerror(number))
    explained = explain_failure(error, HostAddress("192.0.2.1"), TRUSTED)
    assert "192.0.2.1:22 cannot be reached over SSH" in explained.message

"""The unix socket of a cluster: configured, or by default beside its store."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import structlog

from dagengine.errors import ConfigError
from dagengine.server import messages
from dagengine.server.config import ClusterConfig
from dagengine.server.listener import listen_at

_log = structlog.get_logger("dagengine.server.listener")


def open_local_socket(config: ClusterConfig, stack: ExitStack) -> tuple[socket.socket, Path] | None:
    """Listen at the unix socket of a cluster, until the stack is closed.

    A socket that the engine file does not mention must not prevent the start: a directory that is
    not writable, or a file system without sockets, is logged.

    Returns:
        The listener and its path; None without a socket.

    Raises:
        ConfigError: the configured path is in use, is not a socket, or cannot be created.
    """
    path = config.socket_path
    if path is None:
        return None
    try:
        return stack.enter_context(listen_at(path)), path
    except ConfigError as exc:
        if config.api.socket is not None:
            raise
        _log.warning("socket_not_opened", error=exc.message, remedy=messages.NAME_SOCKET_OR_NONE())
        return None

"""The passwords that a listener accepts, read when they are needed."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from dagengine.api.extension import ClusterView
from dagengine.errors import ConfigError
from dagengine.runtime.watched_file import PasswordFile, read_agent_password
from dagengine.security.errors import PasswordUnavailable
from dagengine.server.config import ApiConfig
from dagengine.server.listener import check_exposure

_log = structlog.get_logger("dagengine.server.controller")


def read_root_password(api: ApiConfig, cluster: ClusterView) -> str:
    """Return the current password of root@sys; log the details of an error instead of raising them.

    Raises:
        PasswordUnavailable: the password cannot be read, or without it the API would be open.
    """
    try:
        password = cluster.root_password()
        check_exposure(api, password)
    except ConfigError as exc:
        _log.error("password_unavailable", error=str(exc))
        raise PasswordUnavailable from exc
    return password


def open_agent_password(api: ApiConfig) -> Callable[[], str]:
    """Return a function that reads the agent password; empty if none is configured.

    It raises PasswordUnavailable if the password cannot be read or is empty.

    Raises:
        ConfigError: the password cannot be read now, or is empty.
    """
    path = api.agent_password_file
    file = None if path is None else PasswordFile(path, "api.agent_password_file")
    read_agent_password(file)

    def read() -> str:
        try:
            return read_agent_password(file)
        except ConfigError as exc:
            _log.error("password_unavailable", error=str(exc))
            raise PasswordUnavailable from exc

    return read

"""Logs: one JSON object a line on stderr, secrets masked before anything is rendered.

Event names are constant and in the past tense (`dag_submitted`); what varies is in fields.
Records of the standard library's loggers (aiohttp, asyncssh, asyncio) take the same way.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "***"

# Fields with these names never show their value; any field whose name contains one of
# _SECRET_PARTS does not either.
_SECRET_KEYS = frozenset(
    {
        "auth",
        "authorization",
        "keys",
        "session_id",
        "ssotoken",
        "x-ocs-agent-header",
        "x-ocs-header",
    }
)
_SECRET_PARTS = ("password", "passwd", "secret", "private_key")

# What these say below WARNING is about their own inner life; asyncssh's would name every command.
_QUIET_LOGGERS = ("aiohttp", "aiosqlite", "asyncio", "asyncssh")


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: replace the value of every secret field, nested ones too."""
    return {key: _masked(key, value) for key, value in event.items()}


def configure_logs(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send this process's logs to a stream as JSON lines.

    Args:
        stream: where to; None for stderr.
        level: of this project's events and the root logger.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_secrets,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def _masked(key: object, value: Any) -> Any:
    name = str(key).lower()
    if name in _SECRET_KEYS or any(part in name for part in _SECRET_PARTS):
        return MASK
    if isinstance(value, Mapping):
        return {inner: _masked(inner, item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", item) for item in value]
    return value

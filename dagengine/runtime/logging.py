"""Log output on stderr: JSON lines, or lines for people; secrets are masked before rendering.

Event names are constant and in the past tense (`dag_submitted`); variable data is in fields.
Records of the `logging` module (from aiohttp, asyncssh, asyncio) get the same format.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from dagengine.text import escape_controls, escape_json_controls

MASK = "***"

# The values of fields with these names are masked, as are those of fields whose name contains
# one of _SECRET_PARTS.
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

_TRACEBACKS = ("exception", "stack")  # the fields with several lines
_PLAIN = (str, int, float, type(None))

_ENCODER = json.JSONEncoder(ensure_ascii=False, default=repr)
_stamp_local = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)

# Below WARNING these loggers report only internal details; asyncssh would log every command.
_QUIET_LOGGERS = ("aiohttp", "aiosqlite", "asyncio", "asyncssh")


_ID_FIELDS = ("dag_id", "node_id", "sub_task_id")


@dataclass(slots=True)
class LogScope:
    """What the lines of one cluster have in common; may change while it is in use.

    Attributes:
        cluster: name of the cluster; empty to log none.
        id_prefix: what precedes the number of a row in the ids that users know; empty to log the
            number.
        ring: keeps the newest events of the cluster; None to keep none.
    """

    cluster: str = ""
    id_prefix: str = ""
    ring: LogRing | None = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Log in this scope within the context, and in the tasks that are created there."""
        token, ring_token = _scope.set(self), _log_ring.set(self.ring)
        try:
            yield
        finally:
            _log_ring.reset(ring_token)
            _scope.reset(token)


_scope: ContextVar[LogScope | None] = ContextVar("log_scope", default=None)


def _add_scope(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Name the cluster, and complete ids; a structlog processor."""
    scope = _scope.get()
    if scope is None:
        return event
    if scope.cluster:
        event.setdefault("cluster", scope.cluster)
    if scope.id_prefix:
        for name in _ID_FIELDS:
            if type(event.get(name)) is int:
                event[name] = f"{scope.id_prefix}{event[name]}"
    return event


_RING_SIZE = 5000  # events, about 500 bytes each


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event of the log, as it was written, with secrets masked.

    Attributes:
        level: name of the level in lower case.
        at: time as in the log.
        logger: name of the logger.
        name: name of the event.
        fields: all other fields.
    """

    level: str
    at: str
    logger: str
    name: str
    fields: Mapping[str, object]


class LogRing:
    """Keeps the newest events; the oldest is dropped for each further one.

    Args:
        size: the number of events to keep.
    """

    def __init__(self, size: int = _RING_SIZE) -> None:
        self._events: deque[LogEvent] = deque(maxlen=size)

    def add(self, event: Mapping[str, object]) -> None:
        """Keep an event; the values are those of a line of the log."""
        fields = dict(event)
        level, at, logger, name = (
            str(fields.pop(key, "")) for key in ("level", "timestamp", "logger", "event")
        )
        self._events.append(LogEvent(level, at, logger, name, fields))

    def newest_first(self) -> Iterator[LogEvent]:
        """Return the events, newest first."""
        return iter([*reversed(self._events)])


_log_ring: ContextVar[LogRing | None] = ContextVar("log_ring", default=None)


def open_log_ring(size: int = _RING_SIZE) -> LogRing:
    """Return a ring for the events of this context, and of the tasks created in it from now on."""
    ring = LogRing(size)
    _log_ring.set(ring)
    return ring


def _keep_event(event: Mapping[str, object]) -> None:
    """Add an event to the ring of the context, if it has one."""
    if (ring := _log_ring.get()) is not None:
        ring.add(event)


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace the value of every secret field, including nested ones; a structlog processor."""
    for key, value in event.items():
        # Almost every field is a plain value and not secret; only the others are replaced.
        if _is_secret(key) or not isinstance(value, _PLAIN):
            event[key] = _masked(key, value)
    return event


def render_line(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """Render an event of this project as one JSON line; its only structlog processor.

    It replaces six processors of the library. Every transition is logged, and six calls and a
    new encoder per line were a third of the cost of a log line.
    """
    event["level"] = method
    event["logger"] = logger.name
    return _render(logger, method, _stamp(logger, method, _add_scope(logger, method, event)))


def configure_logs(
    stream: TextIO | None = None, *, level: int = logging.INFO, is_text: bool = False
) -> None:
    """Send the logs of this process to a stream.

    Args:
        stream: the destination; None for stderr.
        level: level of this project's events and of the root logger.
        is_text: True for lines for people, with the local time; False for JSON lines.
    """
    target = stream or sys.stderr
    text_renderer = _TextRenderer(target) if is_text else None
    # Events of this project bypass the standard library, at a tenth of the cost.
    structlog.configure(
        processors=[text_renderer.render_line if text_renderer else render_line],
        logger_factory=lambda *names: _NamedLogger(target, *names),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                _add_scope,
                _stamp_local if text_renderer else _stamp,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                text_renderer.render if text_renderer else _render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


class _NamedLogger(structlog.WriteLogger):
    """Writes lines to a stream and has a name, which `render_line` adds to each line."""

    def __init__(self, stream: TextIO, name: str = "") -> None:
        super().__init__(stream)
        self.name = name


class _TextRenderer:
    """Renders events as lines for people, in colours on a terminal that has them."""

    def __init__(self, target: TextIO) -> None:
        has_colours = target.isatty() and not os.environ.get("NO_COLOR")
        self._renderer = structlog.dev.ConsoleRenderer(
            colors=has_colours and os.environ.get("TERM") != "dumb",
            exception_formatter=structlog.dev.plain_traceback,
        )

    def render_line(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        """Render an event of this project; its only structlog processor."""
        event["level"] = method
        event["logger"] = logger.name
        event = _add_scope(logger, method, event)
        return self.render(logger, method, _stamp_local(logger, method, event))

    def render(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        """Render an event that has its level, its logger and its time."""
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, method, event)
        event = mask_secrets(logger, method, event)
        _keep_event(event)
        for name, value in event.items():
            if isinstance(value, str):
                lines = value.split("\n") if name in _TRACEBACKS else [value]
                event[name] = "\n".join(map(escape_controls, lines))
        return str(self._renderer(logger, method, event))


def _render(logger: WrappedLogger, method: str, event: EventDict) -> str:
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    event = mask_secrets(logger, method, event)
    _keep_event(event)
    return escape_json_controls(_ENCODER.encode(event))


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    name = name.lower()
    return name in _SECRET_KEYS or any(part in name for part in _SECRET_PARTS)


def _masked(key: object, value: Any) -> Any:
    if _is_secret(str(key)):
        return MASK
    if isinstance(value, Mapping):
        return {inner: _masked(inner, item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", item) for item in value]
    return value

"""The page of the controller's log: the newest events of this cluster."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dagengine.runtime.logging import LogEvent, LogRing
from dagengine.web import messages
from dagengine.web.page import PageCall, View
from dagengine.web.texts import Texts
from dagengine.web.views.badges import Badge
from dagengine.web.views.tasks import Choice, mark_choice

_SHOWN = 300
_LEVELS = ("debug", "info", "warning", "error")
_KINDS: Mapping[str, tuple[str, str]] = {
    "debug": ("neutral", "·"),
    "info": ("neutral", "i"),
    "warning": ("waiting", "!"),
    "error": ("bad", "✗"),
}
_OTHER_NAMES = {"critical": "error", "exception": "error", "warn": "warning"}


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of the log."""

    at: str
    badge: Badge
    logger: str
    name: str
    fields: str


@dataclass(frozen=True, slots=True)
class LogModel:
    """The view model of the page.

    Attributes:
        levels: the choices of the filter by level.
        dag_id: value of the filter by DAG.
        rows: the events, newest first.
        empty: sentence in place of rows; empty if there are rows.
    """

    levels: tuple[Choice, ...]
    dag_id: str
    rows: tuple[EventRow, ...]
    empty: str


@dataclass(frozen=True, slots=True)
class LogPage:
    """Shows the events of one ring.

    Attributes:
        ring: the events of one cluster.
    """

    ring: LogRing

    async def show(self, call: PageCall) -> View:
        """Show the newest events."""
        level, dag_id = call.query.get("level", ""), call.query.get("dag", "").strip()
        return View("log.html", view_log(self.ring.newest_first(), level, dag_id, call.texts))


def view_log(events: Iterable[LogEvent], level: str, dag_id: str, texts: Texts) -> LogModel:
    """Return the view model of the log.

    Args:
        events: the events, newest first.
        level: the lowest level to show; any other text shows `info` and above.
        dag_id: a DAG whose events are shown; empty for all events.
        texts: the language.
    """
    lowest = _LEVELS.index(level) if level in _LEVELS else _LEVELS.index("info")
    rows = []
    for event in events:
        name = _OTHER_NAMES.get(event.level, event.level)
        rank = _LEVELS.index(name) if name in _LEVELS else len(_LEVELS)
        if rank >= lowest and (not dag_id or _concerns(event, dag_id)):
            rows.append(_view_event(event, name))
        if len(rows) == _SHOWN:
            break
    words = (messages.DEBUG, messages.INFO, messages.WARNINGS, messages.ERRORS)
    options = [(value, texts(word())) for value, word in zip(_LEVELS, words, strict=True)]
    return LogModel(
        mark_choice(options, _LEVELS[lowest]),
        dag_id,
        tuple(rows),
        "" if rows else texts(messages.NO_EVENTS()),
    )


def _concerns(event: LogEvent, dag_id: str) -> bool:
    return any(str(value) == dag_id for value in event.fields.values())


def _view_event(event: LogEvent, level: str) -> EventRow:
    kind, symbol = _KINDS.get(level, _KINDS["error"])
    fields = " ".join(f"{name}={_render(value)}" for name, value in event.fields.items())
    return EventRow(event.at, Badge(kind, symbol, level), event.logger, event.name, fields)


def _render(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)

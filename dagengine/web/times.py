"""Instants and durations as people read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dagengine.web import messages
from dagengine.web.texts import Texts

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


@dataclass(frozen=True, slots=True)
class Instant:
    """An instant on a page.

    Attributes:
        text: relative to the time of the page, such as `3 min ago`.
        exact: date and time with the offset of the controller's time zone.
        iso: for the attribute `datetime`.
    """

    text: str
    exact: str
    iso: str


def render_duration(duration: timedelta, texts: Texts) -> str:
    """Return a duration with its two largest units, such as `2 min 5 s` or `40 ms`."""
    seconds = max(0.0, duration.total_seconds())
    if seconds < 1:
        return texts(messages.MILLISECONDS(count=int(seconds * 1000)))
    if seconds < 10:
        return texts(messages.SECONDS(count=f"{seconds:.1f}"))
    whole = int(seconds)
    if whole < _MINUTE_S:
        return texts(messages.SECONDS(count=whole))
    if whole < _HOUR_S:
        return texts(messages.MINUTES(minutes=whole // _MINUTE_S, seconds=whole % _MINUTE_S))
    if whole < _DAY_S:
        return texts(messages.HOURS(hours=whole // _HOUR_S, minutes=whole % _HOUR_S // _MINUTE_S))
    return texts(messages.DAYS(days=whole // _DAY_S, hours=whole % _DAY_S // _HOUR_S))


def render_age(age: timedelta, texts: Texts) -> str:
    """Return the age of something with its largest unit, such as `3 min ago`."""
    seconds = max(0, int(age.total_seconds()))
    if seconds < _MINUTE_S:
        return texts(messages.SECONDS_AGO(count=seconds))
    if seconds < _HOUR_S:
        return texts(messages.MINUTES_AGO(count=seconds // _MINUTE_S))
    if seconds < _DAY_S:
        return texts(messages.HOURS_AGO(count=seconds // _HOUR_S))
    return texts(messages.DAYS_AGO(count=seconds // _DAY_S))


def make_instant(at: datetime, now: datetime, texts: Texts) -> Instant:
    """Return a past instant for a page."""
    local = at.astimezone()
    return Instant(render_age(now - at, texts), _exact(local), local.isoformat())


def render_exact(at: datetime) -> str:
    """Return date and time in the controller's time zone, with its offset."""
    return _exact(at.astimezone())


def _exact(local: datetime) -> str:
    return f"{local:%Y-%m-%d %H:%M:%S} {local:%z}"

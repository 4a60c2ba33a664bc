"""The page of the locks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dagengine.model.records import LockRecord
from dagengine.web import messages
from dagengine.web.page import PageCall, View
from dagengine.web.texts import Texts
from dagengine.web.times import Instant, make_instant, render_duration
from dagengine.web.views.badges import Badge


@dataclass(frozen=True, slots=True)
class HolderLink:
    """The DAG that holds a lock."""

    name: str
    href: str
    duration: str
    about: str


@dataclass(frozen=True, slots=True)
class LockRow:
    """One lock; `holder` is a list of at most one."""

    key: str
    badge: Badge
    holder: tuple[HolderLink, ...]
    since: Instant
    token: int


@dataclass(frozen=True, slots=True)
class LocksModel:
    """The view model of the page."""

    rows: tuple[LockRow, ...]
    empty: str


@dataclass(frozen=True, slots=True)
class ListedLock:
    """A lock with the id of its holder and a sentence about it; both empty if it is free."""

    lock: LockRecord
    dag_id: str
    about: str


async def show_locks(call: PageCall) -> View:
    """Show every lock that was ever taken."""
    engine = call.engine
    listed = [
        ListedLock(lock, engine.generic_id(lock.dag_id), await engine.describe_holder(lock))
        if lock.dag_id is not None
        else ListedLock(lock, "", "")
        for lock in engine.list_locks()
    ]
    return View("locks.html", view_locks(listed, call.now, call.texts))


def view_locks(listed: Sequence[ListedLock], now: datetime, texts: Texts) -> LocksModel:
    """Return the view model of the locks."""
    rows = tuple(_view_lock(item, now, texts) for item in listed)
    return LocksModel(rows, "" if rows else texts(messages.NO_LOCKS()))


def _view_lock(item: ListedLock, now: datetime, texts: Texts) -> LockRow:
    lock = item.lock
    badge = Badge("neutral", "○", texts(messages.FREE()))
    holder: tuple[HolderLink, ...] = ()
    if item.dag_id:
        badge = Badge("busy", "●", texts(messages.HELD()))
        duration = render_duration(now - lock.since_at, texts)
        href = f"/ui/task/{item.dag_id}"
        holder = (HolderLink(texts(lock.reason), href, duration, texts(item.about)),)
    since = make_instant(lock.since_at, now, texts)
    return LockRow(lock.key, badge, holder, since, lock.token)

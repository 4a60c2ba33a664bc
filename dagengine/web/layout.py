"""The frame of every page: header, menu, and the data for live updates. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dagengine.api.extension import ClusterView
from dagengine.model.records import AuditRecord, LockRecord
from dagengine.model.states import State
from dagengine.web import messages
from dagengine.web.login import LOGIN_PATH, Visit
from dagengine.web.page import Page, ServerCount
from dagengine.web.texts import Texts, render_language
from dagengine.web.times import render_age, render_duration

UI_ROOT = "/ui"


@dataclass(frozen=True, slots=True)
class Indicator:
    """A figure in the header.

    Attributes:
        text: the figure in words.
        kind: name of its class in the style sheet: `good`, `bad`, `busy` or `neutral`.
        href: the page with more about it.
    """

    text: str
    kind: str
    href: str


@dataclass(frozen=True, slots=True)
class MenuItem:
    """A link in the menu.

    Attributes:
        text: name of the page.
        href: its path.
        current: value of `aria-current`: `page`, or `false`.
    """

    text: str
    href: str
    current: str


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that a DAG holds.

    Attributes:
        lock: the lock.
        href: the page of the DAG.
        about: one sentence about the holder, with what it waits for.
        audit: the audit row of the DAG's start, as a list of at most one.
    """

    lock: LockRecord
    href: str
    about: str
    audit: Sequence[AuditRecord]


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the cluster, for the header.

    Attributes:
        cluster: view of the managed cluster.
        servers: how many servers are up; None if it is not known.
        locks: the locks that are held.
        counts: the number of DAGs by state.
        now: the instant of the page.
    """

    cluster: ClusterView
    servers: ServerCount | None
    locks: Sequence[HeldLock]
    counts: Mapping[State, int]
    now: datetime


@dataclass(frozen=True, slots=True)
class Frame:
    """The view model of the frame.

    Attributes:
        language: value of the attribute `lang`.
        title: title of the page.
        cluster: name of the cluster.
        clusters: all clusters of the controller with links to their pages, if there are several.
        indicators: the figures in the header.
        lock_about: what the holder of the lock waits for; empty if the lock is free.
        menu: the links to other pages.
        notices: what users should know now.
        problem: why the last action was refused; empty after a success.
        csrf: the token of forms.
        headers: JSON object of the headers that htmx sends.
        caller: who is logged in.
        can_change: whether the caller may change anything.
        is_read_only: the opposite, for the hint in the header.
        login_path: the log-in page for a visitor without a session; empty for others.
        dags: the DAGs on display, as `id:number id:number`.
        url: path and query of the page.
        is_active: `true` if the page is refreshed without events, too; else `false`.
        assets: paths of the static files by their names.
    """

    language: str
    title: str
    cluster: str
    clusters: tuple[MenuItem, ...]
    indicators: tuple[Indicator, ...]
    lock_about: str
    menu: tuple[MenuItem, ...]
    notices: tuple[str, ...]
    problem: str
    csrf: str
    headers: str
    caller: str
    can_change: bool
    is_read_only: bool
    login_path: str
    dags: str
    url: str
    is_active: str
    assets: Mapping[str, str]


def view_header(status: Status, texts: Texts) -> tuple[Indicator, ...]:
    """Return the figures in the header: servers, lock, running and failed DAGs."""
    running = status.counts.get(State.RUNNING, 0) + status.counts.get(State.READY, 0)
    failed = status.counts.get(State.FAILED, 0)
    return (
        _view_servers(status, texts),
        _view_lock(status, texts),
        Indicator(
            texts(messages.RUNNING_COUNT(count=running)),
            "busy" if running else "neutral",
            f"{UI_ROOT}/tasks?state=RUNNING",
        ),
        Indicator(
            texts(messages.FAILED_COUNT(count=failed)),
            "bad" if failed else "neutral",
            f"{UI_ROOT}/tasks?state=FAILED",
        ),
    )


def _view_servers(status: Status, texts: Texts) -> Indicator:
    servers = status.servers
    if servers is None:
        total = len(status.cluster.servers)
        return Indicator(texts(messages.SERVERS_TOTAL(total=total)), "neutral", f"{UI_ROOT}/")
    if servers.seen_at is None:
        text = texts(messages.SERVERS_UNSEEN(total=servers.total))
        return Indicator(text, "neutral", f"{UI_ROOT}/")
    age = render_age(status.now - servers.seen_at, texts)
    text = texts(messages.SERVERS_UP(up=servers.up, total=servers.total, age=age))
    kind = "good" if servers.up == servers.total else "bad"
    return Indicator(text, kind, f"{UI_ROOT}/")


def _view_lock(status: Status, texts: Texts) -> Indicator:
    if not status.locks:
        return Indicator(texts(messages.LOCK_FREE()), "neutral", f"{UI_ROOT}/locks")
    held = status.locks[0]
    duration = render_duration(status.now - held.lock.since_at, texts)
    text = texts(messages.LOCK_HELD(name=texts(held.lock.reason), duration=duration))
    return Indicator(text, "busy", held.href)


def _describe_lock(status: Status, texts: Texts) -> str:
    """Return who holds the lock and what the holder waits for; empty if the lock is free."""
    if not status.locks:
        return ""
    held = status.locks[0]
    caller = held.audit[0].by if held.audit else texts(messages.REASON_UNKNOWN())
    return texts(messages.LOCK_ABOUT(about=texts(held.about), caller=caller))


def view_clusters(urls: Mapping[str, str], current: str) -> tuple[MenuItem, ...]:
    """Return the links to the pages of all clusters; nothing for a single cluster.

    Args:
        urls: the URL of each cluster's listener, by name.
        current: name of the cluster on display.
    """
    if len(urls) < 2:
        return ()
    return tuple(
        MenuItem(name, f"{url}{UI_ROOT}/", "page" if name == current else "false")
        for name, url in sorted(urls.items())
    )


def view_menu(pages: Sequence[Page], current: str, texts: Texts) -> tuple[MenuItem, ...]:
    """Return the menu; `current` is the path of the page on display, below `/ui`."""
    return tuple(
        MenuItem(
            texts(page.title()), UI_ROOT + page.path, "page" if page.path == current else "false"
        )
        for page in pages
        if page.is_in_menu
    )


def view_frame(
    *,
    title: str,
    status: Status,
    menu: tuple[MenuItem, ...],
    clusters: tuple[MenuItem, ...],
    visit: Visit,
    can_change: bool,
    problem: str,
    dags: Mapping[str, int],
    url: str,
    is_active: bool,
    assets: Mapping[str, str],
    texts: Texts,
) -> Frame:
    """Return the frame of a page."""
    notices = [texts(notice) for notice in status.cluster.find_notices()]
    if not visit.csrf:  # a visitor without a session
        notices.append(texts(messages.ROOT_WITHOUT_PASSWORD()))
    return Frame(
        language=render_language(texts.language),
        title=title,
        cluster=status.cluster.name,
        clusters=clusters,
        indicators=view_header(status, texts),
        lock_about=_describe_lock(status, texts),
        menu=menu,
        notices=tuple(notices),
        problem=problem,
        csrf=visit.csrf,
        headers=json.dumps({"X-CSRF-Token": visit.csrf}),
        caller=str(visit.caller),
        can_change=can_change,
        is_read_only=not can_change,
        login_path="" if visit.csrf else LOGIN_PATH,
        dags=" ".join(f"{dag_id}:{number}" for dag_id, number in dags.items()),
        url=url,
        is_active="true" if is_active else "false",
        assets=assets,
    )

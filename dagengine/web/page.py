"""The interface of an extension to the pages: a page, the request for it, and its result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import ModuleType
from typing import TypeAlias

from multidict import MultiDict, MultiMapping

from dagengine.api.caller import Caller, CallerKind, Right
from dagengine.engine.engine import Engine
from dagengine.messages import Message
from dagengine.web.texts import Texts


@dataclass(frozen=True, slots=True)
class ServerCount:
    """How many servers of the cluster are up, for the header of every page.

    Attributes:
        up: the number of servers that are up.
        total: the number of servers in the cluster file.
        seen_at: the time of the oldest observation behind `up`; None before the first one.
    """

    up: int
    total: int
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class PageCall:
    """An authenticated request for a page, or for one of its actions.

    Attributes:
        engine: the running engine.
        caller: the caller; its text is stored in the audit.
        texts: renders messages in the language of the request.
        now: the instant of the request.
        path: the values of the path's parameters.
        query: the parameters of the URL.
        form: the fields of the form; empty for GET.
        origin: scheme, host and port by which the browser reaches the controller.
        url: path and query of the page, by which it is refreshed.
        before_retry: called before an ended DAG continues, so that corrections made in the
            meantime take effect.
    """

    engine: Engine
    caller: Caller
    texts: Texts
    now: datetime
    path: Mapping[str, str] = field(default_factory=dict)
    query: MultiMapping[str] = field(default_factory=MultiDict)
    form: MultiMapping[str] = field(default_factory=MultiDict)
    origin: str = ""
    url: str = ""
    before_retry: Callable[[], None] = lambda: None

    @property
    def can_change(self) -> bool:
        """Return whether the caller may change anything."""
        return Right.CHANGE in self.caller.rights

    @property
    def has_session(self) -> bool:
        """Return whether the caller has logged in; others cannot send forms."""
        return self.caller.kind is not CallerKind.ANYONE


@dataclass(frozen=True, slots=True)
class View:
    """A page to render.

    Attributes:
        template: name of the template; with the name of the package and a slash, such as
            `tasks.web/servers.html`, that of an extension.
        model: the view model, which the template reads as `model`.
        status: HTTP status.
        title: title of the page, where it differs from `Page.title`.
        dags: generic ids of the DAGs on display, with the numbers of their last events. The
            browser receives their further events.
        is_active: the page shows durations that grow, so that it is refreshed without events, too.
    """

    template: str
    model: object
    status: int = 200
    title: str = ""
    dags: Mapping[str, int] = field(default_factory=dict)
    is_active: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """The result of an action: the browser opens another page with GET.

    Attributes:
        path: path below `/ui`, with the query.
    """

    path: str


@dataclass(frozen=True, slots=True)
class Download:
    """A file that the browser stores.

    Attributes:
        content: the content of the file.
        name: the proposed name, in ASCII.
        content_type: media type, with the character set.
        is_shown: the browser shows the file instead of storing it.
    """

    content: bytes
    name: str
    content_type: str
    is_shown: bool = False


PageResult: TypeAlias = View | Redirect | Download
PageView: TypeAlias = Callable[[PageCall], Awaitable[PageResult]]
"""Returns the result of a page; raises subclasses of DagengineError for error pages."""


@dataclass(frozen=True, slots=True)
class PageAction:
    """An action that a form of a page offers.

    Attributes:
        run: carries the action out. If it raises an error, the page is shown with the error.
        right: the right that the caller needs.
    """

    run: PageView
    right: Right = Right.CHANGE


@dataclass(frozen=True, slots=True)
class Page:
    """A page below `/ui`; it always needs a login.

    Attributes:
        path: path below `/ui`, such as `/servers`; `{name}` is a parameter. The page `/` is the
            start page.
        title: title of the page, and its name in the menu.
        view: returns the result for a GET request; it changes nothing.
        catalogue: the module with the messages that its template reads as `t`.
        actions: by name. A form that is sent with POST names one in its field `action`.
        is_in_menu: whether the menu has a link to the page.
        templates: the package with the directory `templates`; empty for `dagengine.web`.
    """

    path: str
    title: Message
    view: PageView
    catalogue: ModuleType
    actions: Mapping[str, PageAction] = field(default_factory=dict)
    is_in_menu: bool = True
    templates: str = ""

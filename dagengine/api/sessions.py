"""Sessions of browsers: log-in, log-out, cookies, and the protection of forms (CSRF).

Contains no HTML. Pages of `dagengine.web` use it as follows; all errors are DagengineErrors:

- `Authenticator.authenticate(request)` (with `Sessions` among its schemes) returns the caller of
  any request under /ui/. For every method except GET and HEAD it has then checked origin and form
  token, too. The page still calls `caller.ensure_right`. It raises LoginRequired if a log-in is
  needed. `request[PAGE_SESSION].csrf` is the token for the forms of the page.
- The log-in page shows `Sessions.open_login(request)`; its form is handled by `Sessions.log_in`.
- A stream calls `Sessions.recheck(request)` from time to time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl

import structlog
from aiohttp import web

from dagengine.api.auth import (
    UI_ROOT,
    address_of,
    is_confidential,
    is_loopback,
    is_page,
    read_body,
)
from dagengine.api.caller import RIGHTS_OF, Caller, CallerKind, Right, anyone_at
from dagengine.api.connections import peer_at
from dagengine.api.login.entries import Entries
from dagengine.model.credentials import SessionEntry, SessionRecord
from dagengine.runtime.clock import Clock
from dagengine.security.page_errors import (
    FormNotOwn,
    LoginRequired,
    PagesNeedTls,
    RootPasswordUnset,
)
from dagengine.security.session_rules import (
    ID_BYTES,
    LAST_USE_STEP,
    MAX_AGE,
    MAX_IDLE,
    CookieNames,
    cookie_names,
    csrf_token,
    digest_id,
    has_ended,
    is_csrf_token,
    is_own_form,
    last_use,
    render_id,
)
from dagengine.store.contract import CredentialStore

_log = structlog.get_logger("dagengine.api")

CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"
ENTRY_FIELD = "entry"
SECRET_FIELD = "secret"  # noqa: S105  # the name of a field

_MAX_FIELDS = 5000  # the form of a plan has one per server
_WITHOUT_FORM = ("GET", "HEAD")
_MAX_AGE_S = int(MAX_AGE.total_seconds())


class PageSession(NamedTuple):
    """The session of an authenticated request for a page.

    Attributes:
        csrf: the token that each form contains in the field `csrf`, or each request in the header
            `X-CSRF-Token`; empty for a visitor without a session, who cannot send forms.
        record: the session; None for a visitor without one, while root@sys has no password.
    """

    csrf: str
    record: SessionRecord | None


PAGE_SESSION = web.RequestKey("page_session", PageSession)
"""The session of a request for a page; set by `Sessions.authenticate`."""


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie to set.

    Attributes:
        name: name of the cookie.
        value: an id; empty to delete the cookie.
        max_age_s: how long the browser keeps it, in seconds; 0 to delete it.
        is_secure: the cookie is sent over TLS only.
    """

    name: str
    value: str
    max_age_s: int
    is_secure: bool

    def put(self, response: web.StreamResponse) -> None:
        """Add the cookie to a response."""
        response.set_cookie(
            self.name,
            self.value,
            max_age=self.max_age_s,
            path="/" if self.is_secure else UI_ROOT,  # the prefix `__Host-` requires `/`
            secure=self.is_secure,
            httponly=True,
            samesite="Lax",  # permanent links open logged in
        )


@dataclass(frozen=True, slots=True)
class LoginForm:
    """What a log-in page offers.

    Attributes:
        csrf: the value of the hidden field `csrf`.
        cookie: the cookie to set with the page; None if the browser has it.
        entries: the values of the field `entry` that the caller may choose. For passwords and
            tokens, the field `secret` has the password or token.
        local_name: the caller at the unix socket, such as `uid 0 (pid 123)`; empty elsewhere.
        certificate_name: the subject of the client's certificate; empty without one.
        has_root_password: False while root@sys has no password.
    """

    csrf: str
    cookie: Cookie | None
    entries: tuple[SessionEntry, ...]
    local_name: str
    certificate_name: str
    has_root_password: bool


@dataclass(frozen=True, slots=True)
class Sessions:
    """The scheme for requests for pages, and log-in and log-out.

    Attributes:
        store: the store with the sessions.
        entries: checks the credentials of log-in forms.
        clock: source of time.
        make_random: returns a number of random bytes.
        body_timeout_s: time limit for receiving a form, in seconds.
    """

    store: CredentialStore
    entries: Entries
    clock: Clock
    make_random: Callable[[int], bytes]
    body_timeout_s: float

    # --- requests for pages ------------------------------------------------------------------

    def applies_to(self, request: web.Request) -> bool:
        return is_page(request)

    async def authenticate(self, request: web.Request) -> tuple[Caller, bytes]:
        """Return the caller and the body, see AuthScheme; sets `request[PAGE_SESSION]`.

        Raises:
            PagesNeedTls: the request came over plain HTTP from another machine.
            RootPasswordUnset: it came from another machine, and root@sys has no password.
            LoginRequired: it has no valid session.
            FormNotOwn: a form has another origin, or not the token of the session.
            BodyNotRead, HTTPRequestEntityTooLarge: see `read_body`.
        """
        _ensure_confidential(request)
        body = await read_body(request, timeout_s=self.body_timeout_s)
        session_id = request.cookies.get(_names(request).session, "")
        record = await self._find(request, session_id)
        if record is None:
            return self._admit_visitor(request, has_ended=bool(session_id)), body
        if request.method not in _WITHOUT_FORM:
            _ensure_own_form(request, body, session_id)
        now = self.clock.now()
        if now - record.last_seen_at >= LAST_USE_STEP:
            await self.store.touch_session(record.digest, last_use(now))
        request[PAGE_SESSION] = PageSession(csrf_token(session_id), record)
        caller = Caller(
            *(CallerKind.SESSION, record.name, RIGHTS_OF[record.access], address_of(request)),
            clusters=await self.entries.read_clusters(record),
        )
        return caller, body

    async def recheck(self, request: web.Request) -> None:
        """Raise LoginRequired if the session of an earlier request has ended since.

        Raises:
            RootPasswordUnset: it had none, and root@sys no longer admits visitors.
        """
        session_id = request.cookies.get(_names(request).session, "")
        if await self._find(request, session_id) is None:
            self._admit_visitor(request, has_ended=bool(session_id))

    # --- log-in and log-out ------------------------------------------------------------------

    def open_login(self, request: web.Request) -> LoginForm:
        """Return what the log-in page shows to this caller.

        Raises:
            PagesNeedTls: the request came over plain HTTP from another machine.
        """
        _ensure_confidential(request)
        name = _names(request).before_login
        before, cookie = request.cookies.get(name, ""), None
        if digest_id(before) is None:
            before = render_id(self.make_random(ID_BYTES))
            cookie = Cookie(name, before, _MAX_AGE_S, is_secure=request.secure)
        peer, certificate = peer_at(request), self.entries.find_certificate(request)
        return LoginForm(
            csrf=csrf_token(before),
            cookie=cookie,
            entries=self.entries.list_offered(request),
            local_name="" if peer is None else str(peer),
            certificate_name="" if certificate is None else certificate.name,
            has_root_password=not self.entries.admits_visitors(),
        )

    async def log_in(self, request: web.Request) -> Cookie:
        """Begin a session with the fields `entry`, `secret` and `csrf` of the log-in form.

        Returns:
            The cookie of the new session. An earlier session of the browser has ended.

        Raises:
            PagesNeedTls: the request came over plain HTTP from another machine.
            FormNotOwn: the form has another origin, or not the token of the log-in page.
            EntryNotOffered, CredentialsMissing, TooManyFailures, SecurityError: see
                `Entries.check`.
        """
        _ensure_confidential(request)
        names = _names(request)
        body = await read_body(request, timeout_s=self.body_timeout_s)
        _ensure_own_form(request, body, request.cookies.get(names.before_login, ""))
        form = _parse_form(body)
        kind, secret = form.get(ENTRY_FIELD, ""), form.get(SECRET_FIELD, "")
        entry = await self.entries.check(request, kind, secret)
        now, session_id = self.clock.now(), render_id(self.make_random(ID_BYTES))
        digest = digest_id(session_id)
        assert digest is not None
        record = SessionRecord(
            digest=digest,
            entry=entry.kind,
            name=entry.name,
            access=entry.access,
            fingerprint=entry.fingerprint,
            token=entry.token,
            created_at=now,
            last_seen_at=last_use(now),
        )
        await self._replace(digest_id(request.cookies.get(names.session, "")), record)
        _log.info("session_began", caller=record.name, address=address_of(request))
        return Cookie(names.session, session_id, _MAX_AGE_S, is_secure=request.secure)

    async def log_out(self, request: web.Request) -> Cookie:
        """End the session of a request that `authenticate` has accepted.

        Returns:
            The cookie that deletes the session's cookie.
        """
        record = request[PAGE_SESSION].record
        if record is not None:
            await self.store.delete_session(record.digest)
            _log.info("session_ended", caller=record.name, address=address_of(request))
        return Cookie(_names(request).session, "", 0, is_secure=request.secure)

    # --- internals ---------------------------------------------------------------------------

    def _admit_visitor(self, request: web.Request, *, has_ended: bool) -> Caller:
        """Admit a reader without a session while root@sys has no password; else raise."""
        if peer_at(request) is not None or not self.entries.admits_visitors():
            raise LoginRequired(has_ended=has_ended)
        if not is_loopback(request):
            raise RootPasswordUnset
        if request.method not in _WITHOUT_FORM:
            raise LoginRequired(has_ended=has_ended)
        request[PAGE_SESSION] = PageSession("", None)
        visitor = anyone_at(address_of(request))
        return Caller(visitor.kind, visitor.name, frozenset({Right.READ}), visitor.address)

    async def _find(self, request: web.Request, session_id: str) -> SessionRecord | None:
        """Return the session with this id; None if it has ended."""
        digest = digest_id(session_id)
        record = None if digest is None else await self.store.find_session(digest)
        if record is None:
            return None
        if has_ended(record, self.clock.now()) or not await self.entries.is_valid(request, record):
            return None
        return record

    async def _replace(self, earlier: bytes | None, record: SessionRecord) -> None:
        """Store a new session; delete the browser's earlier one, and all that are too old."""
        now = self.clock.now()
        await self.store.delete_old_sessions(
            created_before=now - MAX_AGE, seen_before=now - MAX_IDLE
        )
        if earlier is not None:
            await self.store.delete_session(earlier)
        if not await self.store.add_session(record):
            raise LoginRequired(has_ended=True)  # the token was revoked just now


def _ensure_confidential(request: web.Request) -> None:
    if not is_confidential(request):
        raise PagesNeedTls


def _ensure_own_form(request: web.Request, body: bytes, session_id: str) -> None:
    """Raise FormNotOwn unless origin and token show that an own page sent the form."""
    headers = request.headers
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    if not is_own_form(headers.get("Host", ""), origin, site):
        raise FormNotOwn
    token = headers.get(CSRF_HEADER) or _parse_form(body).get(CSRF_FIELD, "")
    if digest_id(session_id) is None or not is_csrf_token(token, session_id):
        raise FormNotOwn


def _parse_form(body: bytes) -> Mapping[str, str]:
    """Return the fields of a form; the first value of each, nothing for another kind of body."""
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        return {}
    return dict(reversed(pairs))


def _names(request: web.Request) -> CookieNames:
    return cookie_names(request.headers.get("Host", ""), is_secure=request.secure)

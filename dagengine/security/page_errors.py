"""Errors of requests for pages: log-in, forms, and where pages are served."""

from __future__ import annotations

from dagengine.error_codes import Code
from dagengine.errors import ApiError, SecurityError
from dagengine.security import messages


class LoginRequired(SecurityError):
    """Raised when a page needs a session, and the request has none that is valid.

    Attributes:
        has_ended: True if the request has a session that is no longer valid.
    """

    def __init__(self, *, has_ended: bool) -> None:
        self.has_ended = has_ended
        text = messages.SESSION_ENDED() if has_ended else messages.LOGIN_REQUIRED()
        super().__init__(text, remedy=messages.LOG_IN())


class FormNotOwn(ApiError):
    """Raised when a form has another origin, or not the token of the session (CSRF)."""

    err_code = Code.HEADER_ORIGIN_NOT_ALLOWED
    http_status = 403

    def __init__(self) -> None:
        super().__init__(messages.FORM_NOT_OWN(), remedy=messages.RELOAD_PAGE())


class PagesNeedTls(ApiError):
    """Raised when another machine requests a page over plain HTTP."""

    err_code = Code.PERMISSION_DENIED
    http_status = 403

    def __init__(self) -> None:
        super().__init__(messages.PAGES_NEED_TLS(), remedy=messages.SET_UP_TLS())


class RootPasswordUnset(ApiError):
    """Raised when another machine requests a page while root@sys has no password."""

    err_code = Code.PERMISSION_DENIED
    http_status = 403

    def __init__(self) -> None:
        super().__init__(messages.ROOT_PASSWORD_UNSET(), remedy=messages.SET_ROOT_PASSWORD())


class CredentialsMissing(ApiError):
    """Raised when a log-in form is empty."""

    err_code = Code.ILLEGAL_ARGUMENT
    http_status = 400

    def __init__(self) -> None:
        super().__init__(messages.CREDENTIALS_MISSING(), remedy=messages.FILL_IN())


class EntryNotOffered(ApiError):
    """Raised when a log-in form names credentials that this listener or caller cannot use."""

    err_code = Code.ILLEGAL_ARGUMENT
    http_status = 400

    def __init__(self, entry: str) -> None:
        super().__init__(
            messages.ENTRY_NOT_OFFERED(entry=entry[:32]), remedy=messages.USE_OFFERED_ENTRY()
        )

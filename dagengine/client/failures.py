"""Why a call did not reach a controller, in words for users instead of a library's text."""

from __future__ import annotations

import errno
import ssl
from urllib.parse import urlsplit

import aiohttp

from dagengine.client import messages
from dagengine.errors import MessageText

_BY_ERRNO = {
    errno.ECONNREFUSED: messages.NOTHING_LISTENS,
    errno.ENOENT: messages.SOCKET_MISSING,
    errno.EACCES: messages.SOCKET_DENIED,
    errno.EPERM: messages.SOCKET_DENIED,
    errno.EHOSTUNREACH: messages.HOST_UNREACHABLE,
    errno.ENETUNREACH: messages.HOST_UNREACHABLE,
    errno.ETIMEDOUT: messages.TIMED_OUT,
    errno.ECONNRESET: messages.CONNECTION_CLOSED,
    errno.EPIPE: messages.CONNECTION_CLOSED,
}


def explain_failure(exc: Exception) -> tuple[str, str]:
    """Return why a call failed, and what to do; a library's text only if the kind is unknown."""
    match exc:
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            cause = getattr(exc, "certificate_error", exc)
            detail = getattr(cause, "verify_message", "") or messages.CERTIFICATE_INVALID()
            return messages.CERTIFICATE_NOT_TRUSTED(detail=detail), messages.NAME_CA_FILE()
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return messages.NOT_TLS(), messages.CHECK_SCHEME()
        case aiohttp.InvalidURL():
            if _has_valid_port(str(exc.url)):
                return messages.URL_MALFORMED(), messages.WRITE_URL()
            return messages.PORT_INVALID(), messages.WRITE_PORT()
        case aiohttp.ClientResponseError():
            return messages.NOT_HTTP(), messages.CHECK_SCHEME()
    return _explain_connection(exc), messages.CHECK_SERVE_AND_URL()


def _has_valid_port(url: str) -> bool:
    try:
        _ = urlsplit(url).port
    except ValueError as exc:
        return "port" not in str(exc).lower()
    return True


def _explain_connection(exc: Exception) -> str:
    match exc:
        case aiohttp.ClientConnectorDNSError():
            return messages.HOST_NAME_UNKNOWN()
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            return messages.CONNECTION_CLOSED()
        case TimeoutError():
            return messages.TIMED_OUT()
        case OSError():
            message = _BY_ERRNO.get(_find_errno(exc) or 0)
            return message() if message else exc.strerror or type(exc).__name__
    text = exc.args[0] if exc.args else None
    return text if isinstance(text, MessageText) else messages.RESPONSE_NOT_JSON()


def _find_errno(exc: OSError) -> int | None:
    """Return the number of a connection's error; asyncio's text of several addresses has none."""
    cause = getattr(exc, "os_error", exc)
    number = cause.errno if isinstance(cause, OSError) else None
    if number is None and "Connect call failed" in str(cause):
        return errno.ECONNREFUSED
    return number

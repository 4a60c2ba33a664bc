"""Errors of authentication (protocol 2.5 and 2.6) and of the decryption of bodies."""

from __future__ import annotations

import math
from collections.abc import Mapping

from dagengine.error_codes import Code
from dagengine.errors import ApiError, DagengineError, SecurityError
from dagengine.security import messages

_SHOWN_CHARS = 200  # of a header's value


class HeaderDecryptFailed(SecurityError):
    """Raised when a header cannot be decrypted or parsed.

    The response is the same for every cause, so that it does not act as a decryption oracle.
    """

    err_code = Code.HEADER_DECRYPT_FAILED
    legacy_code = 1

    def __init__(self) -> None:
        super().__init__(messages.HEADER_DECRYPT_FAILED(), remedy=messages.FETCH_PUBLIC_KEY())


class BodyKeysInvalid(DagengineError):
    """Raised when `keys` is too short for a request with a body."""

    err_code = Code.BODY_KEYS_INVALID

    def __init__(self) -> None:
        super().__init__(messages.BODY_KEYS_INVALID())


class BodyLengthInvalid(DagengineError):
    """Raised when the length of the decoded body is not a multiple of the AES block size."""

    err_code = Code.BODY_LENGTH_INVALID

    def __init__(self) -> None:
        super().__init__(messages.BODY_LENGTH_INVALID())


class BodyUnreadable(DagengineError):
    """Raised when a body cannot be decrypted with the keys of the header.

    The response is the same for every cause.
    """

    err_code = Code.UNEXPECTED

    def __init__(self) -> None:
        super().__init__(messages.BODY_UNREADABLE())


class ForwardingRefused(SecurityError):
    """Raised when a request with the header of another controller is not accepted."""


DECRYPTION_ERRORS = (HeaderDecryptFailed, BodyKeysInvalid, BodyLengthInvalid, BodyUnreadable)
"""Errors of requests whose header or body could not be decrypted."""


class HeaderMissing(ApiError):
    """Raised when a request has neither X-OCS-Agent-Header nor X-OCS-Header."""

    err_code = Code.HEADER_NOT_FOUND

    def __init__(self) -> None:
        super().__init__(messages.HEADER_MISSING())


class SocketPermissionDenied(ApiError):
    """Raised when a process of another user connects to the unix socket."""

    err_code = Code.PERMISSION_DENIED
    http_status = 401

    def __init__(self, caller: str) -> None:
        super().__init__(
            messages.SOCKET_DENIED(peer=caller),
            remedy=messages.CALL_AS_OWNER(),
        )


class RightMissing(ApiError):
    """Raised when an authenticated caller may not do what the request asks for."""

    err_code = Code.PERMISSION_DENIED
    http_status = 403

    def __init__(self, caller: str) -> None:
        super().__init__(messages.RIGHT_MISSING(caller=caller), remedy=messages.CALL_WITH_RIGHT())


class HostNotAllowed(ApiError):
    """Raised when the header Host names another host, as after DNS rebinding."""

    err_code = Code.HEADER_HOST_NOT_ALLOWED
    http_status = 403

    def __init__(self, host: str) -> None:
        super().__init__(
            messages.HOST_NOT_ALLOWED(host=host[:_SHOWN_CHARS]), remedy=messages.ALLOW_HOST()
        )


class OriginNotAllowed(ApiError):
    """Raised when a web page of another origin sent the request."""

    err_code = Code.HEADER_ORIGIN_NOT_ALLOWED
    http_status = 403

    def __init__(self, origin: str) -> None:
        super().__init__(
            messages.ORIGIN_NOT_ALLOWED(origin=origin[:_SHOWN_CHARS]),
            remedy=messages.ALLOW_ORIGIN(),
        )


class UriMismatch(SecurityError):
    """Raised when the header was signed for another request target."""

    err_code = Code.HEADER_URI_MISMATCH

    def __init__(self) -> None:
        super().__init__(messages.URI_MISMATCH(), remedy=messages.SIGN_TARGET())


class TimestampInvalid(SecurityError):
    """Raised when `ts` is not a decimal number of seconds."""

    err_code = Code.TIMESTAMP_INVALID

    def __init__(self) -> None:
        super().__init__(messages.TIMESTAMP_INVALID())


class HeaderExpired(SecurityError):
    """Raised when `ts`, the end of the header's validity, has passed."""

    err_code = Code.LOGIN_EXPIRED

    def __init__(self) -> None:
        super().__init__(messages.HEADER_EXPIRED(), remedy=messages.COMPARE_CLOCKS())


class HeaderTooFarAhead(SecurityError):
    """Raised when `ts` of a request that changes something is too far in the future.

    The limit bounds how long the replay protection has to store such a request.
    """

    err_code = Code.LOGIN_EXPIRED

    def __init__(self, max_ahead_s: int) -> None:
        super().__init__(
            messages.HEADER_TOO_FAR_AHEAD(max_ahead_s=max_ahead_s),
            remedy=messages.SIGN_FOR_A_MINUTE(),
        )


class HeaderReplayed(SecurityError):
    """Raised when a signed request, or a part of its header, was used before."""

    err_code = Code.LOGIN_EXPIRED

    def __init__(self) -> None:
        super().__init__(
            messages.HEADER_REPLAYED(),
            remedy=messages.SIGN_EACH_REQUEST(),
        )


class HeaderNotNewer(SecurityError):
    """Raised when `ts` is not later than that of the newest request that is no longer remembered.

    This happens after the controller's clock was set back. The request may be a replay.
    """

    err_code = Code.LOGIN_EXPIRED

    def __init__(self) -> None:
        super().__init__(messages.HEADER_NOT_NEWER(), remedy=messages.CORRECT_CLOCK())


class TooManyRequests(DagengineError):
    """Raised when requests are rejected temporarily, independent of the credentials."""

    err_code = Code.TOO_MANY_REQUESTS
    http_status = 429
    retryable = True

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy or messages.TRY_AGAIN())


class TooManyFailures(TooManyRequests):
    """Raised while an address is throttled after failed logins.

    `retry_after_s` is the remaining time in whole seconds, at least 1.
    """

    err_code = Code.TOO_MANY_FAILURES

    def __init__(self, left_s: float) -> None:
        self.retry_after_s = max(1, math.ceil(left_s))
        super().__init__(
            messages.TOO_MANY_FAILURES(),
            remedy=messages.CORRECT_PASSWORD(retry_after_s=self.retry_after_s),
        )

    @property
    def response_headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after_s)}


class BodyNotRead(ApiError):
    """Raised when the body does not arrive in time or the connection breaks."""

    err_code = Code.BODY_READ_FAILED

    def __init__(self) -> None:
        super().__init__(messages.BODY_NOT_READ(), remedy=messages.SEND_AGAIN())


class PasswordUnavailable(SecurityError):
    """Raised when the controller cannot verify a password; its log contains the cause."""

    err_code = Code.UNEXPECTED
    http_status = 500
    legacy_code = 0

    def __init__(self) -> None:
        super().__init__(messages.PASSWORD_UNAVAILABLE(), remedy=messages.SEE_LOG())


class IncorrectRootPassword(SecurityError):
    """Raised when the password of root@sys is wrong."""

    err_code = Code.INCORRECT_OCEANBASE_PASSWORD

    def __init__(self) -> None:
        super().__init__(messages.ROOT_PASSWORD_INCORRECT())


class IncorrectAgentPassword(SecurityError):
    """Raised when the agent password is wrong."""

    err_code = Code.INCORRECT_AGENT_PASSWORD

    def __init__(self) -> None:
        super().__init__(messages.AGENT_PASSWORD_INCORRECT())


class AgentPasswordUnset(SecurityError):
    """Raised when the agent header was sent, but an agent password is not configured."""

    err_code = Code.WITH_OCEAN_BASE_PASSWORD

    def __init__(self) -> None:
        super().__init__(
            messages.AGENT_PASSWORD_UNSET(),
            remedy=messages.USE_ROOT_PASSWORD(),
        )


class AgentTaskWithoutPassword(SecurityError):
    """Raised when a task id begins with 4 or 5, but an agent password is not configured."""

    err_code = Code.AGENT_PASSWORD_NOT_INITIALIZED

    def __init__(self) -> None:
        super().__init__(messages.ID_NEEDS_UNSET_PASSWORD())


class AgentTaskWithRootPassword(SecurityError):
    """Raised when a task id begins with 4 or 5, but the root header was sent."""

    err_code = Code.WITH_AGENT_PASSWORD

    def __init__(self) -> None:
        super().__init__(messages.ID_NEEDS_AGENT_PASSWORD())

"""Errors of requests with an API token, and of requests that manage tokens."""

from __future__ import annotations

from dagengine.error_codes import Code
from dagengine.errors import ApiError, MessageText, SecurityError
from dagengine.security import messages
from dagengine.security.tokens import SERVICE


class TokenInvalid(SecurityError):
    """Raised when a token is malformed, unknown or revoked."""

    def __init__(self) -> None:
        super().__init__(messages.TOKEN_INVALID(), remedy=messages.LIST_TOKENS())


class TokenExpired(SecurityError):
    """Raised when a token has expired."""

    err_code = Code.LOGIN_EXPIRED

    def __init__(self, name: str, at: str) -> None:
        super().__init__(messages.TOKEN_EXPIRED(name=name, at=at), remedy=messages.CREATE_TOKEN())


class TokenOfOther(SecurityError):
    """Raised when a token of another cluster, or of the service, is presented."""

    def __init__(self, presented: str, own: str) -> None:
        super().__init__(
            messages.TOKEN_OF_OTHER(presented=_describe(presented), own=_describe(own)),
            remedy=messages.USE_OWN_TOKEN(own=_describe(own)),
        )


class TokenExposed(SecurityError):
    """Raised when a token arrives in clear text from another machine."""

    http_status = 403

    def __init__(self) -> None:
        super().__init__(messages.TOKEN_EXPOSED(), remedy=messages.REVOKE_AND_USE_TLS())


class ResponseExposed(SecurityError):
    """Raised when the response would contain a token in clear text for another machine."""

    http_status = 403

    def __init__(self) -> None:
        super().__init__(messages.RESPONSE_EXPOSED(), remedy=messages.USE_TLS())


class TokenInUrl(ApiError):
    """Raised when a URL contains a token."""

    err_code = Code.BAD_REQUEST
    http_status = 400

    def __init__(self) -> None:
        super().__init__(messages.TOKEN_IN_URL(), remedy=messages.REVOKE_AND_SEND_HEADER())


class AgentTaskWithToken(SecurityError):
    """Raised when a task id begins with 4 or 5, but a token was sent."""

    err_code = Code.WITH_AGENT_PASSWORD

    def __init__(self) -> None:
        super().__init__(messages.ID_NEEDS_AGENT_PASSWORD())


class CallerNotAccepted(ApiError):
    """Raised when a caller of a kind that may not manage tokens tries to."""

    err_code = Code.PERMISSION_DENIED
    http_status = 403

    def __init__(self, caller: str) -> None:
        super().__init__(
            messages.CALLER_NOT_ACCEPTED(caller=caller), remedy=messages.USE_ROOT_OR_SOCKET()
        )


class EmptyPasswordNotAccepted(ApiError):
    """Raised when root@sys has no password and a caller without one tries to manage tokens."""

    err_code = Code.PERMISSION_DENIED
    http_status = 403

    def __init__(self) -> None:
        super().__init__(
            messages.EMPTY_PASSWORD_NOT_ACCEPTED(), remedy=messages.SET_PASSWORD_OR_USE_SOCKET()
        )


def _describe(cluster: str) -> MessageText:
    if cluster == SERVICE:
        return messages.SERVICE_OF_TOKEN()
    return messages.CLUSTER_OF_TOKEN(cluster=cluster)

"""Requests that are not let in (protocol 2.5 and 2.6), and bodies that cannot be opened."""

from __future__ import annotations

import math

from dagengine.errors import ApiError, DagengineError, SecurityError


class HeaderDecryptFailed(SecurityError):
    """The header is not one that we can read. One answer for every cause: no oracle."""

    err_code = "Security.Authentication.Header.DecryptFailed"
    legacy_code = 1

    def __init__(self) -> None:
        super().__init__(
            "Decrypt http header failed", remedy="fetch the public key anew from /api/v1/secret"
        )


class BodyKeysInvalid(DagengineError):
    """`keys` is too short for a request with a body."""

    err_code = "Request.Body.Decrypt.AES.KeyAndIv.Invalid"

    def __init__(self) -> None:
        super().__init__("Unauthorized: AES key and IV size error")


class BodyLengthInvalid(DagengineError):
    """The decoded body is no whole number of blocks."""

    err_code = "Request.Body.Decrypt.AES.ContentLength.Invalid"

    def __init__(self) -> None:
        super().__init__("Unauthorized: the body is not a multiple of the AES block size")


class BodyUnreadable(DagengineError):
    """The body cannot be decrypted with the header's keys. One answer for every cause."""

    err_code = "Common.Unexpected"

    def __init__(self) -> None:
        super().__init__("the body is not encrypted with the keys of the header")


DECRYPTION_ERRORS = (HeaderDecryptFailed, BodyKeysInvalid, BodyLengthInvalid, BodyUnreadable)
"""Refused before anything of the request could be read."""


class HeaderMissing(ApiError):
    """Neither of the two headers was sent."""

    err_code = "Request.Header.NotFound"

    def __init__(self) -> None:
        super().__init__("X-OCS-Agent-Header or X-OCS-Header not found in http request header")


class SocketPermissionDenied(ApiError):
    """Another user's process came to the unix socket."""

    err_code = "Security.User.PermissionDenied"
    http_status = 401

    def __init__(self, who: str) -> None:
        super().__init__(
            f"{who} may not use this socket",
            remedy="call as root or as the controller's own user, or over TCP with the password",
        )


class UriMismatch(SecurityError):
    """The header was made for another request."""

    err_code = "Security.Authentication.Header.UriMismatch"

    def __init__(self) -> None:
        super().__init__("URI mismatch", remedy="sign the request target exactly as it is sent")


class TimestampInvalid(SecurityError):
    """`ts` is not a decimal number of seconds."""

    err_code = "Security.Authentication.Timestamp.Invalid"

    def __init__(self) -> None:
        super().__init__("Unauthorized: ts is not a number of seconds since the epoch")


class HeaderExpired(SecurityError):
    """The header was valid until `ts`, which has passed."""

    err_code = "Security.Authentication.Expired"

    def __init__(self) -> None:
        super().__init__(
            "Unauthorized: the header has expired", remedy="compare the clocks of both machines"
        )


class HeaderTooFarAhead(SecurityError):
    """A request that acts must expire soon, so that it need not be remembered for long."""

    err_code = "Security.Authentication.Expired"

    def __init__(self, max_ahead_s: int) -> None:
        super().__init__(
            f"Unauthorized: ts lies more than {max_ahead_s} s ahead",
            remedy="sign for a minute; compare the clocks of both machines",
        )


class HeaderReplayed(SecurityError):
    """A request that acts, or a part of its header, was seen before."""

    err_code = "Security.Authentication.Expired"

    def __init__(self) -> None:
        super().__init__(
            "Unauthorized: this signed request was used before",
            remedy="sign every request anew, with an AES key and IV of its own",
        )


class TooManyRequests(DagengineError):
    """Refused for now, whoever asks."""

    err_code = "Security.Authentication.TooManyRequests"
    http_status = 429
    retryable = True

    def __init__(self, message: str, *, remedy: str = "try again in a minute") -> None:
        super().__init__(message, remedy=remedy)


class TooManyFailures(TooManyRequests):
    """The address has to pause after failed logins; `retry_after_s` whole seconds, from 1."""

    err_code = "Security.Authentication.TooManyFailures"

    def __init__(self, left_s: float) -> None:
        self.retry_after_s = max(1, math.ceil(left_s))
        super().__init__(
            "too many failed logins from this address",
            remedy=f"mend the password that is used there and try again in {self.retry_after_s} s",
        )


class BodyNotRead(ApiError):
    """The body did not arrive: too slow, or broken off."""

    err_code = "Request.Body.ReadFailed"

    def __init__(self) -> None:
        super().__init__("the body did not arrive in time or as a whole", remedy="send it again")


class PasswordUnavailable(SecurityError):
    """The controller cannot tell whether a password is right; why is in its log."""

    err_code = "Common.Unexpected"
    http_status = 500
    legacy_code = 0

    def __init__(self) -> None:
        super().__init__("the controller cannot read its password", remedy="look at its log")


class IncorrectRootPassword(SecurityError):
    """Not the password of root@sys."""

    err_code = "Security.Authentication.IncorrectOceanbasePassword"

    def __init__(self) -> None:
        super().__init__("Unauthorized: OceanBase password is incorrect")


class IncorrectAgentPassword(SecurityError):
    """Not the agent password."""

    err_code = "Security.Authentication.IncorrectAgentPassword"

    def __init__(self) -> None:
        super().__init__("Unauthorized: agent password is incorrect")


class AgentPasswordUnset(SecurityError):
    """The agent header was sent, but no agent password is configured."""

    err_code = "Security.Authentication.WithOceanBasePassword"

    def __init__(self) -> None:
        super().__init__(
            "Unauthorized: no agent password is configured",
            remedy="sign in with the password of root@sys (X-OCS-Header)",
        )


class AgentTaskWithoutPassword(SecurityError):
    """A task id that begins with 4 or 5 needs the agent password, which is not configured."""

    err_code = "Security.Authentication.AgentPasswordNotInitialized"

    def __init__(self) -> None:
        super().__init__("Unauthorized: this id needs the agent password, which is not configured")


class AgentTaskWithRootPassword(SecurityError):
    """A task id that begins with 4 or 5 needs the agent password."""

    err_code = "Security.Authentication.WithAgentPassword"

    def __init__(self) -> None:
        super().__init__("Unauthorized: this id needs the agent password (X-OCS-Agent-Header)")

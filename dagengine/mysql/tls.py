"""TLS of a connection: what a client requires of the server, and why a handshake failed."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from dagengine.mysql import messages
from dagengine.mysql.errors import MysqlConnectionLost, MysqlError, MysqlTlsRefused, TlsFailure

# Numbers of OpenSSL's X509_V_ERR_…
_NOT_YET_VALID, _EXPIRED, _OTHER_NAMES = 9, 10, frozenset({62, 64})  # host name, IP address


@dataclass(frozen=True, slots=True)
class Tls:
    """Encryption of a connection; without it, the login fails.

    Attributes:
        context: the trusted CA certificates; it must verify the certificate and its name.
        server_name: host name or IP address that the server's certificate must have.

    Raises:
        ValueError: the context would accept any certificate.
    """

    context: ssl.SSLContext
    server_name: str

    def __post_init__(self) -> None:
        """Refuse a context that does not verify."""
        if self.context.verify_mode is not ssl.CERT_REQUIRED or not self.context.check_hostname:
            raise ValueError("the TLS context must verify the certificate and its name")

    def check_server_name(self) -> None:
        """Raise ValueError if the name cannot be in a certificate; asyncio would wait forever."""
        bio = ssl.MemoryBIO
        self.context.wrap_bio(bio(), bio(), server_hostname=self.server_name)


def handshake_error(exc: OSError | ValueError) -> MysqlError:
    """Return the error for a handshake that failed."""
    match exc:
        case ssl.SSLCertVerificationError():
            return _certificate_error(exc.verify_code, exc.verify_message)
        case ssl.SSLError() | ValueError():  # ValueError: the name cannot be in a certificate
            detail = getattr(exc, "reason", None) or exc
            return MysqlTlsRefused(
                TlsFailure.HANDSHAKE, messages.TLS_HANDSHAKE_FAILED(detail=detail)
            )
    reason = messages.BROKEN(reason=exc) if str(exc) else messages.CLOSED_BY_PEER()
    return MysqlConnectionLost(reason)


def _certificate_error(number: int, detail: str) -> MysqlTlsRefused:
    if number == _EXPIRED:
        return MysqlTlsRefused(TlsFailure.EXPIRED, messages.CERTIFICATE_EXPIRED())
    if number == _NOT_YET_VALID:
        return MysqlTlsRefused(TlsFailure.NOT_YET_VALID, messages.CERTIFICATE_NOT_YET_VALID())
    if number in _OTHER_NAMES:
        message = messages.CERTIFICATE_OF_OTHER_NAME(detail=detail)
        return MysqlTlsRefused(TlsFailure.OTHER_NAME, message)
    return MysqlTlsRefused(TlsFailure.UNTRUSTED, messages.CERTIFICATE_UNTRUSTED(detail=detail))

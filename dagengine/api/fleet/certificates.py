"""Authentication by a TLS client certificate, at the listener of the service."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from dagengine.api.auth import address_of, read_body
from dagengine.api.caller import ALL_RIGHTS, Caller, CallerKind
from dagengine.api.login.entries import read_certificate
from dagengine.security.errors import HeaderMissing


@dataclass(frozen=True, slots=True)
class ClientCertificates:
    """Holders of a certificate that the listener has verified; they may do everything.

    Attributes:
        body_timeout_s: time limit for receiving a body, in seconds.
    """

    body_timeout_s: float

    def applies_to(self, request: web.Request) -> bool:
        return read_certificate(request) is not None

    async def authenticate(self, request: web.Request) -> tuple[Caller, bytes]:
        certificate = read_certificate(request)
        if certificate is None:
            raise HeaderMissing
        body = await read_body(request, timeout_s=self.body_timeout_s)
        caller = Caller(CallerKind.CERTIFICATE, certificate.name, ALL_RIGHTS, address_of(request))
        return caller, body

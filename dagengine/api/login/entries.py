"""The credentials with which a session begins, and whether they are still valid."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from aiohttp import web

from dagengine.api.auth import address_of
from dagengine.api.connections import peer_at
from dagengine.api.login.bearer_tokens import TokenLogin, name_of
from dagengine.model.credentials import Access, SessionEntry, SessionRecord
from dagengine.security.credentials import Passwords
from dagengine.security.errors import IncorrectAgentPassword, IncorrectRootPassword
from dagengine.security.page_errors import CredentialsMissing, EntryNotOffered
from dagengine.security.session_rules import fingerprint_password

_PASSWORD_OWNERS = {
    SessionEntry.ROOT_PASSWORD: "root@sys",
    SessionEntry.AGENT_PASSWORD: "agent password",
}


class Entry(NamedTuple):
    """Accepted credentials.

    Attributes:
        kind: the kind of the credentials.
        name: the caller for the audit.
        access: what the session may do.
        fingerprint: digest of the password or certificate; None for other kinds.
        token: digest of the token; None for other kinds.
    """

    kind: SessionEntry
    name: str
    access: Access = Access.ACT
    fingerprint: bytes | None = None
    token: bytes | None = None


@dataclass(frozen=True, slots=True)
class Entries:
    """Checks credentials of all kinds.

    Attributes:
        tokens: checks tokens; also has the store, the clock and the throttle.
        passwords: returns the passwords that are valid now; None for a listener without passwords.
        accepts_certificates: a TLS client certificate that the listener has verified may log in.
        fingerprint_key: key for the fingerprints of passwords.
    """

    tokens: TokenLogin
    passwords: Callable[[], Passwords] | None
    accepts_certificates: bool
    fingerprint_key: bytes

    def list_offered(self, request: web.Request) -> tuple[SessionEntry, ...]:
        """Return the kinds that this caller can use."""
        offered = [SessionEntry.TOKEN, *(kind for kind in _PASSWORD_OWNERS if self._password(kind))]
        if peer_at(request) is not None:
            offered.append(SessionEntry.LOCAL_USER)
        if self.find_certificate(request) is not None:
            offered.append(SessionEntry.CERTIFICATE)
        return tuple(offered)

    def admits_visitors(self) -> bool:
        """Return True while root@sys has no password."""
        return self.passwords is not None and not self._password(SessionEntry.ROOT_PASSWORD)

    async def check(self, request: web.Request, kind: str, secret: str) -> Entry:
        """Accept the credentials of a log-in form.

        Raises:
            EntryNotOffered: the caller cannot use this kind, or it does not exist.
            CredentialsMissing: the form has no password or token.
            TooManyFailures: the address is throttled.
            SecurityError: password or token are not valid.
        """
        if kind not in self.list_offered(request):
            raise EntryNotOffered(kind)
        match entry := SessionEntry(kind):
            case SessionEntry.TOKEN:
                if not secret.strip():
                    raise CredentialsMissing
                token = await self.tokens.check(secret.strip(), address_of(request))
                return Entry(entry, name_of(token), token.access, token=token.digest)
            case SessionEntry.ROOT_PASSWORD | SessionEntry.AGENT_PASSWORD:
                await self._check_password(request, entry, secret)
                fingerprint = self._fingerprint(entry, secret)
                return Entry(entry, _PASSWORD_OWNERS[entry], fingerprint=fingerprint)
            case SessionEntry.LOCAL_USER:
                return Entry(entry, str(peer_at(request)))
            case SessionEntry.CERTIFICATE:
                certificate = self.find_certificate(request)
                assert certificate is not None  # it is offered
                return Entry(entry, certificate.name, fingerprint=certificate.digest)

    async def is_valid(self, request: web.Request, session: SessionRecord) -> bool:
        """Return True if the credentials with which a session began are still valid.

        A session that began at the unix socket, or with a certificate, is valid only there.
        """
        match session.entry:
            case SessionEntry.TOKEN:
                return await self._is_valid_token(session)
            case SessionEntry.ROOT_PASSWORD | SessionEntry.AGENT_PASSWORD:
                password = self._password(session.entry)
                fingerprint = self._fingerprint(session.entry, password)
                return bool(password) and _is_same(session, fingerprint)
            case SessionEntry.LOCAL_USER:
                return peer_at(request) is not None
            case SessionEntry.CERTIFICATE:
                certificate = self.find_certificate(request)
                return certificate is not None and _is_same(session, certificate.digest)

    async def read_clusters(self, session: SessionRecord) -> tuple[str, ...] | None:
        """Return the clusters that a session's token may use; None for all."""
        if session.entry is not SessionEntry.TOKEN:
            return None
        token = await self.tokens.store.find_token(session.token or b"")
        return () if token is None else token.clusters

    def find_certificate(self, request: web.Request) -> Certificate | None:
        """Return the client's certificate, which the listener has verified."""
        return read_certificate(request) if self.accepts_certificates else None

    async def _is_valid_token(self, session: SessionRecord) -> bool:
        token = await self.tokens.store.find_token(session.token or b"")
        return token is not None and not self.tokens.has_expired(token)

    async def _check_password(
        self, request: web.Request, kind: SessionEntry, password: str
    ) -> None:
        """Compare a password in constant time; an empty one is refused without comparing."""
        if not password:
            raise CredentialsMissing
        address, backoff = address_of(request), self.tokens.backoff
        async with self.tokens.turns.take(address):
            backoff.ensure_not_paused(address)
            expected = self._password(kind)
            if not (expected and hmac.compare_digest(_encode(password), _encode(expected))):
                backoff.note_failure(address)
                is_root = kind is SessionEntry.ROOT_PASSWORD
                raise IncorrectRootPassword if is_root else IncorrectAgentPassword

    def _password(self, kind: SessionEntry) -> str:
        """Return the password that is valid now; empty without one."""
        if self.passwords is None:
            return ""
        passwords = self.passwords()
        return passwords.root if kind is SessionEntry.ROOT_PASSWORD else passwords.agent or ""

    def _fingerprint(self, kind: SessionEntry, password: str) -> bytes:
        return fingerprint_password(self.fingerprint_key, kind, password)


class Certificate(NamedTuple):
    """A TLS client certificate.

    Attributes:
        name: its holder for the audit.
        digest: SHA-256 of the certificate.
    """

    name: str
    digest: bytes


def read_certificate(request: web.Request) -> Certificate | None:
    """Return the client's certificate, which the listener has verified; None without one."""
    tls = request.get_extra_info("ssl_object")
    der = None if tls is None else tls.getpeercert(binary_form=True)
    if tls is None or not der:
        return None
    fields = [field for part in tls.getpeercert().get("subject", ()) for field in part]
    names = [value for name, value in fields if name == "commonName"] or [""]
    return Certificate(f"certificate {names[-1]}", sha256(der).digest())


def _is_same(session: SessionRecord, fingerprint: bytes) -> bool:
    return hmac.compare_digest(session.fingerprint or b"", fingerprint)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")

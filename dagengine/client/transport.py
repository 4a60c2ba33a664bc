"""The transport of the client: signs and sends requests, reads envelopes and streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
from cryptography.hazmat.primitives.asymmetric import rsa

from dagengine.client import messages
from dagengine.client.failures import explain_failure
from dagengine.client.forms import SECRET, Form, find_difference
from dagengine.client.signing import load_key, sign
from dagengine.client.tls import TlsConfig, base_of, is_confidential, is_socket, make_connector
from dagengine.errors import (
    OWNER_HEADER,
    ApiRefused,
    ConfigError,
    ControllerUnreachable,
    ResponseMalformed,
)

ROOT = "/api/v1"
FLEET_ROOT = "/fleet/v1"
"""Prefix of the routes of the service, which serves several clusters."""
_CLAIM_HEADER = "X-Dagengine-Caller"
_STALE_KEY = 1  # legacy code of a header encrypted with another key
_MISDIRECTED = 421
_MAX_HOPS = 2  # to the owner, and to the next one if the owner changes

Dto = dict[str, Any]


class Transport:
    """A session with one controller.

    Args:
        url: URL of the controller, without a trailing slash.
        password: password of root@sys; may be empty.
        timeout_s: time limit of one call, in seconds.
        trust: TLS settings for an https URL.
        claim: who the caller is, for the audit; empty to state nothing.
        token: an API token in place of the password; empty for none.
        root: the path before those of the calls; requests below another one are not signed.
    """

    def __init__(
        self,
        url: str,
        password: str,
        timeout_s: float,
        trust: TlsConfig = TlsConfig(),  # noqa: B008  # frozen
        claim: str = "",
        token: str = "",
        *,
        root: str = ROOT,
    ) -> None:
        self._token = token
        self._root = root
        self._url = url
        self._trust = trust
        self._password = password
        self._claim = {_CLAIM_HEADER: quote(claim, safe="@")} if claim else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._key: rsa.RSAPublicKey | None = None
        self.notices: tuple[str, ...] = ()

    async def open(self) -> None:
        """Create the HTTP session; sends nothing yet.

        Raises:
            ConfigError: a token would be sent in clear text to another machine.
        """
        if self._token and not is_confidential(self._url):
            raise ConfigError(
                messages.TOKEN_NEEDS_TLS(url=self._url), remedy=messages.USE_HTTPS_URL()
            )
        connector = make_connector(self._url, self._trust)
        self._session = aiohttp.ClientSession(timeout=self._timeout, connector=connector)

    async def close(self) -> None:
        """Close the session and all its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self,
        method: str,
        path: str,
        body: Dto | None = None,
        headers: Mapping[str, str] | None = None,
        limits: aiohttp.ClientTimeout | None = None,
        *,
        root: str | None = None,
    ) -> Any:
        """Send a signed request; return the data of the response, or `{}` without data.

        `root` is the prefix of the path.

        Raises:
            ControllerUnreachable, ApiRefused: the call failed.
        """
        async with self.stream(method, path, body, headers or {}, limits, root=root) as response:
            return await self._data_of(response)

    async def get_unsigned(self, path: str) -> Any:
        """Send an unsigned GET request. Raises the same errors as `call`."""
        async with self._request(
            "GET", base_of(self._url) + ROOT + path, {}, None, self._timeout
        ) as response:
            return await self._data_of(response)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        body: Dto | None,
        headers: Mapping[str, str],
        limits: aiohttp.ClientTimeout | None = None,
        *,
        root: str | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a signed request and yield the successful response with its body unread.

        If the cached public key is outdated, fetch the key and send the request once more. If
        another controller owns the cluster and must be called directly, call it.

        Raises:
            ControllerUnreachable, ApiRefused: the call failed.
        """
        target = (self._root if root is None else root) + path
        base, hops, is_last = base_of(self._url), 0, self._key is None
        while True:
            signed_headers, content = await self._sign(target, body)
            async with self._request(
                method,
                base + target,
                {**self._claim, **headers, **signed_headers},
                content,
                limits or self._timeout,
            ) as response:
                try:
                    await self._refuse(response)
                except ApiRefused as exc:
                    owner = response.headers.get(OWNER_HEADER, "")
                    if exc.status == _MISDIRECTED and hops < _MAX_HOPS and self._may_follow(owner):
                        base, hops = owner.rstrip("/"), hops + 1
                        continue
                    # The owner has the same key as this controller, or is not its owner.
                    self._key = None
                    if exc.legacy != _STALE_KEY or is_last or hops:
                        raise
                    is_last = True
                    continue
                yield response
                return

    def check(self, data: object, form: Form) -> None:
        """Raise ResponseMalformed if the data of a response do not have a form."""
        if difference := find_difference(data, form):
            raise ResponseMalformed(
                messages.RESPONSE_UNEXPECTED(url=self._url, difference=difference),
                remedy=messages.CHECK_URL_AND_VERSION(),
            )

    # --- internal functions -------------------------------------------------------------------

    def _may_follow(self, owner_url: str) -> bool:
        """Return whether the same request may be sent to this URL of the cluster's owner.

        A socket's caller has no credentials elsewhere, and TLS is never given up.
        """
        if is_socket(self._url):
            return False
        schemes = ("https://",) if self._url.startswith("https:") else ("https://", "http://")
        return owner_url.startswith(schemes)

    async def _sign(self, target: str, body: Dto | None) -> tuple[dict[str, str], bytes | None]:
        """Return headers and body of a request; it is signed only to log in by the password."""
        if self._token or is_socket(self._url) or self._root != ROOT:
            headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            return headers, None if body is None else json.dumps(body).encode("utf-8")
        signed = sign(await self._load_key(), self._password, target, body)
        return {"X-OCS-Header": signed.header}, signed.body

    async def _load_key(self) -> rsa.RSAPublicKey:
        if self._key is None:
            secret = await self.get_unsigned("/secret")
            self.check(secret, SECRET)
            self._key = load_key(secret["public_key"])
        return self._key

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: bytes | None,
        limits: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise ControllerUnreachable(messages.NOT_OPEN(), remedy=messages.USE_ASYNC_WITH())
        try:
            async with self._session.request(
                method, url, headers=headers, data=data, timeout=limits
            ) as response:
                yield response
        except (TimeoutError, aiohttp.ClientError, OSError) as exc:
            raise self._unreachable(exc) from exc

    async def _refuse(self, response: aiohttp.ClientResponse) -> None:
        """Raise ApiRefused if the response is an error."""
        if response.status < 400:
            return
        envelope = await self._envelope_of(response)
        # The server at the URL may not be a controller, so any member may have any type.
        error = envelope.get("error")
        error = error if isinstance(error, dict) else {}
        status, legacy = envelope.get("status"), error.get("code")
        raise ApiRefused(
            str(error.get("message") or messages.HTTP_STATUS(status=response.status)),
            status=status if isinstance(status, int) else response.status,
            code=str(error.get("errCode") or ""),
            legacy=legacy if isinstance(legacy, int) else 0,
            data=envelope.get("data"),
        )

    async def _data_of(self, response: aiohttp.ClientResponse) -> Any:
        await self._refuse(response)
        data = (await self._envelope_of(response)).get("data")
        return {} if data is None else data

    async def _envelope_of(self, response: aiohttp.ClientResponse) -> Dto:
        envelope = await self._read_envelope(response)
        notices = envelope.get("notices")
        self.notices = tuple(map(str, notices)) if isinstance(notices, list) else ()
        return envelope

    async def _read_envelope(self, response: aiohttp.ClientResponse) -> Dto:
        try:
            envelope = json.loads(await response.read())
        except (ValueError, RecursionError) as exc:  # RecursionError: nested too deeply
            raise self._unreachable(exc) from exc
        if not isinstance(envelope, dict):
            raise self._unreachable(ValueError(messages.RESPONSE_NOT_OBJECT()))
        return envelope

    def _unreachable(self, exc: Exception) -> ControllerUnreachable:
        reason, remedy = explain_failure(exc)
        return ControllerUnreachable(
            messages.UNREACHABLE(url=self._url, reason=reason), remedy=remedy
        )

"""The transport of the client: signs and sends requests, reads envelopes and streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric import rsa

from dagengine.client import messages
from dagengine.client.signing import load_key, sign
from dagengine.client.tls import TlsConfig, base_of, is_socket, make_connector
from dagengine.errors import ApiRefused, ControllerUnreachable

ROOT = "/api/v1"
_STALE_KEY = 1  # legacy code of a header encrypted with another key

Dto = dict[str, Any]


class Transport:
    """A session with one controller.

    Args:
        url: URL of the controller, without a trailing slash.
        password: password of root@sys; may be empty.
        timeout_s: time limit of one call, in seconds.
        trust: TLS settings for an https URL.
    """

    def __init__(
        self,
        url: str,
        password: str,
        timeout_s: float,
        trust: TlsConfig = TlsConfig(),  # noqa: B008  # frozen
    ) -> None:
        self._url = url
        self._trust = trust
        self._password = password
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._key: rsa.RSAPublicKey | None = None

    async def open(self) -> None:
        """Create the HTTP session; sends nothing yet."""
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
    ) -> Any:
        """Send a signed request; return the data of the response, or `{}` without data.

        Raises:
            ControllerUnreachable, ApiRefused: the call failed.
        """
        async with self.stream(method, path, body, headers or {}) as response:
            return await self._data_of(response)

    async def get_unsigned(self, path: str) -> Any:
        """Send an unsigned GET request. Raises the same errors as `call`."""
        async with self._request("GET", ROOT + path, {}, None, self._timeout) as response:
            return await self._data_of(response)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        body: Dto | None,
        headers: Mapping[str, str],
        limits: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a signed request and yield the successful response with its body unread.

        If the cached public key is outdated, fetch the key and send the request once more.

        Raises:
            ControllerUnreachable, ApiRefused: the call failed.
        """
        target = ROOT + path
        for is_last in (self._key is None, True):
            signed_headers, content = await self._sign(target, body)
            async with self._request(
                method, target, {**headers, **signed_headers}, content, limits or self._timeout
            ) as response:
                try:
                    await self._refuse(response)
                except ApiRefused as exc:
                    self._key = None
                    if exc.legacy != _STALE_KEY or is_last:
                        raise
                    continue
                yield response
                return

    # --- internal functions -------------------------------------------------------------------

    async def _sign(self, target: str, body: Dto | None) -> tuple[dict[str, str], bytes | None]:
        """Return headers and body of a request, which are not signed at a socket."""
        if is_socket(self._url):
            return {}, None if body is None else json.dumps(body).encode("utf-8")
        signed = sign(await self._load_key(), self._password, target, body)
        return {"X-OCS-Header": signed.header}, signed.body

    async def _load_key(self) -> rsa.RSAPublicKey:
        if self._key is None:
            self._key = load_key((await self.get_unsigned("/secret"))["public_key"])
        return self._key

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        data: bytes | None,
        limits: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise ControllerUnreachable(messages.NOT_OPEN(), remedy=messages.USE_ASYNC_WITH())
        try:
            async with self._session.request(
                method, base_of(self._url) + target, headers=headers, data=data, timeout=limits
            ) as response:
                yield response
        except (TimeoutError, aiohttp.ClientError, OSError) as exc:
            raise self._unreachable(exc) from exc

    async def _refuse(self, response: aiohttp.ClientResponse) -> None:
        """Raise ApiRefused if the response is an error."""
        if response.status < 400:
            return
        envelope = await self._envelope_of(response)
        error = envelope.get("error") or {}
        raise ApiRefused(
            error.get("message", messages.HTTP_STATUS(status=response.status)),
            status=envelope.get("status", response.status),
            code=error.get("errCode", ""),
            legacy=error.get("code", 0),
        )

    async def _data_of(self, response: aiohttp.ClientResponse) -> Any:
        await self._refuse(response)
        data = (await self._envelope_of(response)).get("data")
        return {} if data is None else data

    async def _envelope_of(self, response: aiohttp.ClientResponse) -> Dto:
        try:
            envelope = json.loads(await response.read())
        except ValueError as exc:
            raise self._unreachable(exc) from exc
        if not isinstance(envelope, dict):
            raise self._unreachable(ValueError(messages.RESPONSE_NOT_OBJECT()))
        return envelope

    def _unreachable(self, exc: Exception) -> ControllerUnreachable:
        return ControllerUnreachable(
            messages.UNREACHABLE(url=self._url, reason=str(exc) or type(exc).__name__),
            remedy=messages.CHECK_SERVE_AND_URL(),
        )

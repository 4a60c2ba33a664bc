"""The client of the service: all clusters of a controller."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from types import TracebackType
from urllib.parse import quote, urlencode

import aiohttp

from dagengine.client.tls import TlsConfig
from dagengine.client.transport import Dto, Transport

_ROOT = "/fleet/v1"


class FleetClient:
    """Calls the service as an async context manager.

    Args:
        url: URL of the service: `unix:PATH`, or `https://…`.
        timeout_s: time limit of one call, in seconds; bulk actions have none.
        trust: TLS settings for an https URL; its certificate identifies the caller.
        claim: who the caller is, such as `user@host`; the audit records it as not verified.
        token: a token of the service; empty for none.

    Every method can raise ControllerUnreachable and ApiRefused.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 30.0,
        trust: TlsConfig = TlsConfig(),  # noqa: B008  # frozen
        claim: str = "",
        token: str = "",
    ) -> None:
        self.url = url.rstrip("/")
        self._transport = Transport(self.url, "", timeout_s, trust, claim, token, root=_ROOT)

    async def __aenter__(self) -> FleetClient:
        await self._transport.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._transport.close()

    async def list_clusters(self) -> list[Dto]:
        """Return every cluster with its state, ordered by name."""
        return list((await self._transport.call("GET", "/clusters"))["contents"])

    async def list_controllers(self) -> list[Dto]:
        """Return every controller with the clusters that it owns."""
        return list((await self._transport.call("GET", "/controllers"))["contents"])

    async def search_dags(
        self,
        *,
        clusters: Sequence[str] = (),
        state: str = "",
        name: str = "",
        limit: int = 100,
        cursor: str = "",
    ) -> tuple[list[Dto], str]:
        """Return DAGs of all or some clusters, newest first, and the cursor of the next page.

        Args:
            clusters: names; empty for all.
            state: only DAGs in this state; empty for all.
            name: only DAGs with this name; empty for all.
            limit: maximum number of DAGs.
            cursor: as returned for the previous page; empty for the first one.
        """
        query = {"state": state, "name": name, "limit": limit, "cursor": cursor}
        query["cluster"] = ",".join(clusters)
        page = await self._transport.call("GET", f"/dags?{urlencode(query)}")
        return list(page["contents"]), page["next_cursor"] or ""

    async def start(self, clusters: Sequence[str], request: Dto, *, key: str = "") -> list[Dto]:
        """Start servers of clusters; return the result of each.

        Args:
            clusters: names.
            request: the body of the same request to one cluster.
            key: idempotency key; empty for a new one.
        """
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        body = {"clusters": [*clusters], "request": request}
        unlimited = aiohttp.ClientTimeout(total=None)  # clusters wait for each other
        data = await self._transport.call("POST", "/start", body, headers, unlimited)
        return list(data["contents"])

    async def forget(self, name: str) -> None:
        """Delete everything that is stored about a cluster that is not configured."""
        await self._transport.call("DELETE", f"/clusters/{quote(name, safe='')}")

"""Who owns a cluster, and `GET /owner`, by which a load balancer finds the owner."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from dagengine.api.envelope import render_json
from dagengine.errors import OwnerUnavailable

OWNER_PATH = "/owner"
_OF_CLUSTER = ("/api/", "/ui/")


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller that owns a cluster.

    Attributes:
        controller_id: see shared_store.md.
        url: URL of its listener for this cluster, without a trailing slash.
        epoch: the cluster's epoch.
    """

    controller_id: int
    url: str
    epoch: int


class OwnershipView(Protocol):
    """What a controller knows about the owner of one cluster."""

    @property
    def cluster(self) -> str:
        """Return the name of the cluster."""
        ...

    @property
    def controller_id(self) -> int:
        """Return the id of this controller."""
        ...

    @property
    def own_epoch(self) -> int | None:
        """Return the epoch in which this controller owns the cluster now; None if it does not."""
        ...

    async def find_other_owner(self) -> Owner | None:
        """Return the live controller that owns the cluster, as the database has it now.

        None: the cluster has no owner, this controller owns it, or the database cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class SoleOwner:
    """The ownership of a controller that is the only one of its store.

    Attributes:
        cluster: name of the cluster.
        controller_id: an arbitrary id.
        own_epoch: an arbitrary epoch.
    """

    cluster: str
    controller_id: int = 1
    own_epoch: int = 1

    async def find_other_owner(self) -> Owner | None:
        return None


@dataclass(frozen=True, slots=True)
class OwnerStatus:
    """`GET /owner`, by which a load balancer finds the owner of a cluster.

    Attributes:
        view: what this controller knows about the owner.
    """

    view: OwnershipView

    async def get_owner(self, _request: web.Request) -> web.StreamResponse:
        """Answer 200 if this controller owns the cluster and may act, otherwise 503."""
        is_owner = self.view.own_epoch is not None
        status = HTTPStatus.OK if is_owner else HTTPStatus.SERVICE_UNAVAILABLE
        body = render_json({"cluster": self.view.cluster, "owner": is_owner})
        return web.Response(status=status, body=body, content_type="application/json")


def standing_middleware(view: OwnershipView) -> Middleware:
    """Return a middleware that refuses requests while this controller may not act as the owner.

    What it would report then could be outdated. Routes outside of `_OF_CLUSTER` stay available.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if view.own_epoch is None and request.path.startswith(_OF_CLUSTER):
            raise OwnerUnavailable(view.cluster)
        return await handler(request)

    return middleware

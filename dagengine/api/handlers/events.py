"""Following a DAG: its events as they become durable, and from any of them on again."""

from __future__ import annotations

import asyncio

from aiohttp import web

from dagengine.api.context import ApiContext
from dagengine.api.endpoint import BoundRequest
from dagengine.api.event_streams import DagEventStream
from dagengine.api.handlers.tasks import own_row
from dagengine.api.render.sse import KEEPALIVE
from dagengine.errors import IllegalArgument

LAST_EVENT_ID = "Last-Event-ID"
_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
_DIGITS = 18
_PATIENCE_S = 60.0  # for a follower that takes nothing of what it is sent


async def follow_dag(ctx: ApiContext, ask: BoundRequest) -> web.StreamResponse:
    """A DAG's events as server-sent events, from the first or from Last-Event-ID on.

    Ends with `event: end` when the DAG has ended and all was told; 204 when there is nothing left
    to tell.
    """
    after = _parse_last(ask.request.headers.get(LAST_EVENT_ID, ""))
    async with ctx.feeds.follow(own_row(ctx, ask)) as feed:
        if after > feed.last:
            raise IllegalArgument(
                f"{LAST_EVENT_ID} {after} is beyond the last event {feed.last} of {ask.text}",
                remedy="follow it from the beginning: leave the header out",
            )
        if feed.is_over and after == feed.last:
            return web.Response(status=204)
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(ask.request)
        try:
            await _tell(response, feed, after)
        except (ConnectionError, TimeoutError):
            if (transport := ask.request.transport) is not None:
                transport.abort()  # it is gone, or takes nothing: it can come back
        return response


async def _tell(response: web.StreamResponse, feed: DagEventStream, after: int) -> None:
    """Write all that follows `after` until the DAG has ended or the feed is closed.

    Raises:
        ConnectionError: the follower is gone.
        TimeoutError: it has taken nothing for a while.
    """
    while True:
        # Asked before the frames: what is over now has no frame after those.
        is_over, last = feed.is_over, feed.last
        if frames := await feed.frames_after(after):
            await _write(response, b"".join(frames))
            after += len(frames)
        elif is_over and after == last:
            await _write(response, feed.wire.end_frame(after))
            return
        elif feed.is_closed:
            return
        else:
            await feed.wait()
            if feed.last == after:
                await _write(response, KEEPALIVE)


async def _write(response: web.StreamResponse, frames: bytes) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        await response.write(frames)


def _parse_last(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise IllegalArgument(
            f"{LAST_EVENT_ID} {text[:_DIGITS]!r} is not the id of an event",
            remedy="send back the last `id:` that came, or leave the header out",
        )
    return int(text)

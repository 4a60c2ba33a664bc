"""The event stream of a DAG: sends events once they are durable, from any event on."""

from __future__ import annotations

import asyncio

from aiohttp import web

from dagengine.api import messages
from dagengine.api.context import ApiContext
from dagengine.api.endpoint import BoundRequest
from dagengine.api.event_streams import DagEventStream
from dagengine.api.handlers.tasks import local_row_id
from dagengine.api.render.sse import KEEPALIVE
from dagengine.errors import IllegalArgument

LAST_EVENT_ID = "Last-Event-ID"
_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
_DIGITS = 18
_PATIENCE_S = 60.0  # time limit of a write to a subscriber that does not read


async def follow_dag(ctx: ApiContext, bound: BoundRequest) -> web.StreamResponse:
    """A DAG's events as server-sent events, from the first or from Last-Event-ID on.

    The stream ends with `event: end` after the last event of an ended DAG. The response is 204 if
    the DAG has ended and Last-Event-ID is its last event.
    """
    after = _parse_last(bound.request.headers.get(LAST_EVENT_ID, ""))
    async with ctx.feeds.follow(local_row_id(ctx, bound)) as feed:
        if after > feed.last:
            raise IllegalArgument(
                messages.EVENT_ID_TOO_LARGE(
                    header=LAST_EVENT_ID, event_id=after, last=feed.last, dag_id=bound.id_text
                ),
                remedy=messages.OMIT_EVENT_ID(),
            )
        if feed.is_over and after == feed.last:
            return web.Response(status=204)
        response = web.StreamResponse(headers=_HEADERS)
        try:
            await response.prepare(bound.request)
            await _tell(response, feed, after)
        except (ConnectionError, TimeoutError):
            if (transport := bound.request.transport) is not None:
                transport.abort()  # gone, or not reading: it can reconnect
        return response


async def _tell(response: web.StreamResponse, feed: DagEventStream, after: int) -> None:
    """Write all events after `after` until the DAG has ended or the stream is closed.

    Raises:
        ConnectionError: the subscriber has disconnected.
        TimeoutError: the subscriber did not read for `_PATIENCE_S` seconds.
    """
    while True:
        # Read the state before the frames: if the DAG has ended, these frames are the last ones.
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
            messages.EVENT_ID_INVALID(header=LAST_EVENT_ID, value=text[:_DIGITS]),
            remedy=messages.SEND_LAST_EVENT_ID(),
        )
    return int(text)

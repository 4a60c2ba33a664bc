"""The event stream of a DAG, across reconnections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import aiohttp

from dagengine.client.forms import EVENT, EVENTS
from dagengine.client.transport import Transport
from dagengine.errors import ApiRefused, ControllerUnreachable, ResponseMalformed
from dagengine.runtime.backoff import Backoff

_SILENCE_S = 50.0  # the controller sends a keep-alive every 15 s
_RECONNECTS = Backoff((0.05, 0.1, 0.2, 0.5, 1.0))
_LIMIT_BYTES = 16 * 1024 * 1024  # maximum length of one line of the stream


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """An event of a DAG.

    Attributes:
        seq: number within the DAG: 1, 2, 3, …; the same for every client and at every time.
        kind: `dag`, `node` or `sub_task` for a new state, `line` for a log line of a sub-task.
        data: the content of the event, see docs/reference/http_api.md.
    """

    seq: int
    kind: str
    data: dict[str, Any]


async def follow_events(
    transport: Transport, path: str, after: int, patience_s: float
) -> AsyncGenerator[StreamEvent]:
    """Yield every event after `after`, once and in order, until the DAG at the path has ended.

    If the connection breaks, or no controller owns the cluster for a while, reconnect and continue
    after the last received event.

    Raises:
        ApiRefused: the DAG does not exist, or access is denied.
        ControllerUnreachable: the controller was unreachable for `patience_s` seconds. After the
            same time without an owner, ApiRefused with status 503.
        ResponseMalformed: an event does not have the form of a controller's.
    """
    silent_s, failures = 0.0, 0
    while True:
        try:
            async with aclosing(_read_once(transport, path, after)) as events:
                async for event in events:
                    if event is None:
                        return
                    silent_s, failures = 0.0, 0
                    after = event.seq
                    yield event
        except ResponseMalformed:
            raise
        except (ControllerUnreachable, ApiRefused) as exc:
            is_lasting = isinstance(exc, ApiRefused) and not exc.is_temporary
            if is_lasting or silent_s >= patience_s:
                raise
        pause_s = _RECONNECTS.pause_s(failures)
        silent_s, failures = silent_s + pause_s, failures + 1
        await asyncio.sleep(pause_s)


async def _read_once(
    transport: Transport, path: str, after: int
) -> AsyncGenerator[StreamEvent | None]:
    """Yield the events of one connection, and None when the stream is complete."""
    limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_SILENCE_S)
    headers = {"Last-Event-ID": str(after)} if after else {}
    async with transport.stream("GET", f"{path}/events", None, headers, limits) as response:
        if response.status == 204:
            yield None
        async with aclosing(_parse(response.content)) as parsed:
            async for kind, data in parsed:
                if kind == "end":
                    yield None
                else:
                    transport.check(data, EVENTS.get(kind, EVENT))
                    yield StreamEvent(data["seq"], kind, data)


async def _parse(stream: aiohttp.StreamReader) -> AsyncGenerator[tuple[str, Any]]:
    """Yield kind and data of each event, None for data that are not JSON; ignore comments."""
    kind = data = ""
    while line := (await stream.readline(max_line_length=_LIMIT_BYTES)).decode("utf-8"):
        name, _, value = line.rstrip("\r\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            data = value
        elif line.isspace() and data:
            yield kind, _read_json(data)
            kind = data = ""


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: nested too deeply
        return None

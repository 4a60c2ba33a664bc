"""A DAG's events, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import aiohttp

from dagengine.client.transport import Transport
from dagengine.errors import ControllerUnreachable

_SILENCE_S = 50.0  # the controller says every 15 s that there is nothing new
_PAUSES_S = (0.05, 0.1, 0.2, 0.5, 1.0)  # between connections; the last one again and again
_LIMIT_BYTES = 16 * 1024 * 1024  # of one event


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a DAG.

    Attributes:
        seq: its number within the DAG: 1, 2, 3, …; the same whoever asks and whenever.
        kind: `dag`, `node`, `sub_task` (it entered a state) or `line` (it logged one).
        data: what, see docs/http_api.md.
    """

    seq: int
    kind: str
    data: dict[str, Any]


async def follow_events(
    door: Transport, path: str, after: int, patience_s: float
) -> AsyncGenerator[Event]:
    """Every event of the DAG at that path after that number, once and in order, until it has ended.

    A connection that breaks is made again, from the last event on.

    Raises:
        ApiRefused: no such DAG, or not allowed.
        ControllerUnreachable: no connection for `patience_s` seconds.
    """
    silent_s, failures = 0.0, 0
    while True:
        try:
            async with aclosing(_read_once(door, path, after)) as events:
                async for event in events:
                    if event is None:
                        return
                    silent_s, failures = 0.0, 0
                    after = event.seq
                    yield event
        except ControllerUnreachable:
            if silent_s >= patience_s:
                raise
        pause_s = _PAUSES_S[min(failures, len(_PAUSES_S) - 1)]
        silent_s, failures = silent_s + pause_s, failures + 1
        await asyncio.sleep(pause_s)


async def _read_once(door: Transport, path: str, after: int) -> AsyncGenerator[Event | None]:
    """The events of one connection; None: there are no more."""
    limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_SILENCE_S)
    headers = {"Last-Event-ID": str(after)} if after else {}
    async with door.open_answer("GET", f"{path}/events", None, headers, limits) as response:
        if response.status == 204:
            yield None
        async with aclosing(_parse(response.content)) as parsed:
            async for kind, data in parsed:
                yield None if kind == "end" else Event(data["seq"], kind, data)


async def _parse(stream: aiohttp.StreamReader) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
    """Kind and data of each event; comments are left out."""
    kind = data = ""
    while line := (await stream.readline(max_line_length=_LIMIT_BYTES)).decode("utf-8"):
        name, _, value = line.rstrip("\r\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            data = value
        elif line.isspace() and data:
            yield kind, json.loads(data)
            kind = data = ""

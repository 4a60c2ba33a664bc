"""Load from its own process, over plain sockets, so that the client costs less than the server.

`python load.py CASE` with one JSON object on stdin; prints one. Cases: `rate` (requests per second
over several connections), `follow` (when each subscriber of a stream received each line), `idle`
(connections that sent one request and stay open until stdin ends).
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import Any

Json = dict[str, Any]
Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(port: int, number: int = 0) -> Wire:
    """Open a connection; use several source addresses, because a limit counts per address."""
    origin = (f"127.0.0.{2 + number // 500}", 0)
    return await asyncio.open_connection("127.0.0.1", port, local_addr=origin)


async def ask(wire: Wire, request: bytes) -> None:
    reader, writer = wire
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"refused: {head!r} {await reader.read(1000)!r}")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)


def render(target: str, header: str) -> bytes:
    signed = f"X-OCS-Header: {header}\r\n" if header else ""
    return f"GET {target} HTTP/1.1\r\nHost: bench\r\n{signed}\r\n".encode()


async def rate(asked: Json) -> Json:
    """Measure requests per second in a closed loop."""
    request = render(asked["target"], asked["header"])
    wires = [await connect(asked["port"]) for _ in range(asked["connections"])]
    done = 0
    times: list[float] = []
    until_s = time.monotonic() + asked["seconds"]

    async def repeat(wire: Wire) -> None:
        nonlocal done
        while (begun_s := time.monotonic()) < until_s:
            await ask(wire, request)
            times.append(time.monotonic() - begun_s)
            done += 1

    await asyncio.gather(*map(repeat, wires))
    times.sort()
    return {"per_s": done / asked["seconds"], "p50_s": times[len(times) // 2]}


async def follow(asked: Json) -> Json:
    """Return, for each line, the instants at which the subscribers received it."""
    told: dict[str, list[float]] = {}
    request = render(asked["target"], asked["header"])
    connected = asyncio.Semaphore(0)

    async def listen(number: int) -> None:
        reader, writer = await connect(asked["port"], number)
        writer.write(request)
        await reader.readuntil(b"\r\n\r\n")
        connected.release()
        while line := await reader.readline():
            if line.startswith(b"event: end"):
                return
            if line.startswith(b"data: ") and b'"log_content"' in line:
                content = json.loads(line[len("data: ") :])["log_content"]
                told.setdefault(content, []).append(time.monotonic())

    async with asyncio.TaskGroup() as group:
        for number in range(asked["followers"]):
            group.create_task(listen(number), name=f"follower {number}")
        for _ in range(asked["followers"]):
            await connected.acquire()
        sys.stdout.write("connected\n")
        sys.stdout.flush()
    return told


async def idle(asked: Json) -> Json:
    """Hold connections open."""
    request = render(asked["target"], asked["header"])
    wires = []
    for number in range(asked["connections"]):
        wires.append(await connect(asked["port"], number))
        await ask(wires[-1], request)
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    return {"open": len(wires)}


CASES = {"rate": rate, "follow": follow, "idle": idle}

if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    found = asyncio.run(CASES[sys.argv[1]](json.loads(sys.stdin.readline())))
    sys.stdout.write(json.dumps(found) + "\n")

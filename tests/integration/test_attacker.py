"""An attacker against a whole controller: refused, logged without secrets, others are served.

The attacker knows the protocol and the public key and can record what others send.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession, TCPConnector
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from yarl import URL

from dagengine.config import load_config
from dagengine.logs import configure_logs
from dagengine.security.backoff import FREE_FAILURES
from dagengine.wiring import run_controller
from tasks import EXTENSION
from tasks.demo_hosts import free_port

PASSWORD = "r00t's own p@ssword"
START, DAGS = "/api/v1/ob/start", "/api/v1/task/dags/ob"
CLUSTER = """
name: x
id: 1
flavour: seekdb
root_password_file: password
zones: {z1: [{ip: 10.0.0.1, home: /srv/seekdb}]}
"""
NO_SCOPE = b"{}"  # gets past the door, and starts nothing
PASSED = (400, "OB.Cluster.Scope.Invalid")
SEEN = EXPIRED = (401, "Security.Authentication.Expired")
GARBAGE = (401, "Security.Authentication.Header.DecryptFailed")
WRONG = (401, "Security.Authentication.IncorrectOceanbasePassword")
FOREIGN = (401, "Security.Authentication.Header.UriMismatch")
BAD_BODY = (500, "Common.Unexpected")
PAUSE = (429, "Security.Authentication.TooManyFailures")

Reply = tuple[int, str]


def encrypt_body(plain: bytes, keys: bytes) -> bytes:
    fill = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(keys[:16]), modes.CBC(keys[16:32])).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([fill]) * fill) + encryptor.finalize())


@dataclass
class Caller:
    """Somebody at one address of this machine, who can write any request."""

    url: str
    session: ClientSession
    key: rsa.RSAPublicKey
    auth: str = PASSWORD

    def encrypt(self, plain: bytes, *, chunk: int = 53) -> bytes:
        blocks = (plain[at : at + chunk] for at in range(0, len(plain), chunk))
        return b"".join(self.key.encrypt(block, padding.PKCS1v15()) for block in blocks)

    def plain(self, target: str, keys: bytes, /, **changes: Any) -> dict[str, Any]:
        return {
            "auth": self.auth,
            "ts": str(int(time.time()) + 60),
            "uri": target,
            "keys": base64.b64encode(keys).decode(),
        } | changes

    def sign(self, target: str, keys: bytes, /, **changes: Any) -> bytes:
        """The cipher text of a header, as the official SDK makes it."""
        return self.encrypt(json.dumps(self.plain(target, keys, **changes)).encode())

    async def send(
        self, method: str, target: str, header: bytes | str | None = None, body: Any = None
    ) -> Reply:
        """One request; its status and errCode."""
        value = base64.b64encode(header).decode() if isinstance(header, bytes) else header
        async with self.session.request(
            method,
            URL(self.url + target, encoded=True),
            headers={} if value is None else {"X-OCS-Header": value},
            data=body,
            allow_redirects=False,
        ) as response:
            content = json.loads(await response.read())
            return response.status, content.get("error", {}).get("errCode", "")

    async def post(self, body: bytes = NO_SCOPE, **changes: Any) -> Reply:
        """A start that is signed as it should be, but for the changes."""
        keys = secrets.token_bytes(32)
        return await self.send(
            "POST", START, self.sign(START, keys, **changes), encrypt_body(body, keys)
        )

    async def get(self, **changes: Any) -> Reply:
        return await self.send("GET", DAGS, self.sign(DAGS, secrets.token_bytes(32), **changes))


@dataclass
class World:
    """A controller as `serve` runs it."""

    directory: Path
    host: str = "127.0.0.1"
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        (self.directory / "password").write_text(PASSWORD)
        (self.directory / "cluster.yaml").write_text(CLUSTER)
        (self.directory / "engine.yaml").write_text(
            f"api: {{host: {self.host}, port: {self.port}, advertise: '127.0.0.1:{self.port}'}}\n"
            "store: {path: store.sqlite}\ncluster: cluster.yaml\n"
        )

    def running(self) -> AbstractAsyncContextManager[Any]:
        return run_controller(load_config(self.directory / "engine.yaml", {}), [EXTENSION])

    @asynccontextmanager
    async def caller(
        self, address: str = "127.0.0.1", auth: str = PASSWORD
    ) -> AsyncIterator[Caller]:
        url = f"http://127.0.0.1:{self.port}"
        connector = TCPConnector(local_addr=(address, 0), limit=0)
        async with ClientSession(connector=connector) as session:
            async with session.get(f"{url}/api/v1/secret") as response:
                der = base64.b64decode((await response.json())["data"]["public_key"])
            key = serialization.load_der_public_key(der)
            assert isinstance(key, rsa.RSAPublicKey)
            yield Caller(url, session, key, auth)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged, at every level; puts the process's logging back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs(stream, level=logging.DEBUG)
    yield stream
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


# --- what was recorded ---------------------------------------------------------------------------


async def test_a_recorded_request_acts_once_also_over_a_restart(world: World) -> None:
    keys = secrets.token_bytes(32)
    async with world.running(), world.caller() as caller:
        header, body = caller.sign(START, keys), encrypt_body(NO_SCOPE, keys)
        assert await caller.send("POST", START, header, body) == PASSED
        assert await caller.send("POST", START, header, body) == SEEN
    async with world.running(), world.caller() as caller:
        assert await caller.send("POST", START, header, body) == SEEN
        assert await caller.post() == PASSED


Respell = Callable[[Caller, bytes], bytes]


def _other_case(caller: Caller, keys: bytes) -> bytes:
    plain = {name.upper(): value for name, value in caller.plain(START, keys).items()}
    return caller.encrypt(json.dumps(plain).encode())


def _longer_keys(caller: Caller, keys: bytes) -> bytes:
    return caller.sign(START, keys, keys=base64.b64encode(keys + b"x").decode())


def _loose_base64(caller: Caller, keys: bytes) -> bytes:
    text = base64.b64encode(keys).decode()  # 32 bytes: two bits of the last sign are not used
    assert text.endswith("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet[alphabet.index(text[-2]) ^ 1]
    assert base64.b64decode(text[:-2] + last + "=") == keys
    return caller.sign(START, keys, keys=text[:-2] + last + "=")


def _later(caller: Caller, keys: bytes) -> bytes:
    return caller.sign(START, keys, ts=str(int(time.time()) + 100))


@pytest.mark.parametrize("respell", [_other_case, _longer_keys, _loose_base64, _later])
async def test_the_same_keys_are_known_again_however_they_are_spelled(
    world: World, respell: Respell
) -> None:
    keys = secrets.token_bytes(32)
    async with world.running(), world.caller() as caller:
        body = encrypt_body(NO_SCOPE, keys)
        assert await caller.send("POST", START, caller.sign(START, keys), body) == PASSED
        assert await caller.send("POST", START, respell(caller, keys), body) == SEEN


async def test_a_recorded_header_is_of_no_use_for_another_request(world: World) -> None:
    async with world.running(), world.caller() as victim, world.caller("127.0.0.2") as attacker:
        recorded = victim.sign(START, secrets.token_bytes(32))
        stop = "/api/v1/task/dag/201684300810288611"
        assert await attacker.send("POST", stop, recorded) == FOREIGN
        assert await attacker.send("GET", DAGS, recorded) == FOREIGN
        dag = "/api/v1/task/dag/201684300810288612"
        read = victim.sign(dag, secrets.token_bytes(32))
        assert await victim.send("GET", dag, read) == (404, "Task.NotFound")
        # The method is not part of what is signed.
        assert await attacker.send("POST", dag, read) == SEEN


async def test_a_password_cannot_be_cut_out_of_a_recorded_header_and_used_on(world: World) -> None:
    """Blocks are not tied to each other: the first of the SDK's holds password and ts."""
    async with world.running(), world.caller() as victim, world.caller("127.0.0.2") as attacker:
        keys = secrets.token_bytes(32)
        recorded = victim.sign(DAGS, secrets.token_bytes(32))
        assert await victim.send("GET", DAGS, recorded) == (200, "")
        text = json.dumps(victim.plain(DAGS, keys)).encode()
        own = text[53:].replace(DAGS.encode()[-8:], START.encode()[-8:])
        for rest in (
            text[53:],
            own,
            text[53:].replace(b'"keys"', b'"ts": "4102444800", "keys"'),
        ):
            spliced = recorded[: victim.key.key_size // 8] + attacker.encrypt(rest)
            for method, target in (("GET", DAGS), ("POST", START), ("POST", DAGS)):
                status, code = await attacker.send(
                    method, target, spliced, encrypt_body(NO_SCOPE, keys)
                )
                assert status in (401, 404, 429), (status, code)


async def test_a_name_that_occurs_twice_in_a_header_is_refused(world: World) -> None:
    async with world.running(), world.caller() as caller:
        text = json.dumps(caller.plain(DAGS, b"")).encode()
        for name in (b"ts", b"TS", b"auth", b"other"):
            twice = text[:-1] + b', "%s": "4102444800"}' % name
            if name == b"other":
                twice = twice[:-1] + b', "Other": 1}'
            assert await caller.send("GET", DAGS, caller.encrypt(twice)) == GARBAGE


# --- what the answers tell -----------------------------------------------------------------------


async def test_a_recorded_body_cannot_be_decrypted_by_asking(world: World) -> None:
    """CBC without a MAC: whoever may ask twice with the same keys can ask for every byte."""
    async with world.running(), world.caller() as victim, world.caller("127.0.0.2") as attacker:
        keys = secrets.token_bytes(32)
        header, body = victim.sign(START, keys), encrypt_body(b'{"scope": {"type": 7}}', keys)
        flipped = bytearray(base64.b64decode(body))
        flipped[3] ^= 1
        # The attacker is faster than the victim: one answer, and no other.
        first = await attacker.send("POST", START, header, base64.b64encode(flipped))
        assert first in (BAD_BODY, (400, "Common.BindJsonFailed"))
        for at in range(5):
            flipped[at] ^= 0xFF
            assert await attacker.send("POST", START, header, base64.b64encode(flipped)) == SEEN
        # Nor as a read, nor without the password around the same keys.
        keys = secrets.token_bytes(32)
        read = victim.sign(DAGS, keys)
        await attacker.send("GET", DAGS, read, base64.b64encode(flipped))
        assert await attacker.send("GET", DAGS, read, base64.b64encode(flipped)) == SEEN
        keys = secrets.token_bytes(32)
        own = attacker.sign(START, keys, auth="")
        assert await attacker.send("POST", START, own, base64.b64encode(flipped)) in (
            WRONG,
            BAD_BODY,
        )
        other = attacker.sign(START, keys, auth="x")
        assert await attacker.send("POST", START, other, encrypt_body(NO_SCOPE, keys)) == SEEN


@pytest.mark.parametrize("seconds", [901, 3600, 10**9])
async def test_what_acts_must_not_be_signed_far_ahead(world: World, seconds: int) -> None:
    async with world.running(), world.caller() as caller:
        far = str(int(time.time()) + seconds)
        assert await caller.post(ts=far) == EXPIRED
        keys = secrets.token_bytes(32)
        assert (
            await caller.send("GET", DAGS, caller.sign(DAGS, keys, ts=far), encrypt_body(b"", keys))
            == EXPIRED
        )
        assert await caller.get(ts=far) == (200, "")
        assert await caller.post(ts=str(int(time.time()) + 890)) == PASSED


@pytest.mark.parametrize(
    "ts", ["-1", "0", "9" * 400, "-" + "9" * 400, "1e9", "٣", "0x7fffffff", " 1", "1 ", "+-1", "+"]
)
async def test_an_odd_time_is_a_refusal(world: World, ts: str) -> None:
    async with world.running(), world.caller() as caller:
        assert await caller.post(ts=ts) in (
            EXPIRED,
            (401, "Security.Authentication.Timestamp.Invalid"),
        )


# --- guessing ------------------------------------------------------------------------------------


async def test_an_address_that_guesses_has_to_pause_and_no_other_notices(world: World) -> None:
    async with world.running(), world.caller() as normal, world.caller("127.0.0.2") as attacker:
        tries = [await attacker.get(auth=f"guess {n}") for n in range(3 * FREE_FAILURES)]
        assert tries[:FREE_FAILURES] == [WRONG] * FREE_FAILURES
        assert set(tries) == {WRONG, PAUSE}
        assert tries.count(PAUSE) > FREE_FAILURES
        assert await attacker.get() == PAUSE  # even with the right one
        assert await attacker.send("GET", DAGS, "garbage") == PAUSE
        assert (await attacker.send("GET", "/api/v1/info"))[0] == 200
        assert await normal.get() == (200, "")
        async with attacker.session.get(
            attacker.url + DAGS, headers={"X-OCS-Header": "x"}
        ) as response:
            assert 1 <= int(response.headers["Retry-After"]) <= 60

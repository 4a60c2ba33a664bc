"""A whole controller, and an attacker who can write any request to it."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, TCPConnector
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from yarl import URL

from dagengine.server.config import load_config
from dagengine.server.controller import run_controller
from tasks import EXTENSION
from tasks.demo.hosts import free_port
from tests.support.planted_key import plant_key

PASSWORD = "r00t's own p@ssword"
START, DAGS = "/api/v1/ob/start", "/api/v1/task/dags/ob"
CLUSTER = """
name: x
id: 1
flavour: seekdb
root_password_file: password
zones: {z1: [{ip: 10.0.0.1, home: /srv/seekdb}]}
"""
NO_SCOPE = b"{}"  # passes authentication, but starts nothing
ACCEPTED = (400, "OB.Cluster.Scope.Invalid")
REPLAYED = EXPIRED = (401, "Security.Authentication.Expired")
GARBAGE = (401, "Security.Authentication.Header.DecryptFailed")
WRONG = (401, "Security.Authentication.IncorrectOceanbasePassword")
FOREIGN = (401, "Security.Authentication.Header.UriMismatch")
BAD_BODY = (500, "Common.Unexpected")
THROTTLED = (429, "Security.Authentication.TooManyFailures")

Reply = tuple[int, str]


def encrypt_body(plain: bytes, keys: bytes) -> bytes:
    fill = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(keys[:16]), modes.CBC(keys[16:32])).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([fill]) * fill) + encryptor.finalize())


@dataclass
class Caller:
    """An attacker at one address of this machine who can write any request."""

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
class AttackedController:
    """Run a controller as `serve` does."""

    directory: Path
    host: str = "127.0.0.1"
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        (self.directory / "password").write_text(PASSWORD)
        (self.directory / "cluster.yaml").write_text(CLUSTER)
        plant_key(self.directory / "store.key.pem")
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

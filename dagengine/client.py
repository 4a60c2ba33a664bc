"""A client of the API, for Python callers who want no SDK, and for the commands."""

from __future__ import annotations

import base64
import json
import secrets
import time
from types import TracebackType
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from dagengine.errors import ApiRefused, ControllerUnreachable

_ROOT = "/api/v1"
_LIFETIME_S = 60  # how long a signed header is valid, as in the official SDK
_PADDING_BYTES = 11
_BLOCK_BYTES = 16
_STALE_KEY = 1  # legacy code: the header was made for another key

Dto = dict[str, Any]


class Client:
    """Signs and sends calls. Use it as an async context manager.

    Args:
        url: of the controller, such as `http://127.0.0.1:2886`.
        password: of root@sys; may be empty.
        timeout_s: bound on one call, in seconds.

    Every method raises ControllerUnreachable or ApiRefused.
    """

    def __init__(self, url: str, password: str, *, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._password = password
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._key: rsa.RSAPublicKey | None = None

    async def __aenter__(self) -> Client:
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def info(self) -> Dto:
        """Who the controller is; needs no password."""
        return await self._send("GET", f"{_ROOT}/info", {}, None)

    async def status(self) -> Dto:
        """The controller's state; needs no password."""
        return await self._send("GET", f"{_ROOT}/status", {}, None)

    async def post(self, path: str, body: Dto) -> Dto:
        """POST to a path below `/api/v1`; the answer's data, `{}` when there is none."""
        return await self._call("POST", path, body)

    async def get(self, path: str) -> Dto:
        """GET a path (with its query) below `/api/v1`."""
        return await self._call("GET", path, None)

    async def start(
        self, scope: str, targets: list[str] | None = None, force_pass: list[str] | None = None
    ) -> Dto:
        """Start observers; returns the DAG."""
        body = {
            "scope": {"type": scope, "target": targets or []},
            "forcePassDag": {"id": force_pass or []},
        }
        return await self.post("/ob/start", body)

    async def get_dag(self, dag_id: str) -> Dto:
        """A DAG with all details."""
        return await self.get(f"/task/dag/{dag_id}?show_details=true")

    async def list_unfinished(self) -> list[Dto]:
        """Every READY or RUNNING DAG with details, newest first."""
        return list((await self.get("/task/dag/unfinish?show_details=true"))["contents"] or [])

    async def list_dags(self, *, details: bool = False) -> list[Dto]:
        """Every DAG, newest first."""
        query = str(details).lower()
        return list((await self.get(f"/task/dags/ob?show_details={query}"))["contents"] or [])

    async def get_logs(self, sub_task_id: str) -> list[Dto]:
        """A sub-task's log rows of all attempts."""
        return list((await self.get(f"/task/sub_task/{sub_task_id}/logs"))["contents"] or [])

    async def operate_dag(self, dag_id: str, operator: str, *, reason: str = "") -> None:
        """Ask RETRY, ROLLBACK, CANCEL or PASS of a DAG; the reason goes to the audit."""
        await self.post(f"/task/dag/{dag_id}", {"operator": operator, "reason": reason})

    async def pass_node(self, node_id: str, *, reason: str = "") -> None:
        """PASS a FAILED node: its DAG goes on behind it."""
        await self.post(f"/task/node/{node_id}", {"operator": "PASS", "reason": reason})

    async def list_audit(self, dag_id: str = "") -> list[Dto]:
        """What was done to a DAG, or to all of them, newest first."""
        path = f"/task/dag/{dag_id}/audit" if dag_id else "/audit"
        return list((await self.get(path))["contents"])

    async def list_attempts(self, sub_task_id: str) -> list[Dto]:
        """A sub-task's attempts with their lines, oldest first."""
        return list((await self.get(f"/task/sub_task/{sub_task_id}/attempts"))["contents"])

    # --- below: the parts ------------------------------------------------------------------

    async def _call(self, method: str, path: str, body: Dto | None) -> Dto:
        try:
            return await self._send_signed(method, _ROOT + path, body)
        except ApiRefused as exc:
            if exc.legacy != _STALE_KEY:
                raise
            self._key = None  # the controller has another key now
            return await self._send_signed(method, _ROOT + path, body)

    async def _send_signed(self, method: str, target: str, body: Dto | None) -> Dto:
        if self._key is None:
            secret = await self._send("GET", f"{_ROOT}/secret", {}, None)
            self._key = _load_key(secret["public_key"])
        keys = secrets.token_bytes(2 * _BLOCK_BYTES)
        header = {
            "auth": self._password,
            "ts": str(int(time.time()) + _LIFETIME_S),  # the wire's own clock
            "uri": target,
            "keys": base64.b64encode(keys).decode("ascii"),
        }
        signed = _encrypt_header(self._key, json.dumps(header).encode("utf-8"))
        data = None if body is None else _encrypt_body(json.dumps(body).encode("utf-8"), keys)
        return await self._send(method, target, {"X-OCS-Header": signed}, data)

    async def _send(
        self, method: str, target: str, headers: dict[str, str], data: bytes | None
    ) -> Dto:
        if self._session is None:
            raise ControllerUnreachable("the client is not open", remedy="use `async with`")
        try:
            async with self._session.request(
                method, self.url + target, headers=headers, data=data
            ) as response:
                envelope = json.loads(await response.read())
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as exc:
            raise ControllerUnreachable(
                f"no controller answers at {self.url}: {exc or type(exc).__name__}",
                remedy="is `dagengine serve` running there? is --url right?",
            ) from exc
        if error := envelope.get("error"):
            raise ApiRefused(
                error.get("message", ""),
                status=envelope.get("status", response.status),
                code=error.get("errCode", ""),
                legacy=error.get("code", 0),
            )
        return envelope.get("data") or {}


def _load_key(text: str) -> rsa.RSAPublicKey:
    key = serialization.load_der_public_key(base64.b64decode(text))
    if not isinstance(key, rsa.RSAPublicKey):
        raise ControllerUnreachable("the controller's key is no RSA key")
    return key


def _encrypt_header(key: rsa.RSAPublicKey, plain: bytes) -> str:
    size = key.key_size // 8 - _PADDING_BYTES
    blocks = (plain[at : at + size] for at in range(0, len(plain), size))
    cipher = b"".join(key.encrypt(block, padding.PKCS1v15()) for block in blocks)
    return base64.b64encode(cipher).decode("ascii")


def _encrypt_body(plain: bytes, keys: bytes) -> bytes:
    fill = _BLOCK_BYTES - len(plain) % _BLOCK_BYTES
    key, iv = keys[:_BLOCK_BYTES], keys[_BLOCK_BYTES:]
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    cipher = encryptor.update(plain + bytes([fill]) * fill) + encryptor.finalize()
    return base64.b64encode(cipher)

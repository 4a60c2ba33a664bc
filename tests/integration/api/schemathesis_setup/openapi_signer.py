"""Signs requests and encrypts their bodies, as the official SDK does."""

from __future__ import annotations

import base64
import json
import os
import secrets
from datetime import datetime
from urllib.parse import urlsplit

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from requests.auth import AuthBase

PASSWORD = os.environ["WIRE_PASSWORD"]
TO_BE_SIGNED = "to be signed"  # only once the request is complete can it be


class Signer(AuthBase):
    """Signs marked requests, with any target and body."""

    key: rsa.RSAPublicKey | None = None

    def __init__(self, password: str = PASSWORD) -> None:
        self._password = password

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        url = urlsplit(request.url or "")
        if request.headers.get("X-OCS-Header") != TO_BE_SIGNED:
            return request  # a check without a header, or with its own
        base = f"{url.scheme}://{url.netloc}/api/v1"
        now = requests.get(f"{base}/time", timeout=30).json()["timestamp"]
        if Signer.key is None:
            der = requests.get(f"{base}/secret", timeout=30).json()["data"]["public_key"]
            key = serialization.load_der_public_key(base64.b64decode(der))
            assert isinstance(key, rsa.RSAPublicKey)
            Signer.key = key
        keys = secrets.token_bytes(32)
        plain = {
            "auth": self._password,
            "ts": str(int(_seconds(now)) + 800),
            "uri": request.path_url,
            "keys": base64.b64encode(keys).decode(),
        }
        request.headers["X-OCS-Header"] = _encrypt_header(json.dumps(plain).encode())
        if request.body:
            body = request.body if isinstance(request.body, bytes) else request.body.encode()
            request.body = _encrypt_body(body, keys)
            request.headers["Content-Length"] = str(len(request.body))
        return request


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _encrypt_header(plain: bytes) -> str:
    assert Signer.key is not None
    blocks = (plain[at : at + 200] for at in range(0, len(plain), 200))
    cipher = b"".join(Signer.key.encrypt(block, padding.PKCS1v15()) for block in blocks)
    return base64.b64encode(cipher).decode()


def _encrypt_body(plain: bytes, keys: bytes) -> bytes:
    fill = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(keys[:16]), modes.CBC(keys[16:])).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([fill]) * fill) + encryptor.finalize())

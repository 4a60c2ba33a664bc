"""Signed headers and encrypted bodies, made without the product's client."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.support.listening_controller import PASSWORD


async def public_key(session: aiohttp.ClientSession, url: str) -> rsa.RSAPublicKey:
    async with session.get(f"{url}/api/v1/secret") as response:
        text = (await response.json())["data"]["public_key"]
    key = serialization.load_der_public_key(base64.b64decode(text))
    assert isinstance(key, rsa.RSAPublicKey)
    return key


def sign(key: rsa.RSAPublicKey, target: str, keys: bytes, auth: str = PASSWORD) -> str:
    until = int(datetime.now(UTC).timestamp()) + 60
    spelled = base64.b64encode(keys).decode()
    plain = json.dumps({"auth": auth, "ts": str(until), "uri": target, "keys": spelled}).encode()
    blocks = (plain[at : at + 53] for at in range(0, len(plain), 53))
    cipher = b"".join(key.encrypt(block, padding.PKCS1v15()) for block in blocks)
    return base64.b64encode(cipher).decode()


def encrypt(plain: bytes, keys: bytes) -> bytes:
    fill = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(keys[:16]), modes.CBC(keys[16:])).encryptor()
    cipher = encryptor.update(plain + bytes([fill]) * fill) + encryptor.finalize()
    return base64.b64encode(cipher)

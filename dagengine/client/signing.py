"""Encryption of request headers and bodies for the controller (protocol 2.3, 2.4)."""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from dagengine.client import messages
from dagengine.errors import ControllerUnreachable

_LIFETIME_S = 60  # how long a signed header is valid, as in the official SDK
_PADDING_BYTES = 11
_BLOCK_BYTES = 16


@dataclass(frozen=True, slots=True, repr=False)
class SignedRequest:
    """The encrypted parts of a request.

    Attributes:
        header: value of X-OCS-Header.
        body: encrypted body; None for a request without a body.
    """

    header: str
    body: bytes | None


def sign(key: rsa.RSAPublicKey, password: str, target: str, body: Any) -> SignedRequest:
    """Sign a request for its target (path and query as sent); `body` is None if it has no body."""
    keys = secrets.token_bytes(2 * _BLOCK_BYTES)
    header = {
        "auth": password,
        "ts": str(int(time.time()) + _LIFETIME_S),  # wall-clock time, as the protocol requires
        "uri": target,
        "keys": base64.b64encode(keys).decode("ascii"),
    }
    return SignedRequest(
        _encrypt_header(key, json.dumps(header).encode("utf-8")),
        None if body is None else _encrypt_body(json.dumps(body).encode("utf-8"), keys),
    )


def load_key(text: str) -> rsa.RSAPublicKey:
    """Parse the controller's public key, as returned by `/secret`.

    Raises:
        ControllerUnreachable: the text is not an RSA public key.
    """
    try:
        key = serialization.load_der_public_key(base64.b64decode(text))
    except ValueError as exc:
        remedy = messages.CHECK_CONTROLLER_URL()
        raise ControllerUnreachable(messages.KEY_UNREADABLE(), remedy=remedy) from exc
    if not isinstance(key, rsa.RSAPublicKey):
        remedy = messages.CHECK_CONTROLLER_URL()
        raise ControllerUnreachable(messages.KEY_NOT_RSA(), remedy=remedy)
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

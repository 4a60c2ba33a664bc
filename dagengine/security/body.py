"""Decryption of bodies: AES-128-CBC with the keys of the header, PKCS#7, base64 (protocol 2.4)."""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from dagengine.security.errors import BodyKeysInvalid, BodyLengthInvalid, BodyUnreadable

_BLOCK_BYTES = 16


def decrypt_body(body: bytes, keys: bytes) -> bytes:
    """Return the decrypted body.

    Raises:
        BodyKeysInvalid: `keys` has fewer than 16 bytes.
        BodyLengthInvalid: the length of the decoded text is not a multiple of the block size.
        BodyUnreadable: any other failure; deliberately indistinguishable.
    """
    if len(keys) < _BLOCK_BYTES:
        raise BodyKeysInvalid
    try:
        cipher = base64.b64decode(body.translate(None, b"\r\n"), validate=True)
    except (binascii.Error, ValueError):
        raise BodyUnreadable from None
    if len(cipher) % _BLOCK_BYTES:
        raise BodyLengthInvalid
    key, iv = keys[:_BLOCK_BYTES], keys[_BLOCK_BYTES:]
    if not cipher or len(iv) != _BLOCK_BYTES:
        raise BodyUnreadable
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return _unpad(decryptor.update(cipher) + decryptor.finalize())


def _unpad(plain: bytes) -> bytes:
    size = plain[-1]
    if not 1 <= size <= _BLOCK_BYTES or plain[-size:] != bytes([size]) * size:
        raise BodyUnreadable
    return plain[:-size]

"""The controller's RSA key: made once, kept beside the store, used in a thread of its own."""

from __future__ import annotations

import asyncio
import base64
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from dagengine.errors import ConfigError
from dagengine.security.errors import HeaderDecryptFailed

_BITS = 2048
_MAX_BLOCKS = 16  # the longest header a client makes has 6; each block costs a private operation


class ServerKey:
    """Decrypts headers. Loading costs 37 ms, a block 0.25 ms: neither belongs in the loop.

    Attributes:
        block_bytes: size of an RSA block.
    """

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self._private = private
        self.block_bytes = private.key_size // 8
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rsa")

    @property
    def public_key(self) -> str:
        """Base64 of the PKCS#1 DER public key, as `secret` serves it (protocol 2.2)."""
        der = self._private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.PKCS1
        )
        return base64.b64encode(der).decode("ascii")

    async def decrypt(self, cipher: bytes) -> bytes:
        """The plain text of concatenated blocks.

        Raises:
            HeaderDecryptFailed: not whole blocks, too many, or not for this key.
        """
        count, rest = divmod(len(cipher), self.block_bytes)
        if rest or not 1 <= count <= _MAX_BLOCKS:
            raise HeaderDecryptFailed
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._decrypt_blocks, cipher)

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _decrypt_blocks(self, cipher: bytes) -> bytes:
        size = self.block_bytes
        plain = [self._decrypt_block(cipher[at : at + size]) for at in range(0, len(cipher), size)]
        if None in plain:
            raise HeaderDecryptFailed
        return b"".join(filter(None, plain))

    def _decrypt_block(self, block: bytes) -> bytes | None:
        """One block; None for a number beyond the modulus, which is no secret.

        Wrong padding is no error here: OpenSSL from 3.2 answers it with a text that it derives
        from key and block, in the same time as a right one (implicit rejection), and that text
        then is no JSON. An older one says None, and the blocks after it are done all the same.
        """
        try:
            return self._private.decrypt(block, padding.PKCS1v15())
        except ValueError:
            return None


def load_or_make_key(path: Path) -> ServerKey:
    """The key in a file; a new one of 2048 bits when there is none. Mode 0600. Blocks.

    Raises:
        ConfigError: the file is there and is no RSA private key, or cannot be read or made.
    """
    try:
        if not path.exists():
            _write_new(path)
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as exc:
        raise ConfigError(
            f"cannot use the key file {path}: {exc}",
            remedy="mend its permissions; or move it away, then clients fetch a new key",
        ) from exc
    if not isinstance(private, rsa.RSAPrivateKey):
        raise ConfigError(f"the key file {path} holds no RSA key", remedy="move it away")
    return ServerKey(private)


def _write_new(path: Path) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)

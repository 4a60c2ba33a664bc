"""The controller's RSA key: created once, stored next to the store, used in a separate thread."""

from __future__ import annotations

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dagengine.errors import ConfigError
from dagengine.runtime.new_file import create_file, ensure_no_dangling_link
from dagengine.security import messages
from dagengine.security.errors import HeaderDecryptFailed

_BITS = 2048
_MAX_BLOCKS = 16  # the longest header of a client has 6; each block costs a private-key operation


class ServerKey:
    """Decrypts headers outside the event loop; loading takes 37 ms and each block 0.25 ms.

    Attributes:
        block_bytes: size of an RSA block.
    """

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self._private = private
        self.block_bytes = private.key_size // 8
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rsa")

    @property
    def public_key(self) -> str:
        """Return the PKCS#1 DER public key in base64, as `/secret` serves it (protocol 2.2)."""
        der = self._private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.PKCS1
        )
        return base64.b64encode(der).decode("ascii")

    def derive_key(self, purpose: str) -> bytes:
        """Return 32 secret bytes that only this key and this purpose give."""
        der = self._private.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return HKDF(hashes.SHA256(), 32, salt=None, info=purpose.encode()).derive(der)

    async def decrypt(self, cipher: bytes) -> bytes:
        """Decrypt concatenated blocks.

        Raises:
            HeaderDecryptFailed: the text is not 1 to 16 whole blocks encrypted for this key.
        """
        count, rest = divmod(len(cipher), self.block_bytes)
        if rest or not 1 <= count <= _MAX_BLOCKS:
            raise HeaderDecryptFailed
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._decrypt_blocks, cipher)

    def close(self) -> None:
        """Stop the thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _decrypt_blocks(self, cipher: bytes) -> bytes:
        size = self.block_bytes
        plain = [self._decrypt_block(cipher[at : at + size]) for at in range(0, len(cipher), size)]
        if None in plain:
            raise HeaderDecryptFailed
        return b"".join(filter(None, plain))

    def _decrypt_block(self, block: bytes) -> bytes | None:
        """Decrypt one block; return None for a number beyond the modulus, which is not a secret.

        Invalid padding does not raise an error: from version 3.2, OpenSSL returns a text derived
        from key and block in the same time as for valid padding (implicit rejection), and this
        text is not valid JSON. With older versions the result is None; the following blocks are
        still decrypted.
        """
        try:
            return self._private.decrypt(block, padding.PKCS1v15())
        except ValueError:
            return None


def load_or_create_key(path: Path) -> ServerKey:
    """Load the key file, or create it with a new key of 2048 bits and mode 0600. Blocks.

    Raises:
        ConfigError: the file cannot be read or created, is a link to nothing, or is not an RSA
            private key.
    """
    try:
        ensure_no_dangling_link(path)
        if not path.exists():
            return ServerKey(_write_new(path))
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as exc:
        raise ConfigError(
            messages.KEY_FILE_UNUSABLE(path=path, reason=exc),
            remedy=messages.CORRECT_KEY_FILE(),
        ) from exc
    if not isinstance(private, rsa.RSAPrivateKey):
        raise ConfigError(messages.KEY_FILE_NOT_RSA(path=path), remedy=messages.MOVE_KEY_FILE())
    return ServerKey(private)


def _write_new(path: Path) -> rsa.RSAPrivateKey:
    private = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    create_file(path, pem)
    return private

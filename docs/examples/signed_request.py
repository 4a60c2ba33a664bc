"""Send one signed request to a controller: `signed_request.py METHOD URL [BODY]`.

The password of root@sys comes from DAGENGINE_PASSWORD. Needs the package cryptography.
"""

import base64
import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_der_public_key


def encrypt_header(public_key: str, plain: bytes) -> str:
    """RSA with PKCS #1 v1.5 padding, in blocks; base64."""
    key = load_der_public_key(base64.b64decode(public_key))
    size = key.key_size // 8 - 11
    blocks = [plain[at : at + size] for at in range(0, len(plain), size)]
    return base64.b64encode(b"".join(key.encrypt(b, padding.PKCS1v15()) for b in blocks)).decode()


def encrypt_body(keys: bytes, plain: bytes) -> bytes:
    """AES-128-CBC with PKCS #7 padding; base64."""
    fill = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(keys[:16]), modes.CBC(keys[16:])).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([fill]) * fill) + encryptor.finalize())


def main(method: str, url: str, body: str = "") -> int:
    parts = urlsplit(url)
    with urllib.request.urlopen(f"{parts.scheme}://{parts.netloc}/api/v1/secret") as response:
        public_key = json.load(response)["data"]["public_key"]
    keys = secrets.token_bytes(32)  # AES key and IV, new for each request
    header = {
        "auth": os.environ["DAGENGINE_PASSWORD"],
        "ts": str(int(time.time()) + 60),
        "uri": parts.path + (f"?{parts.query}" if parts.query else ""),
        "keys": base64.b64encode(keys).decode(),
    }
    request = urllib.request.Request(
        url,
        method=method,
        headers={"X-OCS-Header": encrypt_header(public_key, json.dumps(header).encode())},
        data=encrypt_body(keys, body.encode()) if body else None,
    )
    try:
        with urllib.request.urlopen(request) as response:
            print(response.read().decode())
    except urllib.error.HTTPError as error:
        print(error.read().decode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

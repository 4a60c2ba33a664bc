"""Atomic, line-based edits of a known_hosts file. For the format see sshd(8)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import tempfile
from pathlib import Path

_HASHED = "|1|"
_SALT_BYTES = 20
_MODE = 0o600
_DEFAULT_PORT = 22


def name_in_file(host: str, port: int) -> str:
    """Return the name of a host as known_hosts spells it."""
    return host if port == _DEFAULT_PORT else f"[{host}]:{port}"


def with_pin(text: str, name: str, public_key: str, *, salt: bytes) -> str:
    """Return the file's text with this key as the only one pinned for exactly this name.

    Lines with authorities, revoked keys or patterns that match the host are kept. The name is
    hashed if other names in the file are.

    Args:
        text: the file's text.
        name: see `name_in_file`.
        public_key: in OpenSSH's format.
        salt: random bytes for the hash.
    """
    lines = text.splitlines()
    kept = [left for line in lines if (left := _without(line, name)) is not None]
    shown = _hash(name, salt) if any(line.startswith(_HASHED) for line in lines) else name
    algorithm, key = public_key.split()[:2]
    return "".join(f"{line}\n" for line in [*kept, f"{shown} {algorithm} {key}"])


def replace_file(file: Path, text: str) -> None:
    """Replace a file atomically; a symbolic link is kept and its target replaced.

    Raises:
        OSError: the file cannot be written; it is unchanged.
    """
    target = file.resolve()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as writer:
            writer.write(text)
            writer.flush()
            os.fchmod(handle, target.stat().st_mode & 0o777 if target.exists() else _MODE)
            os.fsync(handle)
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def new_salt() -> bytes:
    """Return random bytes for a hashed name."""
    return os.urandom(_SALT_BYTES)


def _without(line: str, name: str) -> str | None:
    """Return the line without this name; None if no name is left."""
    names, _, rest = line.partition(" ")
    if not names or names[0] in "#@":
        return line
    if names.startswith(_HASHED):
        return None if _is_hash_of(names, name) else line
    kept = [pattern for pattern in names.split(",") if pattern != name]
    return f"{','.join(kept)} {rest}" if kept else None


def _is_hash_of(entry: str, name: str) -> bool:
    salt = entry.removeprefix(_HASHED).partition("|")[0]
    try:
        return entry == _hash(name, base64.b64decode(salt))
    except ValueError:
        return False


def _hash(name: str, salt: bytes) -> str:
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()  # the file format requires SHA-1
    return f"{_HASHED}{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"

"""known_hosts files: the trusted keys of a host, and atomic, line-based edits.

For the format see sshd(8).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import asyncssh

from dagengine.errors import HostKeyRejected
from dagengine.remote import messages
from dagengine.remote.runner import HostAddress
from dagengine.runtime.watched_file import WatchedFile

_HASHED = "|1|"
_SALT_BYTES = 20
_MODE = 0o600
_DEFAULT_PORT = 22


class TrustedHosts:
    """The known_hosts files. Each is parsed once, and again after it changes."""

    def __init__(self) -> None:
        self._files: dict[Path, WatchedFile[asyncssh.SSHKnownHosts]] = {}

    def of(self, address: HostAddress) -> asyncssh.SSHKnownHosts:
        """Return the keys that are trusted now; changes of the file apply immediately.

        Raises:
            HostKeyRejected: the file cannot be read.
        """
        file = known_hosts_file(address)
        if address.known_hosts is None and not file.exists():
            return asyncssh.import_known_hosts("")
        try:
            return self._files.setdefault(file, WatchedFile(file, _read_known_hosts)).read()
        except (OSError, ValueError) as error:
            raise HostKeyRejected(
                messages.KNOWN_HOSTS_UNREADABLE(address=address, file=file, reason=error),
                host=str(address),
                remedy=messages.CORRECT_KNOWN_HOSTS(),
            ) from error


def _read_known_hosts(file: Path) -> asyncssh.SSHKnownHosts:
    return asyncssh.read_known_hosts(str(file))


def known_hosts_file(address: HostAddress) -> Path:
    """Return the file with the trusted host keys for this address."""
    return address.known_hosts or Path("~/.ssh/known_hosts").expanduser()


class Matches(NamedTuple):
    """The entries of a known_hosts file for one host."""

    keys: Sequence[asyncssh.SSHKey]
    authorities: Sequence[asyncssh.SSHKey]
    revoked: Sequence[asyncssh.SSHKey]


def matches_of(trusted: asyncssh.SSHKnownHosts, address: HostAddress) -> Matches:
    """Return the entries that name this host."""
    port = None if address.port == _DEFAULT_PORT else address.port
    keys, authorities, revoked, *_ = asyncssh.match_known_hosts(trusted, address.host, "", port)
    return Matches(keys, authorities, revoked)


def host_key_rejected(
    address: HostAddress, trusted: asyncssh.SSHKnownHosts, reason: str
) -> HostKeyRejected:
    """Build the error for a host that presented an untrusted key.

    Args:
        address: the host.
        trusted: the trusted host keys during the login.
        reason: the message of the SSH library.
    """
    file = known_hosts_file(address)
    matches = matches_of(trusted, address)
    if matches.revoked and "revoked" in reason:
        return HostKeyRejected(
            messages.HOST_KEY_REVOKED(address=address, file=file),
            host=str(address),
            remedy=messages.REPLACE_REVOKED_KEY(),
        )
    if matches.keys:
        return HostKeyRejected(
            messages.HOST_KEY_CHANGED(address=address, file=file),
            host=str(address),
            remedy=messages.REPLACE_CHANGED_KEY(address=address),
        )
    if matches.authorities:
        return HostKeyRejected(
            messages.HOST_KEY_NOT_CERTIFIED(address=address, file=file, reason=reason),
            host=str(address),
            remedy=messages.CERTIFY_OR_PIN(),
        )
    return HostKeyRejected(
        messages.HOST_KEY_UNKNOWN(address=address, file=file),
        host=str(address),
        remedy=messages.PIN_KEY(),
    )


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
    other_lines = [other_line for line in lines if (other_line := _without(line, name)) is not None]
    entry_name = _hash(name, salt) if any(line.startswith(_HASHED) for line in lines) else name
    algorithm, key = public_key.split()[:2]
    return "".join(f"{line}\n" for line in [*other_lines, f"{entry_name} {algorithm} {key}"])


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
    names, _, key_text = line.partition(" ")
    if not names or names[0] in "#@":
        return line
    if names.startswith(_HASHED):
        return None if _is_hash_of(names, name) else line
    other_names = [pattern for pattern in names.split(",") if pattern != name]
    return f"{','.join(other_names)} {key_text}" if other_names else None


def _is_hash_of(entry: str, name: str) -> bool:
    salt = entry.removeprefix(_HASHED).partition("|")[0]
    try:
        return entry == _hash(name, base64.b64decode(salt))
    except ValueError:
        return False


def _hash(name: str, salt: bytes) -> str:
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()  # the file format requires SHA-1
    return f"{_HASHED}{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"

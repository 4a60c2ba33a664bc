"""known_hosts files: the trusted keys of a host, and atomic, line-based edits.

For the format see sshd(8).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import asyncssh

from dagengine.errors import ConfigError, HostKeyRejected
from dagengine.local_user import expand_home
from dagengine.remote import messages
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.known_hosts_lines import KnownHosts, parse_known_hosts
from dagengine.runtime import new_file
from dagengine.runtime.watched_file import WatchedFile

_HASHED = "|1|"
_SALT_BYTES = 20
_DEFAULT_PORT = 22


_log = logging.getLogger("dagengine.remote")


class TrustedHosts:
    """The known_hosts files. Each is parsed once, and again after it changes.

    A line that cannot be read is skipped, as OpenSSH does, and logged once per version of the file.
    """

    def __init__(self, *, is_logged: bool = True) -> None:
        """Create an empty cache; `is_logged` tells whether skipped lines are logged."""
        self._files: dict[Path, WatchedFile[KnownHosts]] = {}
        self._read = _read_and_log if is_logged else _read_known_hosts

    def of(self, address: HostAddress) -> asyncssh.SSHKnownHosts:
        """Return the keys that are trusted now; changes of the file apply immediately.

        A missing file counts as empty.

        Raises:
            HostKeyRejected: the file cannot be read, or its default is unknown.
        """
        try:
            file = known_hosts_file(address)
        except ConfigError as error:
            raise HostKeyRejected(error.message, host=str(address), remedy=error.remedy) from error
        try:
            return self._files.setdefault(file, WatchedFile(file, self._read)).read().trusted
        except FileNotFoundError:
            return asyncssh.import_known_hosts("")
        except OSError as error:
            raise HostKeyRejected(
                messages.KNOWN_HOSTS_UNREADABLE(address=address, file=file, reason=error),
                host=str(address),
                remedy=messages.CORRECT_KNOWN_HOSTS(),
            ) from error


def find_skipped_lines(*addresses: HostAddress) -> tuple[str, ...]:
    """Return a warning for each unreadable line in the known_hosts files of the addresses.

    Each file is read once. A file that does not exist or cannot be opened has no warning.
    """
    files: set[Path] = set()
    for address in addresses:
        with contextlib.suppress(ConfigError):
            files.add(known_hosts_file(address))
    warnings: list[str] = []
    for file in sorted(files):
        with contextlib.suppress(OSError):
            known_hosts = WatchedFile(file, _read_known_hosts).read()
            warnings += _describe_skipped(file, known_hosts)
    return tuple(warnings)


def _read_known_hosts(file: Path) -> KnownHosts:
    return parse_known_hosts(file.read_bytes())


def _read_and_log(file: Path) -> KnownHosts:
    known_hosts = _read_known_hosts(file)
    for warning in _describe_skipped(file, known_hosts):
        _log.warning("%s", warning)
    return known_hosts


def _describe_skipped(file: Path, known_hosts: KnownHosts) -> tuple[str, ...]:
    return tuple(
        messages.KNOWN_HOSTS_LINE_SKIPPED(number=line.number, file=file, reason=line.reason)
        for line in known_hosts.skipped
    )


def known_hosts_file(address: HostAddress) -> Path:
    """Return the file with the trusted host keys for this address.

    Raises:
        ConfigError: it is the default, below an unknown home directory.
    """
    return address.known_hosts or expand_home(Path("~/.ssh/known_hosts"))


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
    if matches.keys and not is_about_certificate(reason):
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
    unknown = messages.HOST_KEY_UNKNOWN
    if not file.exists():
        unknown = messages.HOST_KEY_UNKNOWN_WITHOUT_FILE
    return HostKeyRejected(
        unknown(address=address, file=file),
        host=str(address),
        remedy=messages.PIN_KEY(),
    )


def is_about_certificate(reason: str) -> bool:
    """Return whether the SSH library refused a host's certificate, rather than its plain key."""
    return not reason.startswith(("Host key ", "Unable to decode host key"))


def find_fallback_algorithms(
    trusted: asyncssh.SSHKnownHosts, address: HostAddress, reason: str
) -> list[str]:
    """Return the host key algorithms to try after a refused certificate; empty if none.

    OpenSSH compares the plain key with the pinned ones if the certificate cannot be used (it names
    another host, has expired, or another authority signed it), unless its authority is revoked.
    """
    if not is_about_certificate(reason) or "revoked" in reason:
        return []
    return pinned_algorithms(matches_of(trusted, address))


def pinned_algorithms(matches: Matches) -> list[str]:
    """Return the signature algorithms of the pinned plain keys."""
    names = (name.decode() for key in matches.keys for name in key.sig_algorithms)
    return list(dict.fromkeys(names))


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
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()  # after the last line's end
    other_lines = [other_line for line in lines if (other_line := _without(line, name)) is not None]
    entry_name = _hash(name, salt) if any(line.startswith(_HASHED) for line in lines) else name
    algorithm, key = public_key.split()[:2]
    return "".join(f"{line}\n" for line in [*other_lines, f"{entry_name} {algorithm} {key}"])


def read_text(file: Path) -> str:
    """Return a file's text, to be edited and passed to `replace_file`; empty without the file.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        return file.read_bytes().decode("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""


def replace_file(file: Path, text: str) -> None:
    """Replace a file atomically, or create it; a link to an existing file is kept.

    Bytes that are not UTF-8 are surrogates in `text`, as from `read_text`.

    Raises:
        OSError: the file is a link to nothing, or cannot be written; it is unchanged.
    """
    new_file.ensure_no_dangling_link(file)
    target = file.resolve()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = target.stat().st_mode & 0o777 if target.exists() else new_file.PRIVATE_MODE
    content = text.encode("utf-8", errors="surrogateescape")
    new_file.replace_file(target, content, mode=mode)


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
    if name not in names.split(","):
        return line
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

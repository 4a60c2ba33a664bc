"""The keys for a login: from a key file, with its certificate, or from an ssh agent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import asyncssh

from dagengine.errors import AuthenticationFailed
from dagengine.remote import messages
from dagengine.remote.runner import HostAddress
from dagengine.runtime.watched_file import WatchedFile, read_first_line

ClientKey: TypeAlias = (
    asyncssh.SSHKey
    | asyncssh.SSHKeyPair
    | tuple[asyncssh.SSHKey | asyncssh.SSHKeyPair, asyncssh.SSHCertificate]
)

_AGENT_VARIABLE = "SSH_AUTH_SOCK"


class KeyRing:
    """The keys of all logins. A key file is read once, and again after it changes.

    Reading is expensive: decrypting with a passphrase takes about 100 ms of CPU time by design.
    """

    def __init__(self) -> None:
        self._files: dict[tuple[Path, str], WatchedFile[asyncssh.SSHKey]] = {}
        self._reading = asyncio.Lock()

    @asynccontextmanager
    async def keys(self, address: HostAddress) -> AsyncIterator[tuple[ClientKey, ...]]:
        """Yield the keys to try, valid within the context; empty for the SSH library's defaults.

        Raises:
            AuthenticationFailed: no usable key was found; the message gives the reason.
        """
        if address.agent:
            async with _agent_keys(address) as keys:
                yield keys
        elif address.key_file is None:
            yield ()
        else:
            key = await self._private_key(address, address.key_file)
            yield (_with_certificate(address, key, address.key_file),)

    async def _private_key(self, address: HostAddress, file: Path) -> asyncssh.SSHKey:
        if not os.access(file, os.R_OK):
            raise _unreadable(address, file)
        passphrase = read_passphrase(address)
        async with self._reading:  # hosts that share a key: the first login reads it for all
            key = self._files.get((file, passphrase))
            if key is None:
                parse = partial(_read_private_key, passphrase=passphrase)
                self._files[file, passphrase] = key = WatchedFile(file, parse)
            try:
                return key.read() if key.is_current() else await asyncio.to_thread(key.read)
            except (OSError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as exc:
                raise _unusable_key(address, file, passphrase, exc) from exc


def read_passphrase(address: HostAddress) -> str:
    """Return the passphrase of the key file; empty if none is configured.

    Raises:
        AuthenticationFailed: the configured variable or file does not contain a passphrase.
    """
    if (variable := address.key_passphrase_env) is not None:
        if not (passphrase := os.environ.get(variable, "")):
            raise _no_passphrase(address, messages.VARIABLE_UNSET(variable=variable))
        return passphrase
    if (file := address.key_passphrase_file) is not None:
        try:
            passphrase = read_first_line(file)
        except UnicodeDecodeError:  # the exception text would show the passphrase
            raise _no_passphrase(address, messages.FILE_NOT_UTF8(file=file)) from None
        except OSError as exc:
            raise _no_passphrase(
                address, messages.FILE_UNREADABLE(file=file, reason=exc.strerror)
            ) from exc
        if not passphrase:
            raise _no_passphrase(address, messages.FIRST_LINE_EMPTY(file=file))
        return passphrase
    return ""


@asynccontextmanager
async def _agent_keys(address: HostAddress) -> AsyncIterator[tuple[ClientKey, ...]]:
    place = _agent_place(address)
    try:
        agent = await asyncssh.connect_agent(str(place))
    except OSError as exc:
        raise AuthenticationFailed(
            messages.AGENT_SILENT(
                place=place, user=address.user, address=address, reason=exc.strerror or exc
            ),
            host=str(address),
            remedy=messages.START_AGENT(),
        ) from exc
    try:
        yield await _choose_agent_keys(address, agent, place)
    finally:
        agent.close()


async def _choose_agent_keys(
    address: HostAddress, agent: asyncssh.SSHAgentClient, place: Path
) -> tuple[ClientKey, ...]:
    file = address.key_file
    public_key = None if file is None else _read_public_key(address, file)
    try:
        keys = await agent.get_keys(None if public_key is None else [public_key.public_data])
    except (OSError, ValueError, EOFError) as exc:
        raise AuthenticationFailed(
            messages.AGENT_LISTING_FAILED(place=place, reason=exc),
            host=str(address),
            remedy=messages.LIST_AGENT_KEYS(),
        ) from exc
    if not keys:
        fields = {"place": place, "user": address.user, "address": address}
        raise AuthenticationFailed(
            messages.AGENT_EMPTY(**fields)
            if file is None
            else messages.AGENT_WITHOUT_KEY(**fields, key_file=file),
            host=str(address),
            remedy=messages.LOAD_KEY(),
        )
    if file is None:
        return tuple(keys)
    return tuple(_with_certificate(address, key, file) for key in keys)


def _agent_place(address: HostAddress) -> Path:
    if isinstance(address.agent, Path):
        return address.agent
    if not (text := os.environ.get(_AGENT_VARIABLE, "")):
        raise AuthenticationFailed(
            messages.AGENT_VARIABLE_UNSET(
                user=address.user, address=address, variable=_AGENT_VARIABLE
            ),
            host=str(address),
            remedy=messages.SET_AGENT_VARIABLE(variable=_AGENT_VARIABLE),
        )
    return Path(text)


def _read_private_key(file: Path, *, passphrase: str) -> asyncssh.SSHKey:
    return asyncssh.read_private_key(str(file), passphrase or None)


def _unusable_key(
    address: HostAddress, file: Path, passphrase: str, error: Exception
) -> AuthenticationFailed:
    """Build the error for a key file that cannot be read or decrypted."""
    login = f"{address.user}@{address}"
    match error:
        case OSError():
            return _unreadable(address, file)
        case asyncssh.KeyEncryptionError():
            return AuthenticationFailed(
                messages.PASSPHRASE_WRONG(file=file, user=login),
                host=str(address),
                remedy=messages.CORRECT_PASSPHRASE(),
            )
        case _ if not passphrase and "assphrase" in str(error):
            return AuthenticationFailed(
                messages.KEY_LOCKED(file=file, user=login),
                host=str(address),
                remedy=messages.NAME_PASSPHRASE(),
            )
    return AuthenticationFailed(
        messages.KEY_UNUSABLE(file=file, user=login, reason=error),
        host=str(address),
        remedy=messages.NAME_PRIVATE_KEY(),
    )


def _read_public_key(address: HostAddress, file: Path) -> asyncssh.SSHKey:
    for place in (file, Path(f"{file}.pub")):
        try:
            return asyncssh.read_public_key(str(place))
        except (OSError, asyncssh.KeyImportError):
            continue
    raise AuthenticationFailed(
        messages.AGENT_KEY_AMBIGUOUS(user=address.user, address=address, file=file),
        host=str(address),
        remedy=messages.PUT_PUBLIC_KEY(),
    )


def _with_certificate(
    address: HostAddress, key: asyncssh.SSHKey | asyncssh.SSHKeyPair, file: Path
) -> ClientKey:
    place = certificate_file(file)
    if not place.exists():
        return key
    try:
        return key, asyncssh.read_certificate(str(place))
    except (OSError, asyncssh.KeyImportError) as exc:
        raise AuthenticationFailed(
            messages.CERTIFICATE_UNUSABLE(
                certificate=place, user=address.user, address=address, reason=exc
            ),
            host=str(address),
            remedy=messages.RENEW_CERTIFICATE(),
        ) from exc


def certificate_file(key_file: Path) -> Path:
    """Return the path of a key's user certificate, as OpenSSH names it."""
    return Path(f"{str(key_file).removesuffix('.pub')}-cert.pub")


def _unreadable(address: HostAddress, file: Path) -> AuthenticationFailed:
    return AuthenticationFailed(
        messages.KEY_UNREADABLE(file=file, user=address.user, address=address),
        host=str(address),
        remedy=messages.PUT_PRIVATE_KEY(),
    )


def _no_passphrase(address: HostAddress, reason: str) -> AuthenticationFailed:
    return AuthenticationFailed(
        messages.PASSPHRASE_MISSING(
            key_file=address.key_file, user=address.user, address=address, reason=reason
        ),
        host=str(address),
        remedy=messages.PROVIDE_PASSPHRASE(),
    )

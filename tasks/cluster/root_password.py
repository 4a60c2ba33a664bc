"""The password of root@sys: its source in the cluster file, its current value, and its refusals.

Root has no password only if a file or variable explicitly declares it. A missing or empty key,
variable or file is an error: an unset variable must neither open the controller to everyone nor
leave root without a password after a first start.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from dagengine.errors import ConfigError
from dagengine.extension import PasswordFile
from dagengine.remote import Secret
from tasks.cluster import messages

NO_PASSWORD = "none"  # noqa: S105  # a keyword, not a password
"""Value of `root_password` in a cluster file that declares that root has no password."""

OBD_VARIABLE = "DAGENGINE_ROOT_PASSWORD"
"""Variable that holds the password for an obd file; it takes precedence over the file's own."""

OBD_NO_PASSWORD = "DAGENGINE_NO_ROOT_PASSWORD"  # noqa: S105  # the variable's name
"""Variable that, set to `yes`, declares for an obd file that root has no password."""

_NAME_ONE = messages.NAME_PASSWORD_OR_NONE(none=NO_PASSWORD)
# `obd pwd encrypt` writes base64 of an AES initialization vector and at least one 16-byte block.
_BLOCK_BYTES, _LEAST_BYTES = 16, 32
_NAMED = 3  # servers in a notice


@dataclass(frozen=True, slots=True)
class PasswordSource:
    """Where to read the password of root@sys.

    Attributes:
        path: the cluster file, for messages.
        env: name of the variable that holds it.
        file: the file that holds it in its first line.
        is_none: whether the cluster file declares that root has no password.
        is_obd: whether the cluster file is an obd file, for which the two variables apply.
        clear: the password in an obd file.
        is_encrypted: whether the password in an obd file is encrypted by obd.
    """

    path: Path
    env: str | None = None
    file: Path | None = None
    is_none: bool = False
    is_obd: bool = False
    clear: Secret | None = None
    is_encrypted: bool = False

    @property
    def name(self) -> str:
        """File or variable to correct if the password is wrong."""
        return str(self.file or self.env or self.path)


class RootLogins:
    """Which servers have refused the last SQL login with a password.

    Every login as root is recorded here, so that pages and commands can report a configured
    password that no longer is the password of root.

    Attributes:
        on_change: called after the last login to a server had another result than before.
    """

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self.on_change = on_change
        self._refused: dict[str, bytes] = {}  # digest of the password by server

    def record_refusal(self, server: str, password: str) -> None:
        """Record that a server has refused a password."""
        digest = _digest(password)
        if self._refused.get(server) != digest:
            self._refused[server] = digest
            self.on_change()

    def record_success(self, server: str, password: str) -> None:
        """Record that a server has accepted a password."""
        if self._refused.get(server) == _digest(password):
            del self._refused[server]
            self.on_change()

    def find_notices(
        self, servers: Iterable[str], password: str, source: PasswordSource
    ) -> Sequence[str]:
        """Return which of these servers refused the last login with a password; empty if none.

        Args:
            servers: names of servers.
            password: the configured password.
            source: where to correct it.
        """
        if not self._refused:
            return ()
        digest = _digest(password)
        refusing = [server for server in servers if self._refused.get(server) == digest]
        if not refusing:
            return ()
        names, more = ", ".join(refusing[:_NAMED]), len(refusing) - _NAMED
        if more > 0:
            names = messages.AND_MORE(names=names, count=more)
        return (messages.LOGIN_REFUSED(servers=names, source=source.name),)

    def forget(self) -> None:
        """Forget all results."""
        self._refused.clear()


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest()


class RootPassword:
    """Reads the current password of root@sys from its source."""

    def __init__(self) -> None:
        self._file: PasswordFile | None = None

    def read(self, source: PasswordSource) -> str:
        """Return the password; empty only if the source declares that root has none.

        Raises:
            ConfigError: the password is not named, not set, empty, encrypted, or named twice.
        """
        if source.is_none:
            return ""
        if source.is_obd:
            return _read_for_obd(source)
        if source.file is not None:
            return self._read_file(source, source.file)
        if source.env is not None:
            return _read_variable(source.path, source.env)
        raise ConfigError(
            messages.PASSWORD_NOT_NAMED(path=source.path),
            remedy=_NAME_ONE,
        )

    def _read_file(self, source: PasswordSource, file: Path) -> str:
        if self._file is None or self._file.path != file:
            self._file = PasswordFile(file, "root_password_file")
        password = self._file.read()
        if not password.strip():
            raise ConfigError(
                messages.PASSWORD_FILE_EMPTY(path=source.path, file=file),
                remedy=messages.WRITE_PASSWORD(none=NO_PASSWORD),
            )
        return password


def _read_variable(path: Path, variable: str) -> str:
    password = os.environ.get(variable)
    if password is None or not password.strip():
        raise ConfigError(
            messages.PASSWORD_VARIABLE_UNUSABLE(
                path=path, variable=variable, state=_lack(password)
            ),
            remedy=messages.SET_PASSWORD_VARIABLE(variable=variable, none=NO_PASSWORD),
        )
    return password


def _read_for_obd(source: PasswordSource) -> str:
    """Read the variables for obd files, then the file's own root_password."""
    path, variable = source.path, os.environ.get(OBD_VARIABLE)
    if _says_no_password():
        if variable is not None or source.clear is not None or source.is_encrypted:
            other = OBD_VARIABLE if variable is not None else messages.PASSWORD_KEY_OF(path=path)
            raise ConfigError(
                messages.OBD_PASSWORD_CONFLICT(variable=OBD_NO_PASSWORD, other=other),
                remedy=messages.REMOVE_ONE(),
            )
        return ""
    if variable is not None:
        if not variable.strip():
            raise ConfigError(
                messages.OBD_VARIABLE_UNUSABLE(
                    path=path, variable=OBD_VARIABLE, state=_lack(variable)
                ),
                remedy=messages.SET_OR_UNSET_OBD_VARIABLE(
                    variable=OBD_VARIABLE, declaration=OBD_NO_PASSWORD
                ),
            )
        return variable
    if source.is_encrypted:
        _refuse_ciphertext(path)
    if source.clear is None:
        raise ConfigError(
            messages.OBD_PASSWORD_MISSING(path=path, variable=OBD_VARIABLE),
            remedy=messages.SET_OBD_VARIABLE(variable=OBD_VARIABLE, declaration=OBD_NO_PASSWORD),
        )
    return source.clear.value


def _says_no_password() -> bool:
    value = os.environ.get(OBD_NO_PASSWORD, "")
    if value not in ("", "yes"):
        raise ConfigError(
            messages.OBD_DECLARATION_INVALID(variable=OBD_NO_PASSWORD, value=value),
            remedy=messages.WRITE_YES_OR_UNSET(),
        )
    return value == "yes"


def _refuse_ciphertext(path: Path) -> NoReturn:
    raise ConfigError(
        messages.PASSWORD_IS_CIPHERTEXT(path=path),
        remedy=messages.SET_OR_DECRYPT(variable=OBD_VARIABLE),
    )


def _lack(value: str | None) -> str:
    if value is None:
        return messages.VARIABLE_UNSET()
    return messages.VARIABLE_BLANK() if value else messages.VARIABLE_EMPTY()


def looks_encrypted(text: str) -> bool:
    """Return whether a text looks like output of `obd pwd encrypt`.

    Such output is base64 of whole AES blocks, in mixed case. A plain password of that form is
    rejected as well; it can be set through the variable.

    Source: `aes_encrypt` of obd 4.x (tool.py).
    """
    if text == text.lower() or text == text.upper():  # such as hexadecimal digits
        return False
    try:
        size = len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False
    return size >= _LEAST_BYTES and size % _BLOCK_BYTES == 0

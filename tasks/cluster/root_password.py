"""The password of root@sys: where the cluster file says it is, and what it is now.

Root has no password only where a file or variable says so in words. A key, variable or file that
is missing or empty is an error: the controller must not open, and a first start must not leave
root without a password, because a variable was not set.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from dagengine import ConfigError, PasswordFile, Secret

NO_PASSWORD = "none"  # noqa: S105  # the word that says that there is none
"""`root_password: none` of a cluster file: root has no password."""

OBD_VARIABLE = "DAGENGINE_ROOT_PASSWORD"
"""Holds the password for an obd file, which cannot name a variable; wins over the file's."""

OBD_NO_PASSWORD = "DAGENGINE_NO_ROOT_PASSWORD"  # noqa: S105  # the variable's name
"""`yes` says for an obd file that root has no password."""

_NAME_ONE = (
    "name a variable with root_password_env or a file with root_password_file; if root has no "
    f"password, write `root_password: {NO_PASSWORD}`"
)
# `obd pwd encrypt` writes base64 of an AES initial vector and at least one block of 16 bytes.
_BLOCK_BYTES, _LEAST_BYTES = 16, 32


@dataclass(frozen=True, slots=True)
class PasswordSource:
    """Where the password of root@sys is.

    Attributes:
        path: the cluster file, for messages.
        env: the variable that holds it.
        file: the file whose first line it is.
        is_none: root has no password, as the file says in words.
        is_obd: an obd file: the variables of obd files count.
        clear: what an obd file holds.
        is_encrypted: what an obd file holds is obd's ciphertext.
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
        """What a person looks at to correct it: a file or a variable."""
        return str(self.file or self.env or self.path)


class RootPassword:
    """Reads the password of root@sys from its source, as it is now."""

    def __init__(self) -> None:
        self._file: PasswordFile | None = None

    def read(self, source: PasswordSource) -> str:
        """Return the password; empty only where the source says that root has none.

        Raises:
            ConfigError: it is not named, not set, empty or encrypted, or named twice.
        """
        if source.is_none:
            return ""
        if source.is_obd:
            return _read_for_obd(source)
        if source.file is not None:
            return self._read_file(source, source.file)
        if source.env is not None:
            return _read_variable(source.env, f"{source.path}: root_password_env names")
        raise ConfigError(
            f"{source.path} names no password of root@sys: root_password_env, root_password_file "
            "and root_password are missing",
            remedy=_NAME_ONE,
        )

    def _read_file(self, source: PasswordSource, file: Path) -> str:
        if self._file is None or self._file.path != file:
            self._file = PasswordFile(file, "root_password_file")
        password = self._file.read()
        if not password.strip():
            raise ConfigError(
                f"{source.path}: the first line of root_password_file {file} is empty",
                remedy="write the password there, or name a variable with root_password_env; if "
                f"root has no password, write `root_password: {NO_PASSWORD}` instead of that key",
            )
        return password


def _read_variable(variable: str, what: str) -> str:
    password = os.environ.get(variable)
    if password is None or not password.strip():
        raise ConfigError(
            f"{what} the variable {variable}, which is {_lack(password)}",
            remedy=f"set {variable} in the environment of the controller, or name a file with "
            "root_password_file; if root has no password, write "
            f"`root_password: {NO_PASSWORD}` instead of that key",
        )
    return password


def _read_for_obd(source: PasswordSource) -> str:
    """The variables of obd files, then the file's own root_password."""
    path, variable = source.path, os.environ.get(OBD_VARIABLE)
    if _says_no_password():
        if variable is not None or source.clear is not None or source.is_encrypted:
            other = OBD_VARIABLE if variable is not None else f"root_password of {path}"
            raise ConfigError(
                f"{OBD_NO_PASSWORD}=yes says that root has no password, but {other} holds one",
                remedy="remove one of the two",
            )
        return ""
    if variable is not None:
        if not variable.strip():
            raise ConfigError(
                f"{path}: the variable {OBD_VARIABLE}, which wins over root_password, is "
                f"{_lack(variable)}",
                remedy=f"set {OBD_VARIABLE} to the password, or unset it and write root_password "
                f"into the file; if root has no password, set {OBD_NO_PASSWORD}=yes",
            )
        return variable
    if source.is_encrypted:
        _refuse_ciphertext(path)
    if source.clear is None:
        raise ConfigError(
            f"{path}: root_password is missing, and the variable {OBD_VARIABLE} is not set",
            remedy=f"set {OBD_VARIABLE} in the environment of the controller, or write "
            f"root_password into the file; if root has no password, set {OBD_NO_PASSWORD}=yes",
        )
    return source.clear.value


def _says_no_password() -> bool:
    said = os.environ.get(OBD_NO_PASSWORD, "")
    if said not in ("", "yes"):
        raise ConfigError(
            f"the variable {OBD_NO_PASSWORD} has the value {said!r}",
            remedy="write yes if root has no password, else unset it",
        )
    return said == "yes"


def _refuse_ciphertext(path: Path) -> NoReturn:
    raise ConfigError(
        f"{path}: root_password is what `obd pwd encrypt` makes of the password, not the password",
        remedy=f"set {OBD_VARIABLE} to the password, or decrypt the file with "
        "`obd pwd encrypt disable`",
    )


def _lack(value: str | None) -> str:
    if value is None:
        return "not set"
    return "only white space" if value else "empty"


def looks_encrypted(text: str) -> bool:
    """Is this what `obd pwd encrypt` writes: base64 of whole AES blocks, in mixed letters?

    Source: `aes_encrypt` of obd 4.x (tool.py). A password of that form is refused as well; the
    variable takes it.
    """
    if text == text.lower() or text == text.upper():  # such as hexadecimal digits
        return False
    try:
        size = len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False
    return size >= _LEAST_BYTES and size % _BLOCK_BYTES == 0

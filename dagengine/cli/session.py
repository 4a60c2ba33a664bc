"""How a command finds the controller and authenticates."""

from __future__ import annotations

import getpass
import os
import re
import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from dagengine.client import Client, TlsConfig

DEFAULT_URL = "http://127.0.0.1:2886"
PASSWORD_VARIABLE = "DAGENGINE_PASSWORD"  # noqa: S105  # the variable's name
_URL = re.compile(r"unix:.|https?://[^/]")
_TRUST_VARIABLES = ("DAGENGINE_CA_FILE", "DAGENGINE_CERT_FILE", "DAGENGINE_KEY_FILE")

Url: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="DAGENGINE_URL",
        help="Where the controller answers: http://…, https://… (DAGENGINE_CA_FILE names who may "
        "have signed its certificate) or unix:PATH.",
    ),
]


def open_client(url: str) -> Client:
    """Return a client that is not entered yet; prompt for a password if required and not set.

    Raises:
        typer.BadParameter: the URL is not valid for a controller.
    """
    if not _URL.match(url):
        raise typer.BadParameter(
            f"--url {url!r} is none of http://HOST:PORT, https://HOST:PORT, unix:PATH"
        )
    password = "" if url.startswith("unix:") else _read_password()
    return Client(url, password, trust=_read_trust())


def _read_password() -> str:
    """Read the password from the variable or, on a terminal, from a prompt.

    It is never taken from an argument.
    """
    known = os.environ.get(PASSWORD_VARIABLE)
    if known is None and sys.stdin.isatty():
        return getpass.getpass("Password of root@sys: ")
    return known or ""


def _read_trust() -> TlsConfig:
    """Read the paths of the TLS files from the variables."""
    named = (os.environ.get(name) for name in _TRUST_VARIABLES)
    return TlsConfig(*(Path(value) if value else None for value in named))

"""How to connect to a controller: TLS settings, or a unix socket on this machine."""

from __future__ import annotations

import ipaddress
import os
import ssl
import weakref
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from dagengine.client import messages
from dagengine.errors import ConfigError
from dagengine.runtime.addresses import open_short_name

_SOCKET_SCHEME = "unix:"


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """TLS settings for an `https` URL: trusted CA certificates and the client's own certificate.

    Attributes:
        ca_file: trusted CA certificates (PEM); None for those of the system.
        cert_file: client certificate (PEM), for controllers that require one.
        key_file: private key of the client certificate; None if `cert_file` contains it.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def make_context(self) -> ssl.SSLContext:
        """Build a context that verifies host name and signature and requires TLS 1.2 or later.

        Raises:
            ConfigError: a file cannot be read or is invalid.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as exc:
            files = ", ".join(map(str, filter(None, (self.ca_file, self.cert_file, self.key_file))))
            raise ConfigError(
                messages.TLS_FILES_UNUSABLE(files=files, reason=exc.strerror or exc),
                remedy=messages.NAME_PEM_FILES(),
            ) from exc
        return context


def is_socket(url: str) -> bool:
    """Return True for `unix:PATH`, where the kernel identifies the caller and nothing is signed."""
    return url.startswith(_SOCKET_SCHEME)


def is_confidential(url: str) -> bool:
    """Return True if other machines cannot read what is sent: TLS, loopback or a socket."""
    if is_socket(url) or url.startswith("https:"):
        return True
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def base_of(url: str) -> str:
    """Return the URL prefix of a request path."""
    return "http://localhost" if is_socket(url) else url


def make_connector(url: str, trust: TlsConfig) -> aiohttp.BaseConnector:
    """Build a connector for the URL; raises the same errors as `TlsConfig.make_context`."""
    if is_socket(url):
        return _make_socket_connector(Path(url.removeprefix(_SOCKET_SCHEME)))
    if url.startswith("https:"):
        return aiohttp.TCPConnector(ssl=trust.make_context())
    return aiohttp.TCPConnector()


def _make_socket_connector(path: Path) -> aiohttp.BaseConnector:
    try:
        name, directory = open_short_name(path)
    except OSError:  # connecting reports it
        name, directory = str(path), None
    connector = aiohttp.UnixConnector(name)
    if directory is not None:
        weakref.finalize(connector, os.close, directory)
    return connector

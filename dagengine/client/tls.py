"""Where a controller is and how it is trusted: https, or a unix socket on this machine."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from dagengine.errors import ConfigError

_SOCKET_SCHEME = "unix:"


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Whom a client believes at an `https` URL, and who it says it is.

    Attributes:
        ca_file: certificates (PEM) that may have signed the controller's; None: the system's.
        cert_file: the client's own certificate, for controllers that ask for one.
        key_file: its private key; None when it is in `cert_file`.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def make_context(self) -> ssl.SSLContext:
        """Verifies name and signature; TLS 1.2 or newer.

        Raises:
            ConfigError: a file cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as exc:
            named = ", ".join(map(str, filter(None, (self.ca_file, self.cert_file, self.key_file))))
            raise ConfigError(
                f"cannot use the TLS files {named}: {exc.strerror or exc}",
                remedy="DAGENGINE_CA_FILE, DAGENGINE_CERT_FILE, DAGENGINE_KEY_FILE name PEM files",
            ) from exc
        return context


def is_socket(url: str) -> bool:
    """True for `unix:PATH`: there the kernel says who calls, and nothing need be signed."""
    return url.startswith(_SOCKET_SCHEME)


def base_of(url: str) -> str:
    """What stands before the path of a request."""
    return "http://localhost" if is_socket(url) else url


def make_connector(url: str, trust: TlsConfig) -> aiohttp.BaseConnector:
    """Connects to where the URL says; raises as `Trust.make_context`."""
    if is_socket(url):
        return aiohttp.UnixConnector(url.removeprefix(_SOCKET_SCHEME))
    if url.startswith("https:"):
        return aiohttp.TCPConnector(ssl=trust.make_context())
    return aiohttp.TCPConnector()

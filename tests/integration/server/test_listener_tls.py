"""TLS of the listener, and the consent that plain HTTP for other machines needs."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from obshell import ClientSet
from obshell.auth import PasswordAuth
from obshell.request import ProtocolOptions

from dagengine.client import Client, TlsConfig
from dagengine.errors import ApiRefused, ConfigError, ControllerUnreachable
from dagengine.server.config import ApiConfig
from dagengine.server.listener import Tls, check_exposure
from tests.support.authority import Authority
from tests.support.listening_controller import PASSWORD, open_controller
from tests.support.raw_connection import RawConnection


async def fetch_info(url: str, context: ssl.SSLContext) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/v1/info", ssl=context) as response,
    ):
        return str((await response.json())["data"]["identity"])


async def test_listener_with_certificate_serves_tls_1_2_or_newer(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    cert, key = authority.issue("server")
    files = {"tls_cert_file": str(cert), "tls_key_file": "server.key"}
    async with open_controller(tmp_path, **files) as controller:
        assert controller.url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=authority.file)
        assert await fetch_info(controller.url, trusting) == "CLUSTER AGENT"
        trusting.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await fetch_info(controller.url, trusting) == "CLUSTER AGENT"
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await fetch_info(controller.url, ssl.create_default_context())
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(controller.url.replace("https", "http") + "/api/v1/info")
    key.touch()
    api = ApiConfig(tls_cert_file=cert, tls_key_file=key)
    assert Tls(api).context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_listener_missing_tls_handshake_is_closed(tmp_path: Path) -> None:
    cert, key = Authority(tmp_path, "authority").issue("server")
    files = {"tls_cert_file": str(cert), "tls_key_file": str(key)}
    async with open_controller(tmp_path, **files, header_timeout_s=0.2) as controller:
        for sent in (b"", b"\x16\x03\x01\x02\x00"):
            line = await RawConnection.open(controller)
            await line.write(sent)
            assert await line.is_closed()


async def test_client_supports_https_and_unix_socket(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    cert, key = authority.issue("server")
    files = {"tls_cert_file": str(cert), "tls_key_file": str(key), "socket": "x.sock"}
    client_ca = {"tls_client_ca_file": str(authority.file)}
    async with open_controller(tmp_path, **files, **client_ca) as controller:
        own = authority.issue("client")
        trust = TlsConfig(authority.file, *own)
        async with Client(controller.url, PASSWORD, trust=trust) as client:
            assert await client.list_dags() == []
        for mistrusted in (TlsConfig(), TlsConfig(authority.file), TlsConfig(None, *own)):
            async with Client(controller.url, PASSWORD, trust=mistrusted) as client:
                with pytest.raises(ControllerUnreachable):
                    await client.list_dags()
        async with Client(f"unix:{tmp_path / 'x.sock'}", "not used") as client:
            assert await client.list_dags() == []
            with pytest.raises(ApiRefused, match="Scope"):
                await client.start("NONE")
        environ = os.environ | {
            "DAGENGINE_PASSWORD": PASSWORD,
            "DAGENGINE_CA_FILE": str(authority.file),
            "DAGENGINE_CERT_FILE": str(own[0]),
            "DAGENGINE_KEY_FILE": str(own[1]),
        }
        for url in (controller.url, f"unix:{tmp_path / 'x.sock'}"):
            command = (sys.executable, "-m", "dagengine", "list", "--json", "--url", url)
            done = await asyncio.to_thread(
                subprocess.run, command, env=environ, capture_output=True, check=True, timeout=120
            )
            assert json.loads(done.stdout) == []
    with pytest.raises(ConfigError, match=str(tmp_path / "none")):
        TlsConfig(tmp_path / "none").make_context()


async def test_sdk_supports_https_with_client_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    cert, key = authority.issue("server")
    files = {"tls_cert_file": str(cert), "tls_key_file": str(key)}
    async with open_controller(
        tmp_path, **files, tls_client_ca_file=str(authority.file)
    ) as controller:
        own = authority.issue("client")
        options = ProtocolOptions.https(str(authority.file), (str(own[0]), str(own[1])))
        port = int(controller.url.rpartition(":")[2])

        def call_sdk() -> object:
            sdk = ClientSet("127.0.0.1", port, PasswordAuth(PASSWORD), protocol_options=options)
            return sdk.v1.get_unfinished_dags()

        assert await asyncio.to_thread(call_sdk) == []


async def test_tls_client_ca_rejects_unknown_certificates(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path, "authority"), Authority(tmp_path, "stranger")
    cert, key = authority.issue("server")
    files = {"tls_cert_file": str(cert), "tls_key_file": str(key)}
    async with open_controller(
        tmp_path, **files, tls_client_ca_file=str(authority.file)
    ) as controller:
        trusted_context = ssl.create_default_context(cafile=authority.file)
        trusted_context.load_cert_chain(*authority.issue("client"))
        assert await fetch_info(controller.url, trusted_context) == "CLUSTER AGENT"
        untrusted_context = ssl.create_default_context(cafile=authority.file)
        untrusted_context.load_cert_chain(*stranger.issue("other"))
        for context in (untrusted_context, ssl.create_default_context(cafile=authority.file)):
            with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
                await fetch_info(controller.url, context)


async def test_tls_reload_accepts_renewed_and_ignores_broken_pair(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    cert, key = old.issue("server")
    files = {"tls_cert_file": str(cert), "tls_key_file": str(key)}
    async with open_controller(tmp_path, **files) as controller:
        trusts_old = ssl.create_default_context(cafile=old.file)
        trusts_new = ssl.create_default_context(cafile=new.file)
        cert.write_bytes(new.file.read_bytes())  # without its key
        controller.reload()
        assert await fetch_info(controller.url, trusts_old) == "CLUSTER AGENT"
        new.issue("server")
        controller.reload()
        assert await fetch_info(controller.url, trusts_new) == "CLUSTER AGENT"
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await fetch_info(controller.url, trusts_old)


def test_tls_unusable_certificate_is_named_without_prompt(
    tmp_path: Path,
) -> None:
    cert, key = Authority(tmp_path, "authority").issue("server")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
    )
    for key_file in (locked, cert, tmp_path / "none"):
        with pytest.raises(ConfigError, match=str(key_file)):
            Tls(ApiConfig(tls_cert_file=cert, tls_key_file=key_file))
    with pytest.raises(ConfigError, match="tls_client_ca_file"):
        Tls(ApiConfig(tls_cert_file=cert, tls_key_file=key, tls_client_ca_file=key))


@pytest.mark.parametrize("key", ["tls_cert_file", "tls_key_file", "tls_client_ca_file"])
def test_api_config_incomplete_tls_pair_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="tls_cert_file"):
        ApiConfig(**{key: "a"})  # type: ignore[arg-type]


CONSENTS = {
    "without_tls": "whoever listens on the way can come in",
    "without_password": "anybody can start and stop servers",
}
PAIR = {"tls_cert_file": "c", "tls_key_file": "k"}


@pytest.mark.parametrize(
    ("keys", "password", "missing"),
    [
        ({}, "", None),
        ({"host": "::1"}, "", None),
        ({"host": "0.0.0.0"}, "x", "api.without_tls"),
        ({"host": "192.0.2.1"}, "", "api.without_password"),
        ({"host": "::"} | PAIR, "", "api.without_password"),
        ({"host": "::"} | PAIR, "x", None),
        ({"host": "::"} | PAIR | CONSENTS, "", None),
        ({"host": "0.0.0.0"} | CONSENTS, "", None),
        ({"host": "0.0.0.0", "without_tls": CONSENTS["without_tls"]}, "x", None),
        ({"host": "0.0.0.0", "without_tls": CONSENTS["without_tls"]}, "", "api.without_password"),
    ],
)
def test_check_exposure_requires_written_consent(
    keys: dict[str, Any], password: str, missing: str | None
) -> None:
    api = ApiConfig(**keys)
    if missing is None:
        check_exposure(api, password)
        return
    with pytest.raises(ConfigError) as caught:
        check_exposure(api, password)
    # The error holds the very line to write.
    assert f"{missing}: {CONSENTS[missing.removeprefix('api.')]}" in str(caught.value)


@pytest.mark.parametrize("key", CONSENTS)
@pytest.mark.parametrize("consent", [True, "yes", "", "I accept"])
def test_api_config_wrong_consent_text_is_refused(key: str, consent: object) -> None:
    with pytest.raises(ValueError, match=CONSENTS[key]):
        ApiConfig(**{key: consent})  # type: ignore[arg-type]

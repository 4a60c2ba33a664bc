"""When a connection to a shared store is encrypted, and what its failures suggest."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from dagengine.errors import ConfigError
from dagengine.mysql import (
    MysqlAuthPluginRefused,
    MysqlConnectionLost,
    MysqlError,
    MysqlTlsRefused,
    TlsFailure,
)
from dagengine.store import make_tls_context
from dagengine.store.mysql.connection import connect_error, find_tls
from dagengine.store.mysql.settings import MysqlSettings, parse_store_url
from tests.support.authority import Authority

BEYOND = ["10.0.0.9", "db.example", "[2001:db8::1]", "0.0.0.0", "localhost.example"]
HERE = ["127.0.0.1", "127.0.0.2", "localhost", "[::1]"]


@pytest.mark.parametrize("host", BEYOND)
def test_address_beyond_machine_always_uses_tls(host: str) -> None:
    settings = parse_store_url(f"mysql://dag@{host}/d")
    tls = find_tls(settings)
    assert tls is not None
    assert tls.server_name == host.strip("[]")
    assert tls.context.verify_mode is ssl.CERT_REQUIRED
    assert tls.context.check_hostname
    assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_2
    with pytest.raises(ConfigError, match="would not be encrypted"):
        find_tls(replace(settings, tls=None))


@pytest.mark.parametrize("host", HERE)
def test_address_of_machine_uses_tls_if_configured(host: str, tmp_path: Path) -> None:
    url = f"mysql://dag@{host}/d"
    assert find_tls(parse_store_url(url)) is None
    authority = Authority(tmp_path, "authority")
    assert find_tls(parse_store_url(url, tls_ca_file=authority.file)) is not None


def test_context_trusts_only_named_authority(tmp_path: Path) -> None:
    context = make_tls_context(Authority(tmp_path, "authority").file)
    subjects = [dict(part[0] for part in each["subject"]) for each in context.get_ca_certs()]
    assert subjects == [{"commonName": "authority"}]


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_unusable_ca_file_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        parse_store_url("mysql://dag@10.0.0.9/d", tls_ca_file=file)
    assert str(file) in caught.value.message
    assert "store.tls_ca_file" in (caught.value.remedy or "")


SETTINGS = MysqlSettings("10.0.0.9", 2881, "dag", "d")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (MysqlTlsRefused(TlsFailure.NOT_OFFERED, "x"), "configure TLS on the database server"),
        (MysqlTlsRefused(TlsFailure.UNTRUSTED, "x"), "store.tls_ca_file"),
        (MysqlTlsRefused(TlsFailure.OTHER_NAME, "x"), "issue a certificate for 10.0.0.9"),
        (MysqlTlsRefused(TlsFailure.EXPIRED, "x"), "renew the certificate"),
        (MysqlTlsRefused(TlsFailure.NOT_YET_VALID, "x"), "the clock of this machine"),
        (MysqlTlsRefused(TlsFailure.HANDSHAKE, "x"), "TLS 1.2 or newer"),
        (MysqlAuthPluginRefused("sha256_password"), "with mysql_native_password"),
        (MysqlConnectionLost("x"), "check that the database runs"),
    ],
)
def test_failure_of_connection_suggests_remedy(error: MysqlError, remedy: str) -> None:
    result = connect_error(SETTINGS, error)
    assert str(SETTINGS) in result.message
    assert remedy in (result.remedy or "")

"""TLS between a controller and real databases: seekdb of the wheel and MariaDB."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dagengine.cli import main
from dagengine.errors import ConfigError, StoreUnavailable
from dagengine.extension import SelfCheckStatus, inspect_shared_store
from dagengine.mysql import open_connection
from dagengine.server.config import load_config
from dagengine.store import make_tls_context
from dagengine.store.mysql.connection import open_store_connection
from dagengine.store.mysql.settings import MysqlSettings, parse_store_url
from dagengine.store.mysql.store import MysqlStore
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing import eventually
from tasks.demo.hosts import LOOPBACK
from tests.conformance.builders import batch_of, commit_one, create
from tests.support.authority import Authority
from tests.support.shared_controller import PASSWORD, SharedController
from tests.support.store_databases import StoreDatabase

USER = "tls_only"
DATABASES = ["seekdb_database", pytest.param("mariadb_database", marks=pytest.mark.slow)]
_SSL_OFFERED = 1 << 11


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> StoreDatabase:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, StoreDatabase)
    asyncio.run(make_encrypted_user(found.settings))
    return found


async def make_encrypted_user(settings: MysqlSettings) -> None:
    """Create an account that the server rejects without TLS."""
    address = (settings.host, settings.port)
    async with open_connection(address, user=settings.user, password="") as sql:
        await sql.query(
            f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE SSL"
        )
        await sql.query(f"GRANT ALL ON {settings.database}.* TO '{USER}'@'%'")


def encrypted(database: StoreDatabase, ca_file: Path | None = None) -> MysqlSettings:
    """Return settings that use TLS and trust the server's authority, or another one."""
    context = make_tls_context(ca_file or database.ca_file)
    return replace(database.settings, user=USER, password=PASSWORD, tls=context)


# --- a valid certificate -------------------------------------------------------------------------


async def test_store_over_tls_commits(database: StoreDatabase) -> None:
    store = MysqlStore(encrypted(database), await database.own_cluster())
    await store.open()
    try:
        assert await commit_one(store, batch_of(create(1), dag_id=1)) is None
        assert [dag.dag_id for dag in await store.list_dags(limit=9)] == [1]
    finally:
        await store.close()


async def test_account_that_requires_tls_is_refused_without(database: StoreDatabase) -> None:
    """The account proves that the other tests use TLS."""
    with pytest.raises(StoreUnavailable):
        await open_store_connection(replace(encrypted(database), tls=None))


def test_store_migrate_uses_tls(
    database: StoreDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    url = str(encrypted(database))
    words = ["store", "migrate", url, "--password-file", str(tmp_path / "password")]
    assert main([*words, "--tls-ca-file", str(database.ca_file)]) == 0
    assert url in capsys.readouterr().out
    assert main(words) != 0


@pytest.mark.slow
def test_store_copy_uses_tls(
    database: StoreDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = asyncio.run(make_own_database(database, "tls_copy"))
    (tmp_path / "password").write_text(PASSWORD)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    asyncio.run(make_file(tmp_path / "first" / "prod.sqlite"))
    url, password = str(encrypted(own)), ["--password-file", str(tmp_path / "password")]
    trust = ["--tls-ca-file", str(database.ca_file)]
    there = ["store", "copy", str(tmp_path / "first"), url, *password]
    back = ["store", "copy", url, str(tmp_path / "second"), *password]
    assert main(there) != 0
    assert main(back) != 0
    assert list((tmp_path / "second").iterdir()) == []
    assert main([*there, *trust]) == 0
    assert main([*back, *trust]) == 0
    assert (tmp_path / "second" / "prod.sqlite").exists()
    assert "prod" in capsys.readouterr().out


async def make_own_database(database: StoreDatabase, name: str) -> StoreDatabase:
    """Return another database of the same server, for the account that the server encrypts."""
    own = await database.make_database(name)
    await make_encrypted_user(own.settings)
    return replace(own, authority=database.authority)


async def make_file(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    assert await commit_one(store, batch_of(create(1), dag_id=1)) is None
    await store.close()


def make_controller(
    directory: Path, database: StoreDatabase, ca_file: Path | None = None
) -> SharedController:
    """Return a controller whose file names the account and the server's authority, or another."""
    controller = SharedController(directory, "one", database.settings)
    controller.engine["store"] = {
        "url": str(encrypted(database)),
        "password_file": "store.password",
        "tls_ca_file": "ca.crt",
    }
    shutil.copy(ca_file or database.ca_file, directory / "ca.crt")
    return controller


@pytest.mark.slow
async def test_serve_uses_tls(database: StoreDatabase, tmp_path: Path) -> None:
    own = await make_own_database(database, "tls_serve")

    async def is_owned() -> bool:
        return (1,) in await own.query("SELECT owner IS NOT NULL FROM cluster")

    stranger = Authority(tmp_path, "stranger")
    with pytest.raises(StoreUnavailable, match="is not trusted"):
        async with make_controller(tmp_path, own, stranger.file).running():
            pass
    assert not await is_owned()
    async with make_controller(tmp_path, own).running():
        await eventually(is_owned, timeout_s=60)


async def test_doctor_uses_tls(database: StoreDatabase, tmp_path: Path) -> None:
    controller = make_controller(tmp_path, database)
    controller.engine_file.write_text(json.dumps(controller.engine))
    results = await inspect_shared_store(load_config(controller.engine_file, {}))
    status = {each.check: each.health for each in results}
    assert status["CA of the store"] is SelfCheckStatus.OK
    assert status["store"] is SelfCheckStatus.OK


# --- other certificates --------------------------------------------------------------------------


async def refuse(settings: MysqlSettings) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        await open_store_connection(settings)
    assert str(settings) in caught.value.message
    return caught.value


async def test_certificate_of_unknown_ca_names_key(database: StoreDatabase, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    error = await refuse(encrypted(database, stranger.file))
    assert "is not trusted" in error.message
    assert "store.tls_ca_file" in (error.remedy or "")


async def test_certificate_of_other_name_names_host(database: StoreDatabase) -> None:
    error = await refuse(replace(encrypted(database), host="localhost"))
    assert "is for another name" in error.message
    assert "issue a certificate for localhost" in (error.remedy or "")


async def test_other_machine_needs_tls_with_system_cas(
    database: StoreDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file names a CA. The name leads to this machine, but that is not certain beforehand."""
    (tmp_path / "password").write_text(PASSWORD)
    port = database.settings.port
    monkeypatch.setattr(
        "socket.getaddrinfo",
        lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOOPBACK, port))],
    )
    url = f"mysql://{USER}@meta.example:{port}/{database.settings.database}"
    settings = parse_store_url(url, password_file=tmp_path / "password")
    assert "is not trusted" in (await refuse(settings)).message
    monkeypatch.setenv("SSL_CERT_FILE", str(database.ca_file))
    settings = parse_store_url(url, password_file=tmp_path / "password")
    assert "is for another name" in (await refuse(settings)).message


@pytest.mark.slow
async def test_expired_certificate_asks_for_renewal(mariadb_database: StoreDatabase) -> None:
    authority = mariadb_database.authority
    assert authority is not None
    await make_encrypted_user(mariadb_database.settings)
    authority.issue("server", days=(-3, -1))
    await mariadb_database.query("FLUSH SSL")
    try:
        error = await refuse(encrypted(mariadb_database))
    finally:
        authority.issue("server")
        await mariadb_database.query("FLUSH SSL")
    assert "has expired" in error.message
    assert "renew the certificate" in (error.remedy or "")
    (await open_store_connection(encrypted(mariadb_database))).close()


# --- attacks and plain text ----------------------------------------------------------------------


@asynccontextmanager
async def open_stripping_proxy(port: int) -> AsyncIterator[tuple[int, bytearray]]:
    """Remove the offer of TLS from the greeting; yield the port and what clients send."""
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            header = await far_reader.readexactly(4)
            greeting = bytearray(await far_reader.readexactly(int.from_bytes(header[:3], "little")))
            at = greeting.index(0) + 1 + 4 + 8 + 1  # version, thread, salt, filler
            low = int.from_bytes(greeting[at : at + 2], "little")
            assert low & _SSL_OFFERED
            greeting[at : at + 2] = (low & ~_SSL_OFFERED).to_bytes(2, "little")
            writer.write(header + greeting)
            while data := await reader.read(4096):
                received.extend(data)
        finally:
            far_writer.transport.abort()
            writer.transport.abort()

    async with await asyncio.start_server(serve, LOOPBACK, 0) as server:
        yield server.sockets[0].getsockname()[1], received


async def test_proxy_that_removes_offer_gets_nothing(database: StoreDatabase) -> None:
    async with open_stripping_proxy(database.settings.port) as (port, received):
        error = await refuse(replace(encrypted(database), port=port))
    assert "does not offer TLS" in error.message
    assert "removes the offer" in (error.remedy or "")
    assert received == b""


async def test_plain_text_beyond_this_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match="would not be encrypted"):
        await open_store_connection(MysqlSettings("192.0.2.1", 2881, USER, "dagengine"))

"""The listener of the API: limits, TLS, the unix socket."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from obshell import ClientSet
from obshell.auth import PasswordAuth
from obshell.request import ProtocolOptions

from dagengine.api.connections import Connections, Limits
from dagengine.client import Client, TlsConfig
from dagengine.errors import ApiRefused, ConfigError, ControllerUnreachable
from dagengine.server.config import ApiConfig
from dagengine.server.controller import Controller
from dagengine.server.listener import Tls, check_exposure, listen_at
from dagengine.testing import FakeClock, eventually
from tests.support.listening_controller import PASSWORD, Authority, open_controller


class RawConnection:
    """A connection on which anything can be written."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, controller: Controller, address: str = "127.0.0.1") -> RawConnection:
        port = int(controller.url.rpartition(":")[2])
        streams = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        line = cls(*streams)
        OPEN_CONNECTIONS.append(line)
        return line

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """The next answer's status and content."""
        async with asyncio.timeout(30):
            head = await self._reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return int(head.split()[1]), json.loads(await self._reader.readexactly(size))

    async def is_closed(self) -> bool:
        """Wait until the other side has closed it; False when it sends something instead."""
        try:
            async with asyncio.timeout(30):
                return await self._reader.read(1) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


OPEN_CONNECTIONS: list[RawConnection] = []


@pytest_asyncio.fixture(autouse=True)
async def _close_raw_connections() -> AsyncIterator[None]:
    yield
    while OPEN_CONNECTIONS:
        await OPEN_CONNECTIONS.pop().close()


TIME = b"GET /api/v1/time HTTP/1.1\r\nHost: x\r\n\r\n"


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET /api/v1/ti", TIME[:-2], TIME[:-2] + b"X-A: b\r\n"])
async def test_connections_incomplete_request_is_closed(tmp_path: Path, sent: bytes) -> None:
    async with open_controller(tmp_path, header_timeout_s=0.2) as controller:
        line = await RawConnection.open(controller)
        await line.write(sent)
        assert await line.is_closed()


async def test_connections_trickled_header_is_closed(tmp_path: Path) -> None:
    async with open_controller(tmp_path, header_timeout_s=0.2) as controller:
        line = await RawConnection.open(controller)
        await line.write(TIME)
        assert (await line.answer())[0] == 200

        async def trickle() -> None:
            await line.write(b"GET /")
            while True:
                await line.write(b"a")
                await asyncio.sleep(0.05)  # a client that sends its header slowly

        writing = asyncio.create_task(trickle(), name="trickle")
        assert await line.is_closed()
        writing.cancel()
        await asyncio.wait([writing])
        if not writing.cancelled():
            writing.exception()


async def test_connections_idle_connection_is_closed(tmp_path: Path) -> None:
    async with open_controller(tmp_path, header_timeout_s=60, idle_timeout_s=0.2) as controller:
        line = await RawConnection.open(controller)
        for _ in range(3):
            await line.write(TIME)
            assert (await line.answer())[0] == 200
        assert await line.is_closed()


async def test_connections_pipelined_requests_are_answered(tmp_path: Path) -> None:
    async with open_controller(tmp_path) as controller:
        line = await RawConnection.open(controller)
        await line.write(TIME * 20)
        assert [(await line.answer())[0] for _ in range(20)] == [200] * 20


async def test_connections_header_in_single_bytes_is_read(tmp_path: Path) -> None:
    async with open_controller(tmp_path) as controller:
        line = await RawConnection.open(controller)
        for at in range(len(TIME)):
            await line.write(TIME[at : at + 1])
            await asyncio.sleep(0)
        assert (await line.answer())[0] == 200


async def test_connections_oversized_headers_are_refused_unread(tmp_path: Path) -> None:
    async with open_controller(tmp_path) as controller:
        for filler in (b"X-A: " + b"a" * 200_000, b"X-A: a\r\n" * 30_000):
            line = await RawConnection.open(controller)
            await line.write(TIME[:-2] + filler)
            status, content = await line.answer()
            assert (status, content["error"]["errCode"]) == (431, "Common.BadRequest")
            assert await line.is_closed()
        line = await RawConnection.open(controller)
        await line.write(TIME[:-2] + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n")
        assert (await line.answer())[0] == 200


async def test_connections_limit_per_address_spares_others(
    tmp_path: Path,
) -> None:
    async with open_controller(tmp_path, max_connections_per_address=3) as controller:
        raw_connections = [await RawConnection.open(controller, "127.0.0.2") for _ in range(3)]
        for line in raw_connections:
            await line.write(TIME)
            assert (await line.answer())[0] == 200
        assert await (await RawConnection.open(controller, "127.0.0.2")).is_closed()
        other = await RawConnection.open(controller)
        await other.write(TIME)
        assert (await other.answer())[0] == 200
        await raw_connections[0].close()

        async def has_room() -> bool:
            line = await RawConnection.open(controller, "127.0.0.2")
            try:
                await line.write(TIME)
                return (await line.answer())[0] == 200
            except (ConnectionError, asyncio.IncompleteReadError):
                return False

        await eventually(has_room, what="room for another connection")


async def test_connections_total_limit_closes_excess(tmp_path: Path) -> None:
    async with open_controller(tmp_path, max_connections=3) as controller:
        raw_connections = [await RawConnection.open(controller, f"127.0.0.{n}") for n in (2, 3, 4)]
        for line in raw_connections:
            await line.write(TIME)
            assert (await line.answer())[0] == 200
        assert await (await RawConnection.open(controller, "127.0.0.5")).is_closed()


class Flood(asyncio.Protocol):
    """Responds with more data than any buffer holds."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(bytes(64 * 2**20))


async def test_connections_unread_response_is_aborted() -> None:
    clock = FakeClock()
    limits = Limits(header_timeout_s=1000, write_timeout_s=60)
    connections = Connections(clock, limits, lambda: b"")
    server = await asyncio.get_running_loop().create_server(
        connections.guard(Flood), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        writer.write(TIME)
        assert await reader.readexactly(1000)  # so it is being answered
        clock.advance(59)
        assert connections.sweep() == 0
        clock.advance(2)
        assert connections.sweep() == 1
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(65 * 2**20)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        server.close()


# --- bodies --------------------------------------------------------------------------------------


async def public_key(session: aiohttp.ClientSession, url: str) -> rsa.RSAPublicKey:
    async with session.get(f"{url}/api/v1/secret") as response:
        text = (await response.json())["data"]["public_key"]
    key = serialization.load_der_public_key(base64.b64decode(text))
    assert isinstance(key, rsa.RSAPublicKey)
    return key


def sign(key: rsa.RSAPublicKey, target: str, keys: bytes, auth: str = PASSWORD) -> str:
    until = int(datetime.now(UTC).timestamp()) + 60
    spelled = base64.b64encode(keys).decode()
    plain = json.dumps({"auth": auth, "ts": str(until), "uri": target, "keys": spelled}).encode()
    blocks = (plain[at : at + 53] for at in range(0, len(plain), 53))
    cipher = b"".join(key.encrypt(block, padding.PKCS1v15()) for block in blocks)
    return base64.b64encode(cipher).decode()


def encrypt(plain: bytes, keys: bytes) -> bytes:
    fill = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(keys[:16]), modes.CBC(keys[16:])).encryptor()
    cipher = encryptor.update(plain + bytes([fill]) * fill) + encryptor.finalize()
    return base64.b64encode(cipher)


CHUNKED = "Transfer-Encoding: chunked"
CHUNK = b"10000\r\n" + b"A" * 65536 + b"\r\n"
READ_FAILED, TOO_LARGE = (400, "Request.Body.ReadFailed"), (413, "Common.BadRequest")


@pytest.mark.parametrize(
    ("length_header", "sent", "expected"),
    [
        ("Content-Length: 64", b"AAAA", READ_FAILED),
        ("Content-Length: 1073741824", b"A" * 1000, TOO_LARGE),
        (CHUNKED, CHUNK, READ_FAILED),
        (CHUNKED, CHUNK * 40, TOO_LARGE),
    ],
    ids=["short", "declared large", "without an end", "large"],
)
async def test_body_incomplete_or_oversized_is_refused_and_closed(
    tmp_path: Path, length_header: str, sent: bytes, expected: tuple[int, str]
) -> None:
    target = "/api/v1/ob/start"
    async with (
        open_controller(tmp_path, body_timeout_s=1) as controller,
        aiohttp.ClientSession() as session,
    ):
        signed = sign(await public_key(session, controller.url), target, secrets.token_bytes(32))
        line = await RawConnection.open(controller)
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nX-OCS-Header: {signed}\r\n"
        head += f"{length_header}\r\n\r\n"
        await line.write(head.encode())
        await line.write(sent)
        status, content = await line.answer()
        assert (status, content["error"]["errCode"]) == expected
        assert await line.is_closed()


async def test_header_undecipherable_is_refused_before_body(
    tmp_path: Path,
) -> None:
    async with open_controller(tmp_path) as controller:
        line = await RawConnection.open(controller)
        await line.write(
            b"POST /api/v1/ob/start HTTP/1.1\r\nHost: x\r\nX-OCS-Header: AAAA\r\n"
            b"Content-Length: 1000000\r\n\r\n"
        )
        status, content = await line.answer()
        assert (status, content["error"]["code"]) == (401, 1)
        assert await line.is_closed()


# --- TLS -----------------------------------------------------------------------------------------


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


# --- the unix socket -----------------------------------------------------------------------------


@asynccontextmanager
async def at_socket(path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(path))
    async with aiohttp.ClientSession("http://any", connector=connector) as session:
        yield session


async def test_unix_socket_needs_no_header_and_audits_peer_uid(
    tmp_path: Path,
) -> None:
    async with (
        open_controller(tmp_path, socket="run/x.sock") as controller,
        at_socket(tmp_path / "run" / "x.sock") as session,
    ):
        answer = await session.post("/api/v1/ob/start", json={"scope": {"type": "GLOBAL"}})
        dag = (await answer.json())["data"]
        assert dag["state"] == "READY"
        audit = await (await session.get(f"/api/v1/task/dag/{dag['id']}/audit")).json()
        peer = f"uid {os.geteuid()} (pid {os.getpid()}) at the socket"
        assert audit["data"]["contents"][0]["by"] == peer
        over_tcp = await session.get(f"{controller.url}/api/v1/info")
        assert over_tcp.status in (200, 400)


async def test_unix_socket_header_is_used_for_body_only(tmp_path: Path) -> None:
    target = "/api/v1/ob/start"
    async with (
        open_controller(tmp_path, socket="x.sock"),
        at_socket(tmp_path / "x.sock") as session,
    ):
        key = await public_key(session, "")
        keys = secrets.token_bytes(32)
        signed = sign(key, "/elsewhere", keys, auth="not the password")
        for _ in range(2):
            answer = await session.post(
                target, headers={"X-OCS-Header": signed}, data=encrypt(b"{}", keys)
            )
            assert (await answer.json())["error"]["errCode"] == "OB.Cluster.Scope.Invalid"
        answer = await session.post(target, headers={"X-OCS-Header": signed}, data=b"{}")
        assert (await answer.json())["error"]["errCode"] == "Common.Unexpected"
        answer = await session.post(target, headers={"X-OCS-Header": "AAAA"}, data=b"{}")
        assert (answer.status, (await answer.json())["error"]["code"]) == (401, 1)


async def test_unix_socket_path_outside_api_returns_plain_text(tmp_path: Path) -> None:
    async with (
        open_controller(tmp_path, socket="x.sock"),
        at_socket(tmp_path / "x.sock") as session,
    ):
        for path in ("/", "/index.html", "/x/api/v1/info"):
            answer = await session.get(path)
            assert (answer.status, await answer.text()) == (404, "404 page not found")
            assert answer.content_type == "text/plain"
        assert (await session.get("/api/v1/none")).content_type == "application/json"


OTHER_USER = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for target in ("/api/v1/info", "/api/v1/task/dags/ob", "/api/v1/none"):
    line = socket.socket(socket.AF_UNIX)
    line.connect(sys.argv[1])
    line.sendall(f"GET {target} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
    answer = b""
    while part := line.recv(65536):
        answer += part
    print(answer.decode().replace("\\r\\n", "|"))
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_unix_socket_other_user_is_refused(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    for directory in (tmp_path, *tmp_path.parents):
        if directory.name.startswith(("test_", "popen-", "pytest-")):
            directory.chmod(0o755)  # pytest keeps its directories to itself
    async with open_controller(tmp_path, socket="x.sock"):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", OTHER_USER, str(tmp_path / "x.sock")],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    answers = done.stdout.splitlines()
    assert len(answers) == 3
    for answer in answers:
        head, _, content = answer.partition("||")
        assert head.startswith("HTTP/1.1 401 ")
        assert "Content-Type: application/json; charset=utf-8" in head
        envelope = json.loads(content)
        assert envelope["error"]["errCode"] == "Security.User.PermissionDenied"
        assert (envelope["traceId"], envelope["duration"]) == ("", 0)
        assert "uid 65534" in envelope["error"]["message"]


def test_listen_at_replaces_stale_socket_and_removes_own(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    stale = listen_at(path)
    stale.__enter__().close()  # as a killed controller leaves it
    assert path.is_socket()
    with listen_at(path):
        assert path.stat().st_mode & 0o777 == 0o666
        with pytest.raises(ConfigError, match="another process listens there"), listen_at(path):
            pass
        assert path.is_socket()
    assert not path.exists()


def test_listen_at_refuses_to_replace_other_file(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ConfigError, match="is not a socket"), listen_at(path):
        pass
    assert path.read_text() == "data"
    with pytest.raises(ConfigError, match="107 bytes"), listen_at(tmp_path / ("x" * 200)):
        pass

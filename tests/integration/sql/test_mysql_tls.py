"""TLS of the MySQL client against scripted peers: what they receive, and who is refused."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from dagengine.mysql import (
    Connection,
    MysqlConnectionLost,
    MysqlError,
    MysqlProtocolError,
    MysqlTimedOut,
    MysqlTlsRefused,
    Tls,
    TlsFailure,
    connect,
    open_connection,
)
from dagengine.store import make_tls_context
from tests.support.authority import Authority
from tests.support.mysql_peer import (
    OK,
    SSL_OFFERED,
    Dialog,
    Peer,
    Script,
    column,
    greeting,
    open_peer,
    packet,
)
from tests.support.mysql_peer import row as row_of

USER, PASSWORD = "store-user", "S3cret"
LIMIT_S = 20.0
TEXT = 253
GREETING = packet(0, greeting(capabilities=SSL_OFFERED))
LOGGED_IN = packet(3, OK)
"""The response to a login over TLS: greeting, request for TLS and login have numbers 0 to 2."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def server_context(files: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


def encrypting(context: ssl.SSLContext) -> Script:
    """Offer TLS, let the client in, and answer one statement."""

    async def script(dialog: Dialog) -> None:
        dialog.send(greeting(capabilities=SSL_OFFERED))
        await dialog.start_tls(context)
        await dialog.read()
        dialog.send(OK)
        await dialog.read()
        end = b"\xfe\0\0\x02\0"
        dialog.send(b"\x01", column(TEXT), end, row_of(b"x"), end)

    return script


async def log_in(peer: Peer, tls: Tls | None, timeout_s: float = LIMIT_S) -> Connection:
    return await connect(peer.address, user=USER, password=PASSWORD, tls=tls, timeout_s=timeout_s)


async def refuse(
    script: Script, authority: Authority, name: str = "127.0.0.1"
) -> tuple[MysqlError, bytes]:
    """Return the error of a login and what the peer received in its MySQL packets."""
    async with open_peer(script) as peer:
        with pytest.raises(MysqlError) as caught:
            await log_in(peer, Tls(make_tls_context(authority.file), name))
        await peer.ended.wait()
        return caught.value, bytes(peer.received)


# --- a server with a valid certificate -----------------------------------------------------------


async def test_login_over_tls_answers_statement(authority: Authority) -> None:
    script = encrypting(server_context(authority.issue("server")))
    tls = Tls(make_tls_context(authority.file), "127.0.0.1")
    async with open_peer(script) as peer:
        async with open_connection(
            peer.address, user=USER, password=PASSWORD, tls=tls, timeout_s=LIMIT_S
        ) as connection:
            assert (await connection.query("SELECT 1")).rows == [("x",)]
        await peer.ended.wait()
        (dialog,) = peer.dialogs
        request, login, _statement = dialog.payloads
    assert len(request) == 32
    assert request == login[:32]
    assert USER.encode() in login


async def test_close_over_tls_does_not_wait_for_peer(authority: Authority) -> None:
    """The peer does not end TLS; the connection is closed nevertheless."""
    context = server_context(authority.issue("server"))
    is_closed = asyncio.Event()

    async def script(dialog: Dialog) -> None:
        plain = dialog.reader
        await encrypting(context)(dialog)
        await dialog.read_to_end()
        assert await plain.read() == b""
        is_closed.set()

    async with open_peer(script) as peer:
        connection = await log_in(peer, Tls(make_tls_context(authority.file), "127.0.0.1"))
        await connection.query("SELECT 1")
        connection.close()
        assert not connection.is_open
        await asyncio.wait_for(is_closed.wait(), LIMIT_S)
        assert peer.received.endswith(b"\x01\0\0\0\x01")  # QUIT


# --- a server without a valid certificate --------------------------------------------------------


Issue = Callable[[Authority], tuple[Path, Path]]


def issue_of_stranger(authority: Authority) -> tuple[Path, Path]:
    directory = authority.file.parent / "stranger"
    directory.mkdir()
    return Authority(directory, "stranger").issue("server")


@pytest.mark.parametrize(
    ("issue", "failure"),
    [
        (issue_of_stranger, TlsFailure.UNTRUSTED),
        (lambda own: own.issue("server", addresses=["127.0.0.2"]), TlsFailure.OTHER_NAME),
        (lambda own: own.issue("server", days=(-3, -1)), TlsFailure.EXPIRED),
        (lambda own: own.issue("server", days=(0.5, 1)), TlsFailure.NOT_YET_VALID),
    ],
)
async def test_invalid_certificate_is_refused(
    authority: Authority, issue: Issue, failure: TlsFailure
) -> None:
    error, received = await refuse(encrypting(server_context(issue(authority))), authority)
    assert isinstance(error, MysqlTlsRefused)
    assert error.failure is failure
    assert len(received) == 36  # the request for TLS


async def test_certificate_for_address_is_refused_for_name(authority: Authority) -> None:
    script = encrypting(server_context(authority.issue("server")))
    error, _ = await refuse(script, authority, "db.example")
    assert isinstance(error, MysqlTlsRefused)
    assert error.failure is TlsFailure.OTHER_NAME
    assert "db.example" in error.message


@pytest.mark.parametrize("name", ["", ".example", "a" * 64])
async def test_name_of_no_certificate_is_refused(authority: Authority, name: str) -> None:
    script = encrypting(server_context(authority.issue("server")))
    error, _ = await refuse(script, authority, name)
    assert isinstance(error, MysqlTlsRefused)
    assert error.failure is TlsFailure.HANDSHAKE


def test_context_that_does_not_verify_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with pytest.raises(ValueError, match="verify"):
        Tls(context, "127.0.0.1")


async def test_peer_that_ends_in_handshake_is_lost(authority: Authority) -> None:
    async def script(dialog: Dialog) -> None:
        dialog.send(greeting(capabilities=SSL_OFFERED))
        await dialog.read()
        dialog.writer.close()

    error, _ = await refuse(script, authority)
    assert type(error) is MysqlConnectionLost
    assert error.message


async def test_peer_silent_in_handshake_times_out(authority: Authority) -> None:
    async def script(dialog: Dialog) -> None:
        dialog.send(greeting(capabilities=SSL_OFFERED))

    tls = Tls(make_tls_context(authority.file), "127.0.0.1")
    async with open_peer(script) as peer:
        with pytest.raises(MysqlTimedOut):
            await log_in(peer, tls, timeout_s=0.2)
        await peer.ended.wait()
        assert USER.encode() not in peer.received


# --- attacks -------------------------------------------------------------------------------------


async def test_offer_of_tls_removed_sends_nothing(authority: Authority) -> None:
    async def script(dialog: Dialog) -> None:
        dialog.send(greeting())

    error, received = await refuse(script, authority)
    assert isinstance(error, MysqlTlsRefused)
    assert error.failure is TlsFailure.NOT_OFFERED
    assert received == b""


async def test_data_before_handshake_is_not_read_as_encrypted(authority: Authority) -> None:
    """The attacker adds a response to the greeting; the server's handshake would succeed."""
    context = server_context(authority.issue("server"))

    async def script(dialog: Dialog) -> None:
        dialog.writer.write(GREETING + LOGGED_IN)
        await dialog.start_tls(context)
        await dialog.read()

    error, received = await refuse(script, authority)
    assert type(error) is MysqlProtocolError
    assert "before the connection was encrypted" in error.message
    assert USER.encode() not in received


async def test_plain_data_in_handshake_is_not_read(authority: Authority) -> None:
    async def script(dialog: Dialog) -> None:
        dialog.send(greeting(capabilities=SSL_OFFERED))
        await dialog.read()
        dialog.writer.write(packet(2, OK) + LOGGED_IN)

    error, received = await refuse(script, authority)
    assert isinstance(error, MysqlTlsRefused)
    assert error.failure is TlsFailure.HANDSHAKE
    assert USER.encode() not in received


async def test_login_refused_in_plain_text_is_not_repeated(authority: Authority) -> None:
    """A server that ends the handshake is not called again without TLS."""

    async def script(dialog: Dialog) -> None:
        dialog.send(greeting(capabilities=SSL_OFFERED))
        await dialog.read()
        dialog.send(b"\xff\x15\x04#HY000no TLS today")

    async with open_peer(script) as peer:
        with pytest.raises(MysqlTlsRefused):
            await log_in(peer, Tls(make_tls_context(authority.file), "127.0.0.1"))
        await peer.ended.wait()
        assert len(peer.dialogs) == 1

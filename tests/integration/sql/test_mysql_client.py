"""The MySQL client against scripted peers: the bytes they receive, and the errors of callers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import traceback
from collections.abc import Awaitable, Iterator
from functools import partial
from pathlib import Path

import aiomysql
import pytest

from dagengine.mysql import (
    Connection,
    MysqlAccessDenied,
    MysqlAuthPluginRefused,
    MysqlConnectionLost,
    MysqlError,
    MysqlProtocolError,
    MysqlRequestRefused,
    MysqlServerError,
    MysqlTimedOut,
    Options,
    connect,
    open_connection,
)
from dagengine.testing import eventually
from tasks.sql.connection import (
    SqlNotReady,
    SqlPasswordRefused,
    login,
    query_rows,
    query_version,
    set_root_password,
)
from tests.support.mysql_peer import (
    EOF,
    NATIVE,
    OK,
    SALT,
    Dialog,
    Peer,
    Script,
    column,
    greeting,
    open_peer,
)
from tests.support.mysql_peer import row as row_of

PASSWORD = "S3cret-pä\N{EURO SIGN}"
ALSO_LATIN_1 = "S3cret-pä"
LIMIT_S = 20.0
TEXT, SHORT_S = 253, 0.05


def disclosures(password: str) -> Iterator[bytes]:
    """Return all encodings of a password that no peer may receive."""
    encodings = ["utf-8", "utf-16-le", "utf-16-be"]
    with contextlib.suppress(UnicodeEncodeError):
        password.encode("latin-1")
        encodings.append("latin-1")
    for encoding in encodings:
        raw = password.encode(encoding)
        yield raw
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        for algorithm in ("sha256", "sha1"):
            digest = hashlib.new(algorithm, raw)
            yield digest.digest()
            yield digest.hexdigest().encode()
            # caching_sha2_password and its like: the password masked with the salt.
            mask = SALT * (len(raw) // len(SALT) + 1)
            yield bytes(a ^ b for a, b in zip(raw, mask, strict=False))
        yield hashlib.sha1(hashlib.sha1(raw).digest()).digest()


def sending(*payloads: bytes, then: tuple[bytes, ...] = ()) -> Script:
    """Greet, read the login, send these; after the client's next packet, the others."""

    async def script(dialog: Dialog) -> None:
        dialog.send(greeting())
        await dialog.read()
        dialog.send(*payloads)
        if then:
            await dialog.read()
            dialog.send(*then)

    return script


def greeting_with(payload: bytes) -> Script:
    async def script(dialog: Dialog) -> None:
        dialog.send(payload)

    return script


def answering(*payloads: bytes) -> Script:
    """Let the client in, read a statement, send these."""

    async def script(dialog: Dialog) -> None:
        await dialog.let_in()
        await dialog.read()
        dialog.send(*payloads)

    return script


def raw(data: bytes, *, closes: bool = True) -> Script:
    async def script(dialog: Dialog) -> None:
        dialog.writer.write(data)
        await dialog.writer.drain()
        if closes:
            dialog.writer.close()

    return script


async def log_in(peer: Peer, password: str = PASSWORD, timeout_s: float = LIMIT_S) -> Connection:
    return await connect(peer.address, user="root", password=password, timeout_s=timeout_s)


LOGINS: dict[str, tuple[Script, type[MysqlError]]] = {
    "http": (raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), MysqlProtocolError),
    "nothing": (raw(b""), MysqlConnectionLost),
    "half a header": (raw(b"\x4a\0"), MysqlConnectionLost),
    "half a greeting": (raw(b"\x4a\0\0\0\x0a8.0"), MysqlConnectionLost),
    "16 MiB announced": (raw(b"\xff\xff\xff\0", closes=False), MysqlProtocolError),
    "bad version": (greeting_with(b"\x0aX\xff\0"), MysqlProtocolError),
    "short greeting": (greeting_with(b"\x0a8.0\0"), MysqlProtocolError),
    "empty packet": (greeting_with(b""), MysqlProtocolError),
    "greeting is an error": (greeting_with(b"\xff\x6a\x04Host blocked"), MysqlServerError),
    "greets clear": (
        greeting_with(greeting(plugin=b"mysql_clear_password")),
        MysqlAuthPluginRefused,
    ),
    "greets sha256": (greeting_with(greeting(plugin=b"sha256_password")), MysqlAuthPluginRefused),
    "greets dialog": (greeting_with(greeting(plugin=b"dialog")), MysqlAuthPluginRefused),
    "greets unknown": (greeting_with(greeting(plugin=b"\xff\xfe")), MysqlAuthPluginRefused),
    "no plugins": (greeting_with(greeting(capabilities=0xA208)), MysqlProtocolError),
    "clear": (sending(b"\xfemysql_clear_password\0"), MysqlAuthPluginRefused),
    "clear with salt": (sending(b"\xfemysql_clear_password\0" + SALT), MysqlAuthPluginRefused),
    "old password": (sending(b"\xfe"), MysqlAuthPluginRefused),
    "dialog": (sending(b"\xfedialog\0\x04Password: "), MysqlAuthPluginRefused),
    "sha256": (sending(b"\xfesha256_password\0" + SALT + b"\0"), MysqlAuthPluginRefused),
    "caching sha2": (
        sending(b"\xfecaching_sha2_password\0" + SALT + b"\0"),
        MysqlAuthPluginRefused,
    ),
    "client_ed25519": (sending(b"\xfeclient_ed25519\0" + bytes(32)), MysqlAuthPluginRefused),
    "full authentication": (sending(b"\x01\x04"), MysqlAuthPluginRefused),
    "public key": (sending(b"\x01-----BEGIN PUBLIC KEY-----\n"), MysqlAuthPluginRefused),
    "switch with a short salt": (sending(b"\xfe" + NATIVE + b"\0short\0"), MysqlProtocolError),
    "switch twice": (
        sending(
            b"\xfe" + NATIVE + b"\0" + SALT + b"\0", then=(b"\xfe" + NATIVE + b"\0" + SALT + b"\0",)
        ),
        MysqlProtocolError,
    ),
    "switch, then clear": (
        sending(b"\xfe" + NATIVE + b"\0" + SALT + b"\0", then=(b"\xfemysql_clear_password\0",)),
        MysqlAuthPluginRefused,
    ),
    "switch, then full": (
        sending(b"\xfe" + NATIVE + b"\0" + SALT + b"\0", then=(b"\x01\x04",)),
        MysqlAuthPluginRefused,
    ),
    "local infile": (sending(b"\xfb/etc/passwd"), MysqlProtocolError),
    "short ok": (sending(b"\0"), MysqlProtocolError),
    "error not utf-8": (
        sending(b"\xff\x15\x04#\xff\xff\xff\xff\xff\xffbad\xff"),
        MysqlAccessDenied,
    ),
    "error cut off": (sending(b"\xff\x15"), MysqlProtocolError),
    "error with controls": (sending(b"\xff\x15\x05#HY000\x1b[2J\nWARN"), MysqlServerError),
    "denied": (sending(b"\xff\x15\x04#28000Access denied"), MysqlAccessDenied),
}


@pytest.mark.parametrize("password", [PASSWORD, ALSO_LATIN_1])
@pytest.mark.parametrize("name", LOGINS)
async def test_login_hostile_peer_is_refused_unharmed(name: str, password: str) -> None:
    script, error = LOGINS[name]
    async with open_peer(script) as peer:
        with pytest.raises(MysqlError) as caught:
            await log_in(peer, password)
        await asyncio.wait_for(peer.ended.wait(), LIMIT_S)
    assert type(caught.value) is error
    assert not caught.value.result_unknown
    assert str(caught.value).isprintable()
    assert password not in repr(caught.value)
    received = bytes(peer.received)
    assert [form for form in disclosures(password) if form in received] == []
    if "greet" in name:
        assert received == b""
    for payload in peer.dialogs[0].payloads[1:]:
        assert len(payload) == 20  # a second proof, and nothing else


async def test_login_wrong_sequence_is_refused() -> None:
    async def script(dialog: Dialog) -> None:
        dialog.send(greeting())
        await dialog.read()
        dialog.sequence = 77
        dialog.send(OK)

    async with open_peer(script) as peer:
        with pytest.raises(MysqlProtocolError, match="packet number 77 instead of 2"):
            await log_in(peer)


@pytest.mark.parametrize(
    "script",
    [
        raw(b"", closes=False),
        raw(b"\x4a\0\0\0\x0a", closes=False),
        sending(),
        sending(b"\xfe" + NATIVE + b"\0" + SALT + b"\0"),
    ],
)
async def test_login_silent_peer_times_out(script: Script) -> None:
    async with open_peer(script) as peer:
        with pytest.raises(MysqlTimedOut, match=r"no complete response within 0\.05 s"):
            await log_in(peer, timeout_s=SHORT_S)
        await asyncio.wait_for(peer.ended.wait(), LIMIT_S)  # the client has closed


async def test_login_nothing_listens_is_connection_lost(tmp_path: Path) -> None:
    async with open_peer(raw(b"")) as peer:
        pass
    for address in (peer.address, tmp_path / "none.sock", tmp_path / ("x" * 200), ("::1", 99999)):
        with pytest.raises(MysqlConnectionLost):
            await connect(address, user="root", password=PASSWORD)


async def test_login_after_switch_sends_proof_of_new_salt() -> None:
    salt = b"another salt of  20 "
    switch = b"\xfe" + NATIVE + b"\0" + salt + b"\0"
    async with open_peer(sending(switch, then=(OK,))) as peer:
        (await log_in(peer)).close()
        await asyncio.wait_for(peer.ended.wait(), LIMIT_S)
    login, proof = peer.dialogs[0].payloads[:2]
    once = hashlib.sha1(PASSWORD.encode()).digest()
    mask = hashlib.sha1(salt + hashlib.sha1(once).digest()).digest()
    assert proof == bytes(a ^ b for a, b in zip(once, mask, strict=True))
    assert login.endswith(NATIVE + b"\0")


async def test_login_hook_runs_before_anything_is_sent() -> None:
    heard: list[bytes] = []

    async def check() -> None:
        heard.append(bytes(peer.received))

    async with open_peer(sending(OK)) as peer:
        connection = await connect(peer.address, user="root", password=PASSWORD, before_login=check)
        connection.close()
    assert heard == [b""]


@pytest.mark.parametrize("error", [LookupError("another process"), TimeoutError("the host")])
async def test_login_hook_that_raises_ends_login_unsent(error: Exception) -> None:
    async def check() -> None:
        raise error

    async with open_peer(sending(OK)) as peer:
        with pytest.raises(type(error)) as caught:
            await connect(peer.address, user="root", password=PASSWORD, before_login=check)
        await asyncio.wait_for(peer.ended.wait(), LIMIT_S)
    assert caught.value is error
    assert peer.received == b""


async def test_login_without_autocommit_requests_it() -> None:
    async with open_peer(sending(b"\0\0\0\0\0\0\0")) as peer:
        with pytest.raises(MysqlTimedOut):
            await log_in(peer, timeout_s=SHORT_S)
        await asyncio.wait_for(peer.ended.wait(), LIMIT_S)
    assert peer.received.endswith(b"\x03SET autocommit = 1")


ANSWERS: dict[str, tuple[bytes, ...]] = {
    "local infile": (b"\xfb/etc/passwd",),
    "bad column": (b"\x01", b"\x03de"),
    "huge number of columns": (b"\xfe" + b"\xff" * 8,),
    "no columns": (b"\xfc\0\0",),
    "bad text": (b"\x01", column(TEXT), EOF, row_of(b"\xff\xfe\xfd"), EOF),
    "bad date": (b"\x01", column(12), EOF, row_of(b"\xff"), EOF),
    "row too short": (b"\x02", column(TEXT), column(TEXT), EOF, row_of(b"a"), EOF),
    "row of another size": (b"\x01", column(TEXT), EOF, b"\x7fshort"),
    "empty packet": (b"",),
    "more results": (b"\0\0\0\x0a\0\0\0", OK),
    "error cut off": (b"\xff",),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_query_malformed_answer_closes_connection(name: str) -> None:
    async with open_peer(answering(*ANSWERS[name])) as peer:
        connection = await log_in(peer)
        with pytest.raises(MysqlProtocolError) as caught:
            await connection.query("select 1")
        assert caught.value.result_unknown
        assert not connection.is_open
        with pytest.raises(MysqlConnectionLost) as second_error:
            await connection.query("select 2")
        assert not second_error.value.result_unknown
        await asyncio.wait_for(peer.ended.wait(), LIMIT_S)
    assert len(peer.dialogs[0].payloads) == 2  # no file, and no second statement
    assert b"select 2" not in peer.received


async def test_query_lost_before_answer_is_unknown() -> None:
    async def script(dialog: Dialog) -> None:
        await dialog.let_in()
        await dialog.read()
        dialog.writer.write(b"\x01\0\0")
        dialog.writer.close()

    async with open_peer(script) as peer:
        connection = await log_in(peer)
        with pytest.raises(MysqlConnectionLost) as caught:
            await connection.query("update t set a = 1")
        assert caught.value.result_unknown


async def test_query_error_leaves_connection_open() -> None:
    async def script(dialog: Dialog) -> None:
        await dialog.let_in()
        for answer in (b"\xff\x88\x13#42000bad\x1b[0m", OK):
            await dialog.read()
            dialog.send(answer)

    async with open_peer(script) as peer:
        connection = await log_in(peer)
        with pytest.raises(MysqlServerError) as caught:
            await connection.query("bad")
        assert (caught.value.number, caught.value.text) == (5000, "bad\\x1b[0m")
        assert not caught.value.result_unknown
        assert (await connection.query("good")).affected_rows == 0
        connection.close()
        await asyncio.wait_for(peer.ended.wait(), LIMIT_S)
    assert peer.received.endswith(b"\x01\0\0\0\x01")  # COM_QUIT


@pytest.mark.parametrize("answer", [(), (b"\x01", column(TEXT), EOF, row_of(b"a"))])
async def test_query_time_out_closes_connection(answer: tuple[bytes, ...]) -> None:
    async with open_peer(answering(*answer)) as peer:
        connection = await log_in(peer)
        with pytest.raises(MysqlTimedOut) as caught:
            await connection.query("select sleep(9)", timeout_s=SHORT_S)
        assert caught.value.result_unknown
        assert not connection.is_open
        await asyncio.wait_for(peer.ended.wait(), LIMIT_S)


async def test_query_cancelled_closes_connection() -> None:
    has_asked = asyncio.Event()

    async def script(dialog: Dialog) -> None:
        await dialog.let_in()
        await dialog.read()
        has_asked.set()

    async with open_peer(script) as peer:
        connection = await log_in(peer)
        query_task = asyncio.create_task(connection.query("select 1"), name="ask")
        await asyncio.wait_for(has_asked.wait(), LIMIT_S)
        with pytest.raises(MysqlRequestRefused, match="in progress"):
            await connection.query("select 2")
        query_task.cancel()
        await asyncio.wait([query_task])
        assert query_task.cancelled()
        assert not connection.is_open
        await asyncio.wait_for(peer.ended.wait(), LIMIT_S)


@pytest.mark.parametrize("statement", ["select '\ud800'", "x" * (16 << 20)])
async def test_query_that_cannot_be_sent_leaves_connection_open(statement: str) -> None:
    async with open_peer(answering(OK)) as peer:
        connection = await log_in(peer)
        with pytest.raises(MysqlRequestRefused) as caught:
            await connection.query(statement)
        assert not caught.value.result_unknown
        assert (await connection.query("good")).columns == ()
        connection.close()


async def test_query_unsolicited_bytes_close_connection() -> None:
    async with open_peer(answering(OK, OK)) as peer:
        connection = await log_in(peer)
        await connection.query("one")
        with pytest.raises(MysqlConnectionLost) as caught:
            await connection.query("two")
        assert not caught.value.result_unknown
    assert b"two" not in peer.received


async def test_query_answer_in_single_bytes_is_read() -> None:
    answer = (b"\x01", column(TEXT), EOF, row_of(b"x" * 300), row_of(None), EOF)

    async def script(dialog: Dialog) -> None:
        await dialog.let_in()
        await dialog.read()
        writer, dialog.writer = dialog.writer, _Collected()  # type: ignore[assignment]
        dialog.send(*answer)
        for byte in dialog.writer.data:  # type: ignore[attr-defined]
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        dialog.writer = writer

    async with open_peer(script) as peer:
        connection = await log_in(peer)
        assert (await connection.query("select")).rows == [("x" * 300,), (None,)]
        connection.close()


class _Collected:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data


async def test_open_connection_closes_connection_at_exit() -> None:
    async with open_peer(sending(OK)) as peer:
        async with open_connection(
            peer.address, user="u", password="", options=Options("db", found_rows=True)
        ) as connection:
            assert connection.greeting.version == "8.0.0-peer"
        assert not connection.is_open
        await asyncio.wait_for(peer.ended.wait(), LIMIT_S)
    assert peer.dialogs[0].payloads[0].endswith(b"u\0\0db\0" + NATIVE + b"\0")


@pytest.mark.parametrize("name", LOGINS)
async def test_tasks_login_hostile_peer_is_one_of_two_errors(name: str, tmp_path: Path) -> None:
    async with open_peer(LOGINS[name][0], tmp_path / "s"):
        with pytest.raises((SqlNotReady, SqlPasswordRefused)):
            async with login(tmp_path / "s", PASSWORD):
                pass


@pytest.mark.parametrize("name", ANSWERS)
async def test_tasks_query_malformed_answer_is_not_ready(name: str, tmp_path: Path) -> None:
    for run_query in (query_version, partial(query_rows, statement="select 1")):
        peer = open_peer(answering(*ANSWERS[name]), tmp_path / "s")
        async with peer, login(tmp_path / "s", PASSWORD) as connection:
            with pytest.raises(SqlNotReady):
                await run_query(connection)
        (tmp_path / "s").unlink()


@pytest.mark.parametrize(
    ("raw_version", "expected"),
    [
        (b"4.4", "4.4"),
        (b"\x1b[31m4\nfake", "\\x1b[31m4\\x0afake"),
        (b"A" * 60_000, "A" * 200 + "…"),
    ],
)
async def test_tasks_version_is_shown_on_one_line(
    raw_version: bytes, expected: str, tmp_path: Path
) -> None:
    answer = (b"\x01", column(TEXT), EOF, row_of(raw_version), EOF)
    peer = open_peer(answering(*answer), tmp_path / "s")
    async with peer, login(tmp_path / "s", PASSWORD) as connection:
        assert await query_version(connection) == expected


async def test_tasks_new_password_refused_is_not_in_error(tmp_path: Path) -> None:
    error = b"\xff\x28\x04#42000near '" + PASSWORD.encode()
    peer = open_peer(answering(error), tmp_path / "s")
    async with peer, login(tmp_path / "s", "") as connection:
        with pytest.raises(SqlNotReady) as caught:
            await set_root_password(connection, PASSWORD)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


async def test_tasks_login_hook_runs_before_proof(tmp_path: Path) -> None:
    async def raise_refusal() -> None:
        raise LookupError("another process listens")

    async with open_peer(sending(OK), tmp_path / "s") as peer:
        with pytest.raises(LookupError):
            async with login(tmp_path / "s", PASSWORD, before_login=raise_refusal):
                pass
        await asyncio.wait_for(peer.ended.wait(), LIMIT_S)
    assert peer.received == b""


async def test_control_aiomysql_sends_password_in_clear() -> None:
    """The recordings can show a disclosure: aiomysql obeys the switch."""
    async with open_peer(LOGINS["clear"][0]) as peer:
        host, port = peer.address
        logging_in: Awaitable[object] = aiomysql.connect(
            host=host, port=port, user="root", password=ALSO_LATIN_1
        )
        task = asyncio.ensure_future(logging_in)

        async def is_disclosed() -> bool:
            return any(form in bytes(peer.received) for form in disclosures(ALSO_LATIN_1))

        try:
            await eventually(is_disclosed, what="a disclosure")
        finally:
            task.cancel()
            await asyncio.wait([task])

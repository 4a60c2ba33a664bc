"""The MySQL client's parsers: any input from the peer yields a value or a MySQL client error."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dagengine.mysql import (
    Bounds,
    MysqlAccessDenied,
    MysqlAuthPluginRefused,
    MysqlError,
    MysqlProtocolError,
    MysqlRequestRefused,
    MysqlServerError,
    Options,
    Value,
    hex_literal,
    quote_text,
    show_text,
)
from dagengine.mysql.answer import Answer, parse_column
from dagengine.mysql.packets import MAX_PACKET_BYTES, PacketBuffer, frame, read_length
from dagengine.mysql.protocol import (
    Capability,
    parse_auth_switch,
    parse_error,
    parse_greeting,
    parse_ok,
    render_login,
    scramble,
)
from dagengine.mysql.wire import Wire
from tests.support.mysql_peer import EOF, OK, SALT, column, greeting, row

TEXT, INT, DECIMAL, DOUBLE, NULL, JSON, BLOB, TIME = 253, 8, 246, 5, 6, 245, 252, 12
PASSWORDS = ["secret", "pä\N{EURO SIGN}ss", "\N{GRINNING FACE}", "a" * 5000]


CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@contextmanager
def refusal() -> Iterator[None]:
    """Require that the block succeeds or raises a MySQL client error that fits on one line."""
    displayed = ""
    try:
        yield
    except MysqlError as exc:
        displayed = str(exc)
    assert CONTROLS.search(displayed) is None


def read_answer(*payloads: bytes, multi: bool = False, bounds: Bounds | None = None) -> Answer:
    answer = Answer(bounds or Bounds(), multi_statements=multi)
    for payload in payloads:
        answer.take(payload)
    return answer


def one_value(code: int, raw: bytes, charset: int = 45) -> Value:
    answer = read_answer(b"\x01", column(code, charset), EOF, row(raw), EOF)
    assert answer.is_complete
    return answer.results[0].rows[0][0]


# --- packets -----------------------------------------------------------------------


def test_packet_buffer_any_chunks_keep_payload_order() -> None:
    payloads = [b"", b"x", bytes(300), *(bytes([n]) for n in range(254))]
    stream = b"".join(frame(payload, n) for n, payload in enumerate(payloads))
    for size in (1, 3, 7, len(stream)):
        buffer, received = PacketBuffer(), []
        for at in range(0, len(stream), size):
            buffer.feed(stream[at : at + size])
            while (payload := buffer.take()) is not None:
                received.append(payload)
        assert received == payloads
        assert len(buffer) == 0


@pytest.mark.parametrize(
    ("header", "words"),
    [(b"HTTP", "packet number 80"), (b"\x01\0\0\x01", "number 1 instead of 0")],
)
def test_packet_buffer_wrong_sequence_is_refused(header: bytes, words: str) -> None:
    buffer = PacketBuffer()
    buffer.feed(header)
    with pytest.raises(MysqlProtocolError, match=words):
        buffer.take()


def test_packet_buffer_16_mib_packet_is_refused_by_header() -> None:
    buffer = PacketBuffer()
    buffer.feed(b"\xff\xff\xff\0")
    with pytest.raises(MysqlProtocolError, match="more than 16777214 bytes"):
        buffer.take()


def test_frame_payload_too_large_is_refused() -> None:
    assert len(frame(bytes(MAX_PACKET_BYTES), 255)) == MAX_PACKET_BYTES + 4
    with pytest.raises(MysqlRequestRefused):
        frame(bytes(MAX_PACKET_BYTES + 1), 0)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"\0", 0),
        (b"\xfa", 250),
        (b"\xfc\x01\x02", 0x201),
        (b"\xfd\x01\x02\x03", 0x30201),
        (b"\xfe" + b"\xff" * 8, 2**64 - 1),
    ],
)
def test_read_length_valid_is_decoded(raw: bytes, value: int) -> None:
    assert read_length(raw, 0) == (value, len(raw))


@pytest.mark.parametrize(
    "raw", [b"", b"\xfb", b"\xff", b"\xfc\x01", b"\xfd\0\0", b"\xfe" + bytes(7)]
)
def test_read_length_invalid_is_refused(raw: bytes) -> None:
    with pytest.raises(MysqlProtocolError):
        read_length(raw, 0)


class Pipe(asyncio.Transport):
    """A transport that records its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def abort(self) -> None:
        self.calls.append("abort")


async def test_wire_unread_bytes_pause_reading_until_read() -> None:
    wire, pipe = Wire(), Pipe()
    wire.connection_made(pipe)
    for _ in range(5):
        wire.data_received(bytes(100_000))
    assert pipe.calls == ["pause"]
    wire = Wire()
    wire.connection_made(pipe)
    wire.data_received(frame(bytes(400_000), 0)[:-1])
    reading = asyncio.create_task(wire.receive(), name="read")
    await asyncio.sleep(0)
    assert pipe.calls == ["pause", "pause", "resume"]
    wire.data_received(b"x")
    assert len(await reading) == 400_000
    wire.abort("enough")
    assert pipe.calls[-1] == "abort"


# --- login -------------------------------------------------------------------------


def test_parse_greeting_valid_is_read() -> None:
    parsed = parse_greeting(greeting())
    assert (parsed.version, parsed.thread_id, parsed.salt) == ("8.0.0-peer", 1, SALT)
    assert parse_greeting(greeting(plugin=b"caching_sha2_password")).salt == SALT


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "within a field"),
        (b"\x09old\0", "does not greet"),
        (b"\x0a8.0", "is not terminated"),
        (b"\x0a8.0\0", "within a field"),
        (greeting(capabilities=0x208), "SECURE_CONNECTION, PLUGIN_AUTH"),
        (greeting(salt=bytes(20) + b"x" * 20), "salt"),
        (greeting()[:-1], "is not terminated"),
    ],
)
def test_parse_greeting_malformed_is_refused(payload: bytes, words: str) -> None:
    with pytest.raises(MysqlProtocolError, match=words):
        parse_greeting(payload)


@pytest.mark.parametrize(
    "plugin", [b"mysql_clear_password", b"sha256_password", b"dialog", b"\xff\xfe", b""]
)
def test_parse_greeting_other_plugin_is_refused(plugin: bytes) -> None:
    with pytest.raises(MysqlAuthPluginRefused):
        parse_greeting(greeting(plugin=plugin))


def test_parse_greeting_error_packet_raises_server_error() -> None:
    with pytest.raises(MysqlServerError, match="Too many") as caught:
        parse_greeting(b"\xff\x10\x04Too many connections")
    assert (caught.value.number, caught.value.sqlstate) == (1040, "")


@pytest.mark.parametrize(
    ("options", "more"),
    [
        (Options(), Capability(0)),
        (Options(database="d"), Capability.CONNECT_WITH_DB),
        (Options(found_rows=True), Capability.FOUND_ROWS),
        (
            Options(multi_statements=True),
            Capability.MULTI_STATEMENTS | Capability.MULTI_RESULTS,
        ),
    ],
)
@pytest.mark.parametrize("offered", [0xFFFFFFFF, 0x000BA20A])
def test_render_login_flags_do_not_depend_on_offer(
    options: Options, more: Capability, offered: int
) -> None:
    greeted = parse_greeting(greeting(capabilities=offered))
    login_packet = render_login(greeted, "root", "secret", options)
    flags = int.from_bytes(login_packet[:4], "little")
    assert flags == 0x0008A201 | more
    assert not flags & (1 << 7)  # LOCAL_FILES
    assert login_packet[8] == 45  # utf8mb4
    assert login_packet.endswith(b"mysql_native_password\0")


def test_render_login_option_not_offered_is_refused() -> None:
    greeted = parse_greeting(greeting(capabilities=0x0008A200))
    for options in (Options("d"), Options(found_rows=True), Options(multi_statements=True)):
        with pytest.raises(MysqlProtocolError, match="lacks the capability"):
            render_login(greeted, "root", "secret", options)


@pytest.mark.parametrize("password", PASSWORDS)
def test_scramble_is_verifiable_by_server(password: str) -> None:
    # As a server does: from the stored SHA1(SHA1(password)) and the salt.
    stored = hashlib.sha1(hashlib.sha1(password.encode()).digest()).digest()
    response = scramble(password, SALT)
    first_hash = bytes(
        a ^ b for a, b in zip(response, hashlib.sha1(SALT + stored).digest(), strict=True)
    )
    assert hashlib.sha1(first_hash).digest() == stored


def test_scramble_empty_password_is_empty() -> None:
    assert scramble("", SALT) == b""
    login_packet = render_login(parse_greeting(greeting()), "root", "", Options())
    assert login_packet[32:] == b"root\0\0mysql_native_password\0"


@pytest.mark.parametrize(("user", "password"), [("ro\0ot", "x"), ("\ud800", "x"), ("r", "\udfff")])
def test_render_login_unsendable_text_is_refused(user: str, password: str) -> None:
    with pytest.raises(MysqlRequestRefused) as caught:
        render_login(parse_greeting(greeting()), user, password, Options())
    assert caught.value.__cause__ is None
    assert "\\ud" not in repr(caught.value)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"\xfe", MysqlAuthPluginRefused),
        (b"\xfemysql_clear_password\0", MysqlAuthPluginRefused),
        (b"\xfesha256_password\0" + SALT + b"\0", MysqlAuthPluginRefused),
        (b"\xfedialog\0Password: ", MysqlAuthPluginRefused),
        (b"\xfemysql_native_password", MysqlProtocolError),
        (b"\xfemysql_native_password\0", MysqlProtocolError),
        (b"\xfemysql_native_password\0" + SALT[:19], MysqlProtocolError),
        (b"\xfemysql_native_password\0" + SALT + b"x", MysqlProtocolError),
        (b"\xfemysql_native_password\0" + SALT + b"\0\0", MysqlProtocolError),
    ],
)
def test_parse_auth_switch_other_plugin_is_refused(payload: bytes, error: type[MysqlError]) -> None:
    with pytest.raises(error):
        parse_auth_switch(payload)


@pytest.mark.parametrize("end", [b"", b"\0"])
def test_parse_auth_switch_native_plugin_gives_salt(end: bytes) -> None:
    assert parse_auth_switch(b"\xfemysql_native_password\0" + SALT + end) == SALT


def test_parse_error_text_is_one_escaped_line() -> None:
    parsed = parse_error(
        b"\xff\x15\x05#HY000\x1b[2J\x1b]0;pwned\x07 evil\nWARN \xff\xc2\x9b\xe2\x80\xae"
    )
    assert parsed.text == "\\x1b[2J\\x1b]0;pwned\\x07 evil\\x0aWARN \ufffd\\x9b\\u202e"
    assert (parsed.number, parsed.sqlstate) == (1301, "HY000")
    assert len(parse_error(b"\xff\x15\x05" + b"a" * 100_000).text) == 501
    assert isinstance(parse_error(b"\xff\x15\x04#28000no"), MysqlAccessDenied)
    with pytest.raises(MysqlProtocolError):
        parse_error(b"\xff\x15")


def test_parse_ok_is_read() -> None:
    ok_packet = parse_ok(b"\0\xfc\x01\x02\x07\x02\0\x03\0whatever")
    assert (
        ok_packet.affected_rows,
        ok_packet.last_insert_id,
        ok_packet.status,
        ok_packet.warnings,
    ) == (513, 7, 2, 3)


# --- responses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "raw", "value"),
    [
        (INT, b"-12", -12),
        (1, b"0", 0),
        (INT, b"18446744073709551615", 2**64 - 1),
        (DECIMAL, b"1.50", Decimal("1.50")),
        (DECIMAL, b"-.5", Decimal("-0.5")),
        (DOUBLE, b"-1.5e-7", -1.5e-7),
        (TEXT, "ä\N{GRINNING FACE}".encode(), "ä\N{GRINNING FACE}"),
        (TEXT, b"", ""),
        (TEXT, b"x" * 70_000, "x" * 70_000),
        (BLOB, b"text", "text"),
        (TIME, b"2024-01-10 11:24:44.000000", "2024-01-10 11:24:44.000000"),
    ],
)
def test_answer_value_is_decoded_by_type(code: int, raw: bytes, value: Value) -> None:
    decoded = one_value(code, raw)
    assert (decoded, type(decoded)) == (value, type(value))


def test_answer_value_of_binary_charset_is_bytes() -> None:
    assert one_value(TEXT, b"\xff\0", charset=63) == b"\xff\0"
    assert one_value(BLOB, b"\xff\0", charset=63) == b"\xff\0"
    assert one_value(JSON, "ä".encode(), charset=63) == "ä"
    assert one_value(16, b"\x01", charset=63) == b"\x01"


@pytest.mark.parametrize(
    ("code", "raw"),
    [
        (INT, b""),
        (INT, b"1e3"),
        (INT, b" 1"),
        (INT, b"1_0"),
        (INT, "\N{ARABIC-INDIC DIGIT ONE}".encode()),
        (INT, b"9" * 5000),
        (DECIMAL, b"NaN"),
        (DECIMAL, b"1e999999999"),
        (DOUBLE, b"inf"),
        (DOUBLE, b"1e999"),
        (DOUBLE, b"0x1"),
        (TEXT, b"\xff\xfe\xfd"),
        (JSON, b"\xff"),
        (TIME, b"2024-01-1\xd9\xa0"),
        (NULL, b"x"),
    ],
)
def test_answer_value_of_wrong_type_is_refused(code: int, raw: bytes) -> None:
    with pytest.raises(MysqlProtocolError):
        one_value(code, raw)


@pytest.mark.parametrize(
    "payloads",
    [
        (b"",),
        (b"\xfb/etc/passwd",),
        (b"\xfe" + b"\xff" * 8,),
        (b"\xfc\xff\xff",),
        (b"\x01\x00",),
        (b"\x01", b"\x03de"),
        (b"\x01", column(99)),
        (b"\x01", column(TEXT) + b"x"),
        (b"\x01", column(TEXT), column(TEXT)),
        (b"\x01", column(TEXT), EOF, b""),
        (b"\x01", column(TEXT), EOF, row(b"a", b"b")),
        (b"\x01", column(TEXT), EOF, b"\x05abc"),
        (b"\x01", column(TEXT), EOF, b"\xff"),
        (b"\x01", column(TEXT), EOF, row(b"a"), b"\xfe\0\0"),
        (b"\0",),
        (b"\0\0\0\x0a\0\0\0",),
        (OK, OK),
    ],
)
def test_answer_malformed_is_refused(payloads: tuple[bytes, ...]) -> None:
    with pytest.raises(MysqlProtocolError):
        read_answer(*payloads)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (Bounds(columns=1), "2 columns"),
        (Bounds(rows=2), "2 rows"),
        (Bounds(values=5), "5 values"),
        (Bounds(answer_bytes=60), "60 bytes"),
    ],
)
def test_answer_beyond_bound_is_refused(bounds: Bounds, words: str) -> None:
    payloads = [b"\x02", column(TEXT), column(TEXT), EOF, *[row(b"a", b"b")] * 3, EOF]
    assert read_answer(*payloads).results[0].rows == [("a", "b")] * 3
    with pytest.raises(MysqlProtocolError, match=words):
        read_answer(*payloads, bounds=bounds)


def test_answer_multiple_results_need_multi_statements() -> None:
    more = b"\0\x01\0\x0a\0\0\0"
    results = read_answer(more, b"\x01", column(INT), EOF, row(None), EOF, multi=True).results
    assert [(r.affected_rows, list(r.rows)) for r in results] == [(1, []), (0, [(None,)])]
    with pytest.raises(MysqlServerError):
        read_answer(more, b"\xff\x15\x05bad", multi=True)
    with pytest.raises(MysqlProtocolError, match="more results"):
        read_answer(more, OK)


@given(st.binary(max_size=200))
@example(b"\xfe")
def test_login_parsers_any_bytes_raise_only_mysql_error(raw: bytes) -> None:
    for parse in (parse_greeting, parse_auth_switch, parse_ok, parse_error, parse_column):
        for payload in (raw, b"\x0a" + raw, b"\xfemysql_native_password\0" + raw):
            with refusal():
                parse(payload)


PACKETS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([OK, EOF, b"\x01", b"\x02", b"\xfb", b"\xff\x15\x05x", row(b"1"), row(None)]),
    st.builds(column, st.integers(0, 255), st.sampled_from([45, 63])),
)


@given(st.lists(PACKETS, max_size=12), st.booleans())
def test_answer_any_packets_raise_only_mysql_error(packets: list[bytes], multi: bool) -> None:
    with refusal():
        read_answer(*packets, multi=multi)


@given(st.integers(0, 255), st.binary(max_size=30))
def test_answer_any_value_raises_only_mysql_error(code: int, raw: bytes) -> None:
    with refusal():
        one_value(code, raw)


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_packet_buffer_any_bytes_raise_only_mysql_error(chunks: list[bytes]) -> None:
    buffer = PacketBuffer()
    with refusal():
        for chunk in chunks:
            buffer.feed(chunk)
            while buffer.take() is not None:
                pass


@given(st.binary(max_size=3000))
def test_show_text_is_short_without_controls(raw: bytes) -> None:
    displayed = show_text(raw, 100)
    assert len(displayed) <= 601
    assert CONTROLS.search(displayed) is None


def test_hex_literal_and_quote_text_hold_any_text() -> None:
    assert hex_literal("a'ä") == "x'6127c3a4'"
    assert hex_literal(b"\0\xff") == "x'00ff'"
    assert hex_literal("") == "''"  # seekdb parses x'' as a text of three characters
    assert quote_text("a'\\\0") == "'a''\\\\\\0'"
    with pytest.raises(MysqlRequestRefused):
        hex_literal("\ud800")

"""The parts of authentication return a value or their own error for any input. Fixed budget."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dagengine.api.binding import bind
from dagengine.errors import ApiError, BindFailed, InvalidId, SecurityError
from dagengine.model.ids import AgentAddress, IdKind, decode_id, encode_id
from dagengine.security.body import decrypt_body
from dagengine.security.credentials import Passwords, check_credentials, parse_time
from dagengine.security.errors import (
    DECRYPTION_ERRORS,
    HeaderDecryptFailed,
    TimestampInvalid,
)
from dagengine.security.header import SignedHeader, decode_header, parse_header
from dagengine.security.replay import fingerprint_header
from dagengine.security.server_key import ServerKey
from tasks.cluster.scope import parse_address
from tasks.planning.start import StartRequest

more_examples = settings(max_examples=150)

ANY_TEXT = st.text(st.characters(), max_size=60)  # includes lone surrogates
NAMES = st.sampled_from(
    ["auth", "AUTH", "ts", "uri", "keys", "Keys", "token", "session_id", "forwardagent", "x"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)
TAILS = st.sampled_from([b"", b" ", b"{", b"\0", b"\xff", b"[" * 3000])
PRIVATE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
KEY = ServerKey(PRIVATE_KEY)
SIZE = KEY.block_bytes


def to_json(value: object) -> bytes:
    return json.dumps(value).encode()


# --- header --------------------------------------------------------------------------------------


@more_examples
@given(ANY_TEXT | st.binary(max_size=200).map(lambda b: base64.b64encode(b).decode()))
def test_decode_header_any_value_is_decoded_or_refused(value: str) -> None:
    with contextlib.suppress(HeaderDecryptFailed):
        assert isinstance(decode_header(value), bytes)


@more_examples
@given(st.binary(max_size=300) | st.builds(lambda v, t: to_json(v) + t, VALUES, TAILS))
@example(b"[" * 100_000)
@example(b'{"ts":' + b"9" * 5000 + b"}")
@example(b'{"auth": "\\ud800"}')
@example(b'{"auth": NaN, "ts": Infinity}')
@example("\ufeff{}".encode())
def test_parse_header_any_text_is_parsed_or_refused(plain: bytes) -> None:
    try:
        header = parse_header(plain, is_agent=False)
    except HeaderDecryptFailed:
        return
    assert isinstance(header, SignedHeader)
    assert isinstance(header.keys, bytes)
    fingerprint_header(plain * 3, SIZE, header.keys)


@more_examples
@given(st.binary(max_size=SIZE * 3) | st.binary(min_size=SIZE, max_size=SIZE).map(lambda b: b * 17))
@example(bytes(SIZE))
@example(b"\xff" * SIZE)
def test_server_key_any_ciphertext_is_decrypted_or_refused(cipher: bytes) -> None:
    with contextlib.suppress(HeaderDecryptFailed):
        assert isinstance(asyncio.run(KEY.decrypt(cipher)), bytes)


@more_examples
@given(st.integers(0, SIZE * 8 - 1), st.integers(0, 1))
def test_server_key_flipped_bit_gives_no_header(bit: int, block: int) -> None:
    plain = to_json({"auth": "x", "ts": "1", "uri": "/api/v1/task/dags/ob", "keys": ""})
    public = PRIVATE_KEY.public_key()
    parts = [public.encrypt(plain[at : at + 53], padding.PKCS1v15()) for at in (0, 53)]
    flipped = bytearray(parts[block])
    flipped[bit // 8] ^= 1 << bit % 8
    parts[block] = bytes(flipped)
    with pytest.raises(HeaderDecryptFailed):
        parse_header(asyncio.run(KEY.decrypt(b"".join(parts))), is_agent=False)


async def test_server_key_wrong_padding_gives_constant_text() -> None:
    """OpenSSL's implicit rejection: no error, but a constant text that is not a valid header."""
    block = b"\0" + bytes(range(1, 128))
    first = await KEY.decrypt(block)
    assert await KEY.decrypt(block) == first
    with pytest.raises(HeaderDecryptFailed):
        parse_header(first, is_agent=False)


# --- time and credentials ------------------------------------------------------------------------


@more_examples
@given(ANY_TEXT | st.integers().map(str) | st.from_regex(r"[+-]?[0-9]{1,40}", fullmatch=True))
@example("9" * 5000)
@example("-9223372036854775808")
def test_parse_time_any_text_is_64_bit_or_refused(text: str) -> None:
    with contextlib.suppress(TimestampInvalid):
        assert -(2**63) < parse_time(text) < 2**63


@more_examples
@given(
    header=st.builds(SignedHeader, ANY_TEXT, ANY_TEXT, ANY_TEXT, st.binary(), st.booleans()),
    passwords=st.builds(Passwords, ANY_TEXT, st.none() | ANY_TEXT),
    agent_only=st.booleans(),
    max_ahead_s=st.none() | st.just(900),
)
def test_check_credentials_passes_only_with_password(
    header: SignedHeader, passwords: Passwords, agent_only: bool, max_ahead_s: int | None
) -> None:
    try:
        check_credentials(
            header,
            target=header.uri,
            now_s=1_700_000_000,
            passwords=passwords,
            agent_only=agent_only,
            max_ahead_s=max_ahead_s,
        )
    except SecurityError:
        return
    assert header.auth == (passwords.agent if header.is_agent else passwords.root)


# --- body ----------------------------------------------------------------------------------------


def encrypt(plain: bytes, keys: bytes) -> bytes:
    fill = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(keys[:16]), modes.CBC(keys[16:])).encryptor()
    return encryptor.update(plain + bytes([fill]) * fill) + encryptor.finalize()


BODIES = st.binary(max_size=200)
KEYS = st.binary(min_size=32, max_size=32)


@more_examples
@given(BODIES | BODIES.map(base64.b64encode), st.binary(max_size=40) | KEYS)
def test_decrypt_body_any_bytes_are_decrypted_or_refused(body: bytes, keys: bytes) -> None:
    with contextlib.suppress(DECRYPTION_ERRORS):
        assert isinstance(decrypt_body(body, keys), bytes)


@more_examples
@given(BODIES, KEYS, st.integers(0, 80))
def test_decrypt_body_ignores_line_breaks(plain: bytes, keys: bytes, width: int) -> None:
    text = base64.b64encode(encrypt(plain, keys))
    lines = [text[at : at + width] for at in range(0, len(text), width)] if width else [text]
    assert decrypt_body(b"\r\n".join(lines), keys) == plain


@more_examples
@given(BODIES, KEYS, st.integers(0, 10_000))
def test_decrypt_body_flipped_bit_gives_other_bytes(plain: bytes, keys: bytes, bit: int) -> None:
    cipher = bytearray(encrypt(plain, keys))
    at = bit % (len(cipher) * 8)
    cipher[at // 8] ^= 1 << at % 8
    with contextlib.suppress(DECRYPTION_ERRORS):
        assert decrypt_body(base64.b64encode(cipher), keys) != plain


@more_examples
@given(BODIES | st.builds(lambda v, t: to_json(v) + t, VALUES, TAILS))
@example(b'{"scope": ' * 5000)
@example(b'{"scope": {"type": "\\ud800", "target": ["\\udfff"]}}')
@example(b'{"scope": {"type": 1' + b"0" * 5000 + b"}}")
@example(b'{"SCOPE": {}, "scope": {"TYPE": "x", "type": null}}')
def test_bind_any_body_is_bound_or_refused(body: bytes) -> None:
    with contextlib.suppress(BindFailed):
        assert isinstance(bind(body, StartRequest), StartRequest)


# --- ids and addresses ---------------------------------------------------------------------------


@more_examples
@given(ANY_TEXT | st.from_regex(r"[0-9+-]{1,90}", fullmatch=True))
@example("2" + "9" * 6000)
@example("3" + "-" * 50)
@example("2" + "\u0663" * 16)  # digits of another script
def test_decode_id_any_text_is_decoded_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidId):
        assert isinstance(decode_id(text).row_id, int)


ADDRESSES = st.ip_addresses(v=4).filter(lambda ip: ip.packed[0]) | st.ip_addresses(v=6).filter(
    lambda ip: ip.packed[0]
)


@more_examples
@given(
    st.sampled_from([IdKind.LOCAL, IdKind.OBPROXY]),
    ADDRESSES,
    st.integers(1, 65535),
    st.integers(1, 2**40),
)
def test_encode_id_round_trip_keeps_parts(
    kind: IdKind, ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, row_id: int
) -> None:
    agent = AgentAddress(str(ip), port)
    decoded = decode_id(encode_id(kind, agent, row_id))
    assert (decoded.kind, decoded.row_id, decoded.agent) == (kind, row_id, agent)


@more_examples
@given(ANY_TEXT | st.from_regex(r"[\[\]0-9a-fA-F:.%]{1,60}", fullmatch=True))
@example("[::1]:" + "9" * 5000)
@example("1.2.3.4:" + "9" * 5000)
@example("1.2.3.4:\u0663\u0663\u0663\u0663")
@example("f" * 100_000)
def test_parse_address_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        ip, port = parse_address(text)
    except ApiError:
        return
    assert ip
    assert 1025 <= port <= 65535

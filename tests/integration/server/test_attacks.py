"""An attacker against a whole controller: refused, logged without secrets, others are served.

The attacker knows the protocol and the public key and can record what others send.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import secrets
import time
from collections.abc import Callable

import pytest

from dagengine.security.login_throttle import FREE_FAILURES
from tests.support.attacked_controller import (
    ACCEPTED,
    BAD_BODY,
    CLUSTER,
    DAGS,
    EXPIRED,
    FOREIGN,
    GARBAGE,
    NO_SCOPE,
    REPLAYED,
    START,
    THROTTLED,
    WRONG,
    AttackedController,
    Caller,
    encrypt_body,
)

# --- what was recorded ---------------------------------------------------------------------------


async def test_replay_guard_refuses_recorded_request_after_restart(
    attacked_controller: AttackedController,
) -> None:
    keys = secrets.token_bytes(32)
    async with attacked_controller.running(), attacked_controller.caller() as caller:
        header, body = caller.sign(START, keys), encrypt_body(NO_SCOPE, keys)
        assert await caller.send("POST", START, header, body) == ACCEPTED
        assert await caller.send("POST", START, header, body) == REPLAYED
    async with attacked_controller.running(), attacked_controller.caller() as caller:
        assert await caller.send("POST", START, header, body) == REPLAYED
        assert await caller.post() == ACCEPTED


Respell = Callable[[Caller, bytes], bytes]


def _other_case(caller: Caller, keys: bytes) -> bytes:
    plain = {name.upper(): value for name, value in caller.plain(START, keys).items()}
    return caller.encrypt(json.dumps(plain).encode())


def _longer_keys(caller: Caller, keys: bytes) -> bytes:
    return caller.sign(START, keys, keys=base64.b64encode(keys + b"x").decode())


def _loose_base64(caller: Caller, keys: bytes) -> bytes:
    text = base64.b64encode(keys).decode()  # 32 bytes: two bits of the last sign are not used
    assert text.endswith("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet[alphabet.index(text[-2]) ^ 1]
    assert base64.b64decode(text[:-2] + last + "=") == keys
    return caller.sign(START, keys, keys=text[:-2] + last + "=")


def _later(caller: Caller, keys: bytes) -> bytes:
    return caller.sign(START, keys, ts=str(int(time.time()) + 100))


@pytest.mark.parametrize("respell", [_other_case, _longer_keys, _loose_base64, _later])
async def test_replay_guard_detects_same_keys_in_other_spelling(
    attacked_controller: AttackedController, respell: Respell
) -> None:
    keys = secrets.token_bytes(32)
    async with attacked_controller.running(), attacked_controller.caller() as caller:
        body = encrypt_body(NO_SCOPE, keys)
        assert await caller.send("POST", START, caller.sign(START, keys), body) == ACCEPTED
        assert await caller.send("POST", START, respell(caller, keys), body) == REPLAYED


async def test_header_recorded_for_other_request_is_refused(
    attacked_controller: AttackedController,
) -> None:
    async with (
        attacked_controller.running(),
        attacked_controller.caller() as victim,
        attacked_controller.caller("127.0.0.2") as attacker,
    ):
        recorded = victim.sign(START, secrets.token_bytes(32))
        stop = "/api/v1/task/dag/201684300810288611"
        assert await attacker.send("POST", stop, recorded) == FOREIGN
        assert await attacker.send("GET", DAGS, recorded) == FOREIGN
        dag = "/api/v1/task/dag/201684300810288612"
        read = victim.sign(dag, secrets.token_bytes(32))
        assert await victim.send("GET", dag, read) == (404, "Task.NotFound")
        # The method is not part of the signed text.
        assert await attacker.send("POST", dag, read) == REPLAYED


async def test_header_spliced_blocks_are_refused(attacked_controller: AttackedController) -> None:
    """Blocks are not tied to each other: the first of the SDK's holds password and ts."""
    async with (
        attacked_controller.running(),
        attacked_controller.caller() as victim,
        attacked_controller.caller("127.0.0.2") as attacker,
    ):
        keys = secrets.token_bytes(32)
        recorded = victim.sign(DAGS, secrets.token_bytes(32))
        assert await victim.send("GET", DAGS, recorded) == (200, "")
        text = json.dumps(victim.plain(DAGS, keys)).encode()
        own = text[53:].replace(DAGS.encode()[-8:], START.encode()[-8:])
        for rest in (
            text[53:],
            own,
            text[53:].replace(b'"keys"', b'"ts": "4102444800", "keys"'),
        ):
            spliced = recorded[: victim.key.key_size // 8] + attacker.encrypt(rest)
            for method, target in (("GET", DAGS), ("POST", START), ("POST", DAGS)):
                status, code = await attacker.send(
                    method, target, spliced, encrypt_body(NO_SCOPE, keys)
                )
                assert status in (401, 404, 429), (status, code)


async def test_header_duplicate_name_is_refused(attacked_controller: AttackedController) -> None:
    async with attacked_controller.running(), attacked_controller.caller() as caller:
        text = json.dumps(caller.plain(DAGS, b"")).encode()
        for name in (b"ts", b"TS", b"auth", b"other"):
            duplicated = text[:-1] + b', "%s": "4102444800"}' % name
            if name == b"other":
                duplicated = duplicated[:-1] + b', "Other": 1}'
            assert await caller.send("GET", DAGS, caller.encrypt(duplicated)) == GARBAGE


# --- what the answers tell -----------------------------------------------------------------------


async def test_replay_guard_prevents_decryption_of_recorded_body(
    attacked_controller: AttackedController,
) -> None:
    """CBC without a MAC: two requests with the same keys would reveal the text byte by byte."""
    async with (
        attacked_controller.running(),
        attacked_controller.caller() as victim,
        attacked_controller.caller("127.0.0.2") as attacker,
    ):
        keys = secrets.token_bytes(32)
        header, body = victim.sign(START, keys), encrypt_body(b'{"scope": {"type": 7}}', keys)
        flipped = bytearray(base64.b64decode(body))
        flipped[3] ^= 1
        # The attacker is faster than the victim; only one of them succeeds.
        first = await attacker.send("POST", START, header, base64.b64encode(flipped))
        assert first in (BAD_BODY, (400, "Common.BindJsonFailed"))
        for at in range(5):
            flipped[at] ^= 0xFF
            assert await attacker.send("POST", START, header, base64.b64encode(flipped)) == REPLAYED
        # Nor as a read, nor without the password around the same keys.
        keys = secrets.token_bytes(32)
        read = victim.sign(DAGS, keys)
        await attacker.send("GET", DAGS, read, base64.b64encode(flipped))
        assert await attacker.send("GET", DAGS, read, base64.b64encode(flipped)) == REPLAYED
        keys = secrets.token_bytes(32)
        own = attacker.sign(START, keys, auth="")
        assert await attacker.send("POST", START, own, base64.b64encode(flipped)) in (
            WRONG,
            BAD_BODY,
        )
        other = attacker.sign(START, keys, auth="x")
        assert await attacker.send("POST", START, other, encrypt_body(NO_SCOPE, keys)) == REPLAYED


@pytest.mark.parametrize("seconds", [901, 3600, 10**9])
async def test_header_signed_far_ahead_is_refused_for_actions(
    attacked_controller: AttackedController, seconds: int
) -> None:
    async with attacked_controller.running(), attacked_controller.caller() as caller:
        far_ahead = str(int(time.time()) + seconds)
        assert await caller.post(ts=far_ahead) == EXPIRED
        keys = secrets.token_bytes(32)
        assert (
            await caller.send(
                "GET", DAGS, caller.sign(DAGS, keys, ts=far_ahead), encrypt_body(b"", keys)
            )
            == EXPIRED
        )
        assert await caller.get(ts=far_ahead) == (200, "")
        assert await caller.post(ts=str(int(time.time()) + 890)) == ACCEPTED


@pytest.mark.parametrize(
    "ts", ["-1", "0", "9" * 400, "-" + "9" * 400, "1e9", "٣", "0x7fffffff", " 1", "1 ", "+-1", "+"]
)
async def test_header_malformed_time_is_refused(
    attacked_controller: AttackedController, ts: str
) -> None:
    async with attacked_controller.running(), attacked_controller.caller() as caller:
        assert await caller.post(ts=ts) in (
            EXPIRED,
            (401, "Security.Authentication.Timestamp.Invalid"),
        )


# --- guessing ------------------------------------------------------------------------------------


async def test_login_throttle_delays_guessing_address_alone(
    attacked_controller: AttackedController, other_address: str
) -> None:
    async with (
        attacked_controller.running(),
        attacked_controller.caller(other_address) as normal,
        attacked_controller.caller() as attacker,
    ):
        replies = [await attacker.get(auth=f"guess {n}") for n in range(3 * FREE_FAILURES)]
        assert replies[:FREE_FAILURES] == [WRONG] * FREE_FAILURES
        assert set(replies) == {WRONG, THROTTLED}
        assert replies.count(THROTTLED) > FREE_FAILURES
        assert await attacker.get() == THROTTLED  # even with the right one
        assert await attacker.send("GET", DAGS, "garbage") == THROTTLED
        assert (await attacker.send("GET", "/api/v1/info"))[0] == 200
        assert await normal.get() == (200, "")
        async with attacker.session.get(
            attacker.url + DAGS, headers={"X-OCS-Header": "x"}
        ) as response:
            assert 1 <= int(response.headers["Retry-After"]) <= 60


async def test_login_throttle_counts_loopback_as_one_client(
    attacked_controller: AttackedController,
) -> None:
    replies = []
    async with attacked_controller.running():
        for number in range(3 * FREE_FAILURES):
            address = f"127.{number}.{number * 7 % 256}.{number + 1}"
            async with attacked_controller.caller(address) as attacker:
                replies.append(await attacker.get(auth=f"guess {number}"))
    assert replies[:FREE_FAILURES] == [WRONG] * FREE_FAILURES
    assert replies.count(THROTTLED) > FREE_FAILURES


async def test_login_slots_limit_concurrent_header_decryption(
    attacked_controller: AttackedController,
) -> None:
    async with attacked_controller.running(), attacked_controller.caller("127.0.0.2") as attacker:
        longest = bytes(attacker.key.key_size // 8) * 16
        burst = await asyncio.gather(*(attacker.send("GET", DAGS, longest) for _ in range(200)))
        assert set(burst) == {GARBAGE, THROTTLED}
        # Not all 200 were decrypted before the first of them counted.
        assert burst.count(GARBAGE) <= 3 * FREE_FAILURES


async def test_replay_guard_without_password_accepts_request_once(
    attacked_controller: AttackedController,
) -> None:
    none = CLUSTER.replace("root_password_file: password", "root_password: none")
    (attacked_controller.directory / "cluster.yaml").write_text(none)
    async with attacked_controller.running(), attacked_controller.caller(auth="") as caller:
        keys = secrets.token_bytes(32)
        header, body = caller.sign(START, keys, ts="no time"), encrypt_body(NO_SCOPE, keys)
        assert await caller.send("POST", START, header, body) == ACCEPTED
        assert await caller.send("POST", START, header, body) == REPLAYED
        assert await caller.send("POST", START, caller.sign(START, keys, ts=""), body) == REPLAYED
        assert await caller.post(ts="-1") == ACCEPTED


async def test_replay_guard_without_keys_accepts_request_once(
    attacked_controller: AttackedController,
) -> None:
    async with attacked_controller.running(), attacked_controller.caller() as caller:
        for _ in range(2):
            header = caller.sign(START, b"")
            assert await caller.send("POST", START, header) == ACCEPTED
            assert await caller.send("POST", START, header) == REPLAYED


async def test_log_of_oversized_request_is_truncated(
    attacked_controller: AttackedController, logged: io.StringIO
) -> None:
    async with attacked_controller.running(), attacked_controller.caller() as caller:
        long = {"X-OBSHELL-Trace-ID": "t" * 50_000}
        target = f"{caller.url}/api/v1/task/dag/{'9' * 50_000}"
        async with caller.session.get(target, headers=long) as response:
            assert (await response.json())["traceId"] == long["X-OBSHELL-Trace-ID"]
    assert "request_refused" in logged.getvalue()
    assert max(map(len, logged.getvalue().splitlines())) < 2000


# --- odd requests --------------------------------------------------------------------------------


TRICKS = [
    "//api/v1/task/dags/ob",
    "/api//v1/task/dags/ob",
    "/api/v1/../v1/task/dags/ob",
    "/api/v1/./task/dags/ob",
    "/api/v1/info/../task/dags/ob",
    "/api/v1/info/%2e%2e/task/dags/ob",
    "/api/v1/task/dags/ob/",
    "/api/v1/task/dags/ob;x=1",
    "/api/v1/task/dags/ob%00",
    "/api/v1/task/dags%2fob",
    "/api/v1/task/dags/%6fb",
    "/API/V1/TASK/DAGS/OB",
    "/api/v1/task/dag/..%2f..%2f..%2fetc%2fpasswd",
    "/../../../../etc/passwd",
    "/api/v1/task/dag/" + "9" * 5000,
    "/api/v1/task/dag/2" + "%d9%a3" * 20,
    "http://elsewhere/api/v1/task/dags/ob",
    "*",
]


async def send_raw(port: int, request: bytes) -> list[int]:
    """Return the statuses of the responses until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(60):
            answer = await reader.read()
    except ConnectionError:
        return []
    finally:
        writer.close()
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] (\d+) ", answer, re.MULTILINE)]


@pytest.mark.parametrize("target", TRICKS, ids=range(len(TRICKS)))
async def test_app_path_spelling_does_not_bypass_authentication(
    attacked_controller: AttackedController, target: str
) -> None:
    async with attacked_controller.running():
        for method in ("GET", "POST"):
            head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            (status,) = await send_raw(attacked_controller.port, head.encode())
            assert status in (301, 307, 400, 403, 404), status


@pytest.mark.parametrize("method", ["FOO", "CONNECT", "PRI", "get", "TRACE", "DELETE", "A" * 5000])
async def test_app_method_does_not_bypass_authentication(
    attacked_controller: AttackedController, method: str
) -> None:
    async with attacked_controller.running():
        for target in (DAGS, "/api/v1/info"):
            head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            (status,) = await send_raw(attacked_controller.port, head.encode())
            assert status in (400, 404), status


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,  # TLS to a plain port
        b"GET /api/v1/info HTTP/9.9\r\n\r\n",
        b"GET /api/v1/info\r\n\r\n",
        b"GET /api/v1/info HTTP/1.1\r\nHost: localhost\r\nX\0Y: s3cret-zero\r\n\r\n",
        b"POST /api/v1/ob/start HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/ob/start HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api/v1/task/dags/ob HTTP/1.1\r\n\r\n",
        b"POST /api/v1/ob/start HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n",
        b"s3cret-line " * 100 + b"\r\n\r\n",
    ],
    ids=["tls", "version", "0.9", "zero", "negative", "smuggled", "chunk", "line"],
)
async def test_app_malformed_http_is_not_logged_verbatim(
    attacked_controller: AttackedController, logged: io.StringIO, request_bytes: bytes
) -> None:
    async with attacked_controller.running():
        statuses = await send_raw(attacked_controller.port, request_bytes)
        assert set(statuses) <= {400, 401, 404}, statuses
        assert await send_raw(attacked_controller.port, b"GET /api/v1/info HTTP/1.0\r\n\r\n") == [
            200
        ]
    written = logged.getvalue()
    assert "s3cret" not in written
    assert "Traceback" not in written

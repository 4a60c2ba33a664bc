"""The wire: authentication headers (protocol 2.3 to 2.6), and the log of requests."""

from __future__ import annotations

import base64
import io
import json
import secrets
from datetime import UTC, datetime
from typing import Any

import pytest

from dagengine.client import Client
from dagengine.errors import ApiRefused
from dagengine.testing import eventually
from tests.support.api_controller import (
    AGENT_HEADER,
    AGENT_PASSWORD,
    BAD_BODY,
    BAD_KEYS,
    BAD_LENGTH,
    BAD_TIME,
    EXPIRED,
    FOREIGN,
    GARBAGE,
    KEYS,
    NO_HEADER,
    NOT_AGENT,
    OTHER_KEY,
    PASSWORD,
    ROOT_HEADER,
    SECOND,
    START,
    WRONG_AGENT,
    WRONG_ROOT,
    ApiController,
    dump,
    encrypt_body,
    encrypt_header,
)

# --- 2.3 to 2.6 who may come in ------------------------------------------------------------------

PROTECTED = [
    ("POST", "/ob/start"),
    ("GET", "/ob/info"),
    ("GET", "/ob/agents"),
    ("GET", "/agents/status"),
    ("GET", "/obcluster/info"),
    ("GET", "/obcluster/topology/info"),
    ("GET", "/task/dag/maintain/ob"),
    ("GET", "/task/dag/maintain/agent"),
    ("GET", "/task/dag/maintain/agents"),
    ("GET", "/task/dag/agent/main_dags"),
    ("GET", "/task/dag/unfinish"),
    ("GET", "/task/dag/ob/unfinish"),
    ("GET", "/task/dag/agent/unfinish"),
    ("GET", "/task/dags/agent"),
    ("GET", "/task/dags/agent"),
    ("GET", "/task/dag/201684300810288611"),
    ("POST", "/task/dag/201684300810288611"),
    ("GET", "/task/node/201684300810288611"),
    ("GET", "/task/sub_task/201684300810288611"),
    ("GET", "/task/sub_task/201684300810288611/logs"),
    ("POST", "/task/node/201684300810288611"),
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_protected_routes_without_password_are_refused(
    controller: ApiController, method: str, path: str
) -> None:
    assert (await controller.send(method, f"/api/v1{path}")).refusal == NO_HEADER
    assert (await controller.send_signed(method, path, auth="wrong")).refusal == WRONG_ROOT
    assert (await controller.send_signed(method, path, auth="")).refusal == WRONG_ROOT
    assert await controller.engine.list_dags(limit=9, details=False) == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"auth": PASSWORD + " "}, WRONG_ROOT),
        ({"auth": PASSWORD.upper()}, WRONG_ROOT),
        ({"auth": None}, WRONG_ROOT),
        ({"auth": "", "ts": "never"}, WRONG_ROOT),  # no password, so the time is not checked
        ({"ts": "1704857083"}, EXPIRED),  # the second before
        ({"ts": "0"}, EXPIRED),
        ({"ts": "-5"}, EXPIRED),
        ({"ts": ""}, BAD_TIME),
        ({"ts": "soon"}, BAD_TIME),
        ({"ts": "1704857084.5"}, BAD_TIME),
        ({"ts": " 4102444740"}, BAD_TIME),
        ({"ts": str(2**63)}, BAD_TIME),
        ({"ts": 4102444740}, GARBAGE),
        ({"uri": "/api/v1/task/dags/ob"}, FOREIGN),
        ({"uri": "/api/v1/task/dags/agent/"}, FOREIGN),
        ({"uri": "/api/v1/task/dags/agent?"}, FOREIGN),
        ({"uri": "/API/v1/task/dags/agent"}, FOREIGN),
        ({"uri": "http://127.0.0.1/api/v1/task/dags/agent"}, FOREIGN),
        ({"uri": ""}, FOREIGN),
        ({"uri": None}, FOREIGN),
        ({"keys": "!"}, GARBAGE),
        ({"keys": 5}, GARBAGE),
        # which of two errors is reported
        ({"uri": "/x", "auth": "wrong", "ts": "0"}, FOREIGN),
        ({"auth": "wrong", "ts": "0"}, EXPIRED),
        ({"keys": "!", "auth": "wrong"}, GARBAGE),
    ],
)
async def test_header_mismatch_is_refused_with_its_reason(
    controller: ApiController, changes: dict[str, Any], expected: tuple[int, str, int | None]
) -> None:
    response = await controller.send_signed("GET", "/task/dags/agent", **changes)
    assert response.refusal == expected
    assert PASSWORD not in response.text


@pytest.mark.parametrize(
    "changes",
    [
        {"ts": "1704857084"},  # this very second
        {"ts": "+1704857084"},
        {"ts": "9223372036854775807"},
        {"keys": None},  # a GET needs none
        {"keys": ""},
        {"token": None, "forwardtype": 0, "unknown": [1]},
    ],
)
async def test_header_valid_variants_are_accepted(
    controller: ApiController, changes: dict[str, Any]
) -> None:
    assert await controller.get("/task/dags/agent", **changes) == {"contents": []}


async def test_header_ignores_case_of_names_and_trailing_text(
    controller: ApiController,
) -> None:
    target = "/api/v1/task/dags/agent"
    plain = json.dumps({"AUTH": PASSWORD, "Ts": "4102444740", "uRI": target, "Keys": None})
    for text in (plain, f" \n{plain}", f"{plain} and more {{"):
        headers = {ROOT_HEADER: encrypt_header(text.encode())}
        assert (await controller.send("GET", target, headers=headers)).status == 200


@pytest.mark.parametrize(
    "value",
    [
        "garbage",
        "AAAA",
        "=",
        "%",
        "ä",
        base64.b64encode(bytes(255)).decode(),
        base64.b64encode(bytes(256)).decode(),
        base64.b64encode(b"\xff" * 512).decode(),
        base64.b64encode(bytes(256 * 17)).decode(),
        pytest.param(encrypt_header(b"{"), id="half an object"),
        pytest.param(encrypt_header(b"[1]"), id="array"),
        pytest.param(encrypt_header(b"null"), id="null"),
        pytest.param(encrypt_header(b"\xff\xfe"), id="no text"),
        pytest.param(encrypt_header(b"[" * 3000, chunk=245), id="deep"),
        pytest.param(encrypt_header(b'{"auth": {}}'), id="no text inside"),
        pytest.param(encrypt_header(b"{}")[:-4], id="cut"),
        pytest.param(
            encrypt_header(b"{}", OTHER_KEY),
            id="of another key",
        ),
    ],
)
async def test_header_garbage_is_refused_with_one_error(
    controller: ApiController, value: str
) -> None:
    target = "/api/v1/ob/start"
    expected = None
    for name in (ROOT_HEADER, AGENT_HEADER):
        for body in (None, "garbage", encrypt_body(dump(START))):
            response = await controller.send("POST", target, headers={name: value}, body=body)
            assert response.refusal == GARBAGE
            expected = expected or response.body["error"]
            assert response.body["error"] == expected


async def test_header_empty_counts_as_missing(controller: ApiController) -> None:
    headers = {ROOT_HEADER: "", AGENT_HEADER: ""}
    assert (
        await controller.send("GET", "/api/v1/task/dags/agent", headers=headers)
    ).refusal == NO_HEADER


@pytest.mark.parametrize(
    ("keys", "body", "expected"),
    [
        (KEYS, "{}", BAD_BODY),
        (KEYS, json.dumps(START), BAD_BODY),
        (KEYS, "!", BAD_BODY),
        (KEYS, "\r\n", BAD_BODY),
        (KEYS, "AAAA", BAD_LENGTH),
        (KEYS, base64.b64encode(bytes(17)).decode(), BAD_LENGTH),
        (KEYS, base64.b64encode(bytes(16)).decode(), BAD_BODY),
        (KEYS, encrypt_body(b"{}", bytes(32)), BAD_BODY),
        (KEYS[:31], encrypt_body(b"{}"), BAD_BODY),
        (KEYS[:16], encrypt_body(b"{}"), BAD_BODY),
        (KEYS + b"1", encrypt_body(b"{}"), BAD_BODY),
        (KEYS[:15], encrypt_body(b"{}"), BAD_KEYS),
        (b"", encrypt_body(b"{}"), BAD_KEYS),
        (b"", "garbage", BAD_KEYS),
    ],
)
@pytest.mark.parametrize("auth", [PASSWORD, "wrong"])
async def test_body_undecipherable_is_refused_before_password_check(
    controller: ApiController,
    auth: str,
    keys: bytes,
    body: str,
    expected: tuple[int, str, int | None],
) -> None:
    target = "/api/v1/ob/start"
    headers = controller.sign(target, auth=auth, keys=base64.b64encode(keys).decode())
    assert (await controller.send("POST", target, headers=headers, body=body)).refusal == expected


async def test_authenticator_root_without_password_accepts_empty_one(
    controller: ApiController,
) -> None:
    file = controller.cluster.path
    env = "root_password_env: WIRE_PASSWORD"
    file.write_text(file.read_text().replace(env, "root_password: none"))
    controller.cluster.reload()
    assert await controller.get("/task/dags/agent", auth="", ts="never") == {"contents": []}
    assert (await controller.send_signed("GET", "/task/dags/agent", auth="x")).refusal == WRONG_ROOT


async def test_authenticator_changed_root_password_applies_at_once(
    controller: ApiController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIRE_PASSWORD", "pässwört")
    assert (await controller.send_signed("GET", "/task/dags/agent")).refusal == WRONG_ROOT
    assert await controller.get("/task/dags/agent", auth="pässwört") == {"contents": []}


async def test_agent_header_requires_agent_password(controller: ApiController) -> None:
    path, agent = "/task/dags/agent", {"name": AGENT_HEADER, "auth": AGENT_PASSWORD}
    assert (await controller.send_signed("GET", path, **agent)).refusal == NOT_AGENT
    assert (
        await controller.send_signed("GET", path, name=AGENT_HEADER, auth="")
    ).refusal == NOT_AGENT
    controller.agent_password = AGENT_PASSWORD
    assert await controller.get(path, **agent) == {"contents": []}
    assert (await controller.send_signed("GET", path, name=AGENT_HEADER)).refusal == WRONG_AGENT
    assert (await controller.send_signed("GET", path, auth=AGENT_PASSWORD)).refusal == WRONG_ROOT
    assert await controller.get(path) == {"contents": []}


async def test_agent_header_takes_precedence_over_root_header(controller: ApiController) -> None:
    controller.agent_password = AGENT_PASSWORD
    target = "/api/v1/task/dags/agent"
    root = controller.sign(target)
    right = controller.sign(target, name=AGENT_HEADER, auth=AGENT_PASSWORD)
    wrong = controller.sign(target, name=AGENT_HEADER, auth="wrong")
    assert (await controller.send("GET", target, headers=root | wrong)).refusal == WRONG_AGENT
    garbage = {ROOT_HEADER: "garbage"}
    assert (await controller.send("GET", target, headers=right | garbage)).status == 200


async def test_header_uri_is_compared_without_decoding(controller: ApiController) -> None:
    path = "/task/dag/unfinish?show_details=%74rue&x=a%20b+c"
    assert await controller.get(path) == {"contents": []}
    response = await controller.send_signed(
        "GET", path, uri="/api/v1/task/dag/unfinish?show_details=true&x=a b c"
    )
    assert response.refusal == FOREIGN


# --- the client of this package, and the logs ----------------------------------------------------


async def test_client_starts_and_operates_dag(controller: ApiController) -> None:
    controller.broken = {SECOND}
    # It signs by the real clock, and what acts must not be signed for years.
    controller.clock.jump((datetime.now(UTC) - controller.clock.now()).total_seconds())
    async with Client(controller.url, PASSWORD) as client:
        assert (await client.info())["identity"] == "CLUSTER AGENT"
        dag = await client.start("ZONE", ["zone2"], ["1"])

        async def has_failed() -> bool:
            return bool((await client.get_dag(dag["id"]))["state"] == "FAILED")

        await eventually(has_failed, what="the failure")
        assert await client.list_unfinished() == []
        with pytest.raises(ApiRefused) as caught:
            await client.operate_dag(dag["id"], "CANCEL")
        assert (caught.value.status, caught.value.legacy) == (400, 0)
        assert caught.value.code == "Task.Dag.Operator.CancelFinishedDag"
        await client.operate_dag(dag["id"], "PASS")
        (listed,) = await client.list_dags()
        assert (listed["state"], listed["operator"]) == ("SUCCEED", "PASS")


async def test_client_wrong_password_raises_api_refused(controller: ApiController) -> None:
    async with Client(controller.url, "wrong") as client:
        with pytest.raises(ApiRefused, match="password is incorrect") as caught:
            await client.list_dags()
    assert (caught.value.status, caught.value.legacy) == (401, 10008)


async def test_log_contains_no_secret_of_any_request(
    logged: io.StringIO, controller: ApiController, capfd: pytest.CaptureFixture[str]
) -> None:
    controller.agent_password = AGENT_PASSWORD
    target = "/api/v1/ob/start"
    body = dump({"scope": {"type": "s3cret-scope"}})
    plain = "s3cret-plain"
    garbage = "czNjcmV0LWdhcmJhZ2U="  # base64 of s3cret-garbage
    used = []

    def signed(body: bytes, **header: Any) -> tuple[dict[str, str], str]:
        keys = secrets.token_bytes(32)
        used.append(base64.b64encode(keys).decode())
        return controller.sign(target, keys=used[-1], **header), encrypt_body(body, keys)

    tries = [
        signed(body, auth="s3cret-wrong"),
        signed(body, auth="s3cret-agent", name=AGENT_HEADER),
        signed(body, auth="s3cret-old", ts="1"),
        signed(body, ts="s3cret-ts"),
        signed(body, uri="/s3cret-uri"),
        signed(body, session_id="s3cret-session", auth="s3cret-x"),
        ({ROOT_HEADER: garbage}, encrypt_body(body)),
        ({AGENT_HEADER: garbage}, plain),
        ({ROOT_HEADER: "s3cret-header"}, encrypt_body(body)),
        (signed(b"")[0], plain),
        signed(b'{"scope": "s3cret-json"}'),
        signed(b"s3cret-text"),
        signed(body),
    ]
    responses = [await controller.send("POST", target, headers=h, body=b) for h, b in tries]
    assert all(response.status >= 400 for response in responses)
    assert (await controller.send_signed("POST", "/odd", {"password": "s3cret-odd"})).status == 500
    await controller.wait_for_end(await controller.start())
    written = logged.getvalue()
    captured = capfd.readouterr()
    lines = [json.loads(line) for line in written.splitlines()]
    events = [line["event"] for line in lines]
    assert events.count("request_refused") == len(tries)
    assert {"request_failed", "dag_submitted"} <= set(events)
    assert (captured.out, captured.err) == ("", "")
    sent = [value for headers, _ in tries for value in headers.values()]
    bodies = [body for _, body in tries]
    for secret in (PASSWORD, AGENT_PASSWORD, "s3cret", garbage, *used, *bodies, *sent):
        assert secret not in written, secret
    refused = [line for line in lines if line["event"] == "request_refused"]
    assert {line["err_code"] for line in refused} >= {WRONG_ROOT[1], WRONG_AGENT[1], GARBAGE[1]}
    assert {line["path"] for line in refused} == {target}

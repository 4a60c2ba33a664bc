"""The wire: envelope, routing, bodies, public routes, form of `data` (protocol 1, 2.1)."""

from __future__ import annotations

import asyncio
import io
import os
import platform
import re
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from dagengine.api import envelope
from dagengine.errors import ApiError, StoreUnavailable
from tasks.cluster.observation import AVAILABLE, Observation
from tests.support.api_controller import (
    AGENT_PASSWORD,
    ENVELOPE,
    FIRST,
    ROOT_HEADER,
    START,
    TIME,
    VECTORS,
    ApiController,
    dump,
    encrypt_body,
)

# --- 1.1 the envelope --------------------------------------------------------------------------


async def test_envelope_success_has_fields_in_order_and_type(controller: ApiController) -> None:
    response = await controller.send_signed("GET", "/task/dags/agent")
    body = response.body
    assert list(body) == [*ENVELOPE, "data"]
    assert (body["successful"], body["status"], response.status) == (True, 200, 200)
    assert TIME.fullmatch(body["timestamp"])
    assert type(body["duration"]) is int
    assert body["duration"] >= 0
    assert re.fullmatch("[0-9a-f]{16}", body["traceId"])


async def test_envelope_refusal_has_error_and_no_data(controller: ApiController) -> None:
    response = await controller.send_signed("GET", "/task/dag/ob")
    body = response.body
    assert list(body) == [*ENVELOPE, "error"]
    assert (body["successful"], body["status"], response.status) == (False, 400, 400)
    assert list(body["error"]) == ["errCode", "message"]
    body = (await controller.send_signed("GET", "/task/dag/ob", auth="x")).body
    assert list(body["error"]) == ["code", "errCode", "message"]


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", ("接口不存在：404", "集群中有", "Task not found: 任务不存在")),
        ("en,zh;q=0.5", ("Element not found", "the cluster has", "Task not found: DAG")),
    ],
)
async def test_envelope_error_is_in_language_of_request(
    controller: ApiController, language: str, texts: tuple[str, str, str]
) -> None:
    accept = {"Accept-Language": language}
    unknown = await controller.send("GET", "/api/v1/none", headers=accept)
    scope = encrypt_body(dump({"scope": {"type": "ZONE", "target": ["none"]}}))
    missing = f"/api/v1/task/dag/{(await controller.start())['id'][:-1]}9"
    refusals = [
        unknown,
        await controller.send(
            "POST",
            "/api/v1/ob/start",
            headers=accept | controller.sign("/api/v1/ob/start"),
            body=scope,
        ),
        await controller.send("GET", missing, headers=accept | controller.sign(missing)),
    ]
    for refusal, text in zip(refusals, texts, strict=True):
        assert text in refusal.body["error"]["message"]


async def test_envelope_refused_cluster_file_is_a_notice(controller: ApiController) -> None:
    controller.cluster.path.write_text("name: [\n")
    started = await controller.send_signed("POST", "/ob/start", START)
    refused = await controller.send_signed("GET", "/task/dag/ob")
    for response in (started, refused):
        assert list(response.body)[-1] == "notices"
        (notice,) = response.body["notices"]
        assert "cluster.yaml is refused (" in notice
        assert "line 2" in notice
    for response in (
        await controller.send("GET", "/api/v1/info"),
        await controller.send_signed("GET", "/task/dags/ob", auth="x"),
    ):
        assert "notices" not in response.body  # only for callers that have logged in


async def test_envelope_json_is_compact_and_html_escaped(controller: ApiController) -> None:
    response = await controller.send_signed(
        "POST", "/ob/start", {"scope": {"type": "ZONE", "target": ["<&> ä"]}}
    )
    assert response.refusal == (400, "OB.Zone.NotExist", None)
    assert "\\u003c\\u0026\\u003e ä" in response.text
    assert not set("<>&") & set(response.text)
    assert response.text == response.text.strip()
    assert '": ' not in response.text


async def test_envelope_has_only_content_and_date_headers(controller: ApiController) -> None:
    response = await controller.send("GET", "/api/v1/time", headers={"X-OBSHELL-Trace-ID": "t"})
    assert set(response.headers) == {"Content-Type", "Content-Length", "Date"}
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/api/v1/time"), ("GET", "/api/v1/none"), ("GET", "/api/v1/task/dags/agent")],
)
async def test_trace_id_of_request_is_returned_in_envelope(
    controller: ApiController, method: str, target: str
) -> None:
    response = await controller.send(method, target, headers={"X-OBSHELL-Trace-ID": "trace <1>"})
    assert response.body["traceId"] == "trace <1>"
    assert response.body["traceId"] not in response.headers.values()
    made = {(await controller.send(method, target)).body["traceId"] for _ in range(3)}
    assert len(made) == 3
    empty = await controller.send(method, target, headers={"X-OBSHELL-Trace-ID": ""})
    assert re.fullmatch("[0-9a-f]{16}", empty.body["traceId"])


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_trace_id_is_empty_for_status_route(controller: ApiController, method: str) -> None:
    trace = {"X-OBSHELL-Trace-ID": "t"}
    assert (await controller.send(method, "/api/v1/status", headers=trace)).body["traceId"] == ""
    with_query = await controller.send(method, "/api/v1/status?ob_query_timeout=1", headers=trace)
    assert with_query.body["traceId"] == "t"


async def test_trace_id_is_empty_for_undecipherable_request(controller: ApiController) -> None:
    target = "/api/v1/ob/start"
    trace = {"X-OBSHELL-Trace-ID": "t"}
    garbage = await controller.send("POST", target, headers=trace | {ROOT_HEADER: "AAAA"})
    plain = await controller.send(
        "POST", target, headers=trace | controller.sign(target), body="{}"
    )
    for response in (garbage, plain):
        assert response.body["traceId"] == ""
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    wrong = await controller.send("POST", target, headers=trace | controller.sign(target, auth="x"))
    assert wrong.body["traceId"] == "t"
    assert wrong.headers["Content-Type"] == "application/json"


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The time zone of this process."""

    def read_zone() -> None:
        time.tzset()
        envelope.render_second.cache_clear()  # a process has one zone, but for this test

    monkeypatch.setenv("TZ", request.param)
    read_zone()
    yield request.param
    monkeypatch.undo()
    read_zone()


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC0", "2024-01-10T03:24:44.513664Z"),
        ("CST-8", "2024-01-10T11:24:44.513664+08:00"),
        ("NST3:30", "2024-01-09T23:54:44.513664-03:30"),
    ],
    indirect=["zone"],
)
async def test_envelope_times_have_local_offset(
    controller: ApiController, zone: str, expected: str
) -> None:
    body = (await controller.send("GET", "/api/v1/time")).body
    assert (body["data"], body["timestamp"]) == (expected, expected)
    controller.clock.advance(1 - 0.513664)
    assert "." not in (await controller.send("GET", "/api/v1/time")).data
    controller.clock.advance(0.5)
    assert ":45.5" in (await controller.send("GET", "/api/v1/time")).data


# --- 1.3 routing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/v1"),
        ("GET", "/api/v1/"),
        ("GET", "/api/v1/none"),
        ("GET", "/api/v1/none/"),
        ("GET", "/api/v1x"),
        ("GET", "/api/v1/task/dag"),
        ("GET", "/api/v1/task/dag/"),
        ("GET", "/api/v1/task/dag/1/2"),
        ("GET", "/api/v1/task/dag/1%2F2"),
        ("POST", "/api/v1/task/dag/1%2f2"),
        ("GET", "/api/v1/task/sub_task/4%2F5/logs"),
        ("GET", "/rpc/v1/ob/start"),
        # known, with another method
        ("GET", "/api/v1/ob/start"),
        ("GET", "/api/v1/ob/start/"),
        ("POST", "/api/v1/info"),
        ("DELETE", "/api/v1/task/dag/1"),
        ("PATCH", "/api/v1/task/dag/unfinish"),
        ("OPTIONS", "/api/v1/info"),
        ("OPTIONS", "/api/v1/ob/start"),
        ("TRACE", "/api/v1/info"),
    ],
)
async def test_app_unknown_path_or_method_returns_404(
    controller: ApiController, method: str, target: str
) -> None:
    response = await controller.send(method, target)
    assert response.refusal == (404, "Common.NotFound", None)
    assert response.headers["Content-Type"] == "application/json"
    assert "Allow" not in response.headers


@pytest.mark.parametrize("target", ["/api/v1/info", "/api/v1/ob/start", "/api/v1/none"])
async def test_app_head_request_returns_404_without_body(
    controller: ApiController, target: str
) -> None:
    response = await controller.send("HEAD", target)
    assert (response.status, response.text) == (404, "")


@pytest.mark.parametrize(
    "target", ["/", "/index.html", "/api", "/api/v2/info", "/x/api/v1/info", "/API/v1/info"]
)
async def test_app_path_outside_api_returns_plain_text_404(
    controller: ApiController, target: str
) -> None:
    response = await controller.send("GET", target)
    assert (response.status, response.text) == (404, "404 page not found")
    assert response.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("method", "target", "status", "location"),
    [
        ("GET", "/api/v1/info/", 301, "/api/v1/info"),
        ("GET", "/api/v1/status/?a=%26&b=1", 301, "/api/v1/status?a=%26&b=1"),
        ("GET", "/api/v1/task/dag/12/", 301, "/api/v1/task/dag/12"),
        ("POST", "/api/v1/ob/start/", 307, "/api/v1/ob/start"),
        ("POST", "/api/v1/status/", 307, "/api/v1/status"),
        # escapes are kept
        ("GET", "/api/v1/task/dag/a%0D%0AX-Evil:1/", 301, "/api/v1/task/dag/a%0D%0AX-Evil:1"),
        ("GET", "/api/v1/task/dag/a%3Fb%C3%A4/", 301, "/api/v1/task/dag/a%3Fb%C3%A4"),
    ],
)
async def test_app_trailing_slash_is_redirected(
    controller: ApiController, method: str, target: str, status: int, location: str
) -> None:
    response = await controller.send(method, target)
    assert (response.status, response.headers["Location"], response.text) == (status, location, "")


async def test_app_list_routes_take_precedence_over_ids(controller: ApiController) -> None:
    assert await controller.get("/task/dag/unfinish") == {"contents": []}
    assert (await controller.send_signed("GET", "/task/dag/ob")).refusal == (
        400,
        "Task.GenericID.Invalid",
        None,
    )


async def test_app_internal_error_reveals_no_details(controller: ApiController) -> None:
    response = await controller.send_signed("POST", "/odd")
    assert response.refusal == (500, "Common.Unexpected", None)
    assert list(response.body) == [*ENVELOPE, "error"]
    assert "inside" not in response.text
    assert (await controller.send("GET", "/api/v1/time")).status == 200


# --- 1.4 bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [None, b"", b"null", b" null ", b"{}", dump({"other": 1})])
async def test_bind_empty_body_sets_no_field(controller: ApiController, body: bytes | None) -> None:
    response = await controller.send_signed("POST", "/ob/start", body)
    assert response.refusal == (400, "OB.Cluster.Scope.Invalid", None)


@pytest.mark.parametrize("body", [b"{", b"[]", b"{} {}", b"7", b"\xff", b'{"scope": 7}'])
async def test_bind_body_of_wrong_type_is_refused(controller: ApiController, body: bytes) -> None:
    response = await controller.send_signed("POST", "/ob/start", body)
    assert response.refusal == (400, "Common.BindJsonFailed", None)
    assert response.body["error"]["message"].startswith("Bind JSON failed: ")


@pytest.mark.parametrize("half", [b"\\ud800", b"\\udfff", b"\\ud800\\ud800", b"\xed\xa0\x80"])
async def test_bind_invalid_unicode_is_refused(controller: ApiController, half: bytes) -> None:
    dag = await controller.wait_for_end(await controller.start())
    for path, body in (
        ("/ob/start", b'{"scope": {"type": "GLOBAL"}, "forcePassDag": {"id": ["%b"]}}'),
        ("/ob/start", b'{"scope": {"type": "ZONE", "target": ["%b"]}}'),
        ("/ob/start", b'{"scope": {"type": "GLOBAL"}, "unknown": {"%b": 1}}'),
        (f"/task/dag/{dag['id']}", b'{"operator": "RETRY", "reason": "%b"}'),
        (f"/task/dag/{dag['id']}", b'{"operator": "%b"}'),
    ):
        async with asyncio.timeout(10):
            response = await controller.send_signed("POST", path, body % half)
        assert response.refusal == (400, "Common.BindJsonFailed", None), body
        assert "line 1 column" in response.body["error"]["message"]
    assert len((await controller.get("/task/dags"))["contents"]) == 1


@pytest.mark.parametrize("half", ["%ED%A0%80", "%FF"])
async def test_app_invalid_unicode_in_path_or_query_is_plain_value(
    controller: ApiController, half: str
) -> None:
    assert (await controller.send_signed("GET", f"/task/dag/{half}")).refusal[
        1
    ] == "Task.GenericID.Invalid"
    assert await controller.get(f"/task/dags?name={half}") == {"contents": [], "next_cursor": None}
    refused = await controller.send_signed("GET", f"/task/dags?state={half}")
    assert refused.refusal == (400, "Common.IllegalArgument", None)


async def test_bind_surrogate_pair_is_one_character(controller: ApiController) -> None:
    dag = await controller.start_failing()
    body = b'{"operator": "PASS", "reason": "\\ud83d\\ude00"}'
    assert (await controller.send_signed("POST", f"/task/dag/{dag['id']}", body)).status == 200
    (row, _) = (await controller.get(f"/task/dag/{dag['id']}/audit"))["contents"]
    assert row["reason"] == "\U0001f600"


async def test_bind_ignores_case_and_unknown_names(controller: ApiController) -> None:
    body = {"SCOPE": {"Type": "zone", "TARGET": ["zone1"], "x": 1}, "FORCEPASSDAG": {"ID": []}}
    dag = await controller.start(body)
    assert [
        t["execute_agent"]["ip"]
        for t in (await controller.wait_for_end(dag))["nodes"][1]["sub_tasks"]
    ] == ["10.0.0.1"]


async def test_decrypt_body_accepts_line_breaks(controller: ApiController) -> None:
    target = "/api/v1/ob/start"
    text = encrypt_body(dump(START))
    lines = "\r\n".join(text[at : at + 20] for at in range(0, len(text), 20)) + "\n"
    response = await controller.send("POST", target, headers=controller.sign(target), body=lines)
    assert response.data["state"] == "READY"


async def test_app_oversized_body_returns_413_in_envelope(controller: ApiController) -> None:
    target = "/api/v1/ob/start"
    body = io.BytesIO(b"A" * (1024 * 1024 + 1))
    headers = {"Accept-Language": "zh"} | controller.sign(target)
    response = await controller.send("POST", target, headers=headers, body=body)
    assert response.refusal == (413, "Common.BadRequest", None)
    assert response.body["error"]["message"] == "请求体超过 1,048,576 字节"
    assert (await controller.start())["state"] == "READY"


# --- 2.1 without a login -------------------------------------------------------------------------


async def test_info_route_without_login_describes_controller(controller: ApiController) -> None:
    info = (await controller.send("GET", "/api/v1/info")).data
    started = int(controller.engine.started_at.timestamp() * 1_000_000) * 1000
    assert info == {
        "pid": os.getpid(),
        "state": 2,
        "startAt": started,
        "homePath": "",
        "obVersion": "",
        "architecture": platform.machine(),
        "ip": "10.10.10.1",
        "port": 2886,
        "zone": "",
        "identity": "CLUSTER AGENT",
        "version": "1.2.3-4",
        "isObproxyAgent": False,
        "security": False,
        "supportedAuth": ["v2"],
        "obState": 0,
        "obStateUnknown": True,
    }
    controller.agent_password = AGENT_PASSWORD
    assert (await controller.send("GET", "/api/v1/info")).data["security"] is True


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_status_route_without_login_reports_state(
    controller: ApiController, method: str
) -> None:
    controller.cluster.record_observation(
        FIRST, Observation(controller.clock.now(), AVAILABLE, version="1.4.0")
    )
    status = (await controller.send(method, "/api/v1/status")).data
    assert {name: status[name] for name in ("agent", "state", "port", "obState", "pid")} == {
        "agent": {"ip": "10.10.10.1", "port": 2886, "identity": "CLUSTER AGENT"},
        "state": 2,
        "port": 2886,
        "obState": 3,
        "pid": os.getpid(),
    }
    assert (status["version"], status["underMaintenance"]) == ("1.2.3-4", False)
    assert type(status["startAt"]) is int
    assert "sqlPort" not in status


async def test_secret_and_git_info_routes_need_no_login(controller: ApiController) -> None:
    secret = (await controller.send("GET", "/api/v1/secret")).data
    served = VECTORS["rsa_keys"]["2048"]["public_key_pkcs1_der_base64_as_served_by_secret"]
    assert secret == {"ip": "10.10.10.1", "port": 2886, "public_key": served}
    build = (await controller.send("GET", "/api/v1/git-info")).data
    assert list(build) == ["branch", "commitId", "shortCommitId", "commitTime"]
    assert all(isinstance(value, str) for value in build.values())


async def test_openapi_route_needs_no_login(controller: ApiController) -> None:
    response = await controller.send("GET", "/openapi.json")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("application/json")
    assert "/api/v1/fixed" in response.body["paths"]


# --- what `data` is when something failed (protocol 1.1) -----------------------------------------


async def test_list_routes_unreadable_store_return_null_contents(controller: ApiController) -> None:
    await controller.engine_store.close()
    for path in ("/task/dag/unfinish", "/task/dags/agent"):
        response = await controller.send_signed("GET", path)
        assert (response.status, response.body["data"]) == (500, {"contents": None})


async def test_start_route_store_error_returns_null_data(
    controller: ApiController, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def raise_store_unavailable(*_: object, **__: object) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(controller.engine, "submit", raise_store_unavailable)
    with capture_logs() as logged:
        failed = await controller.send_signed("POST", "/ob/start", START)
    assert (failed.status, failed.body["data"]) == (500, None)
    (line,) = [line for line in logged if line["event"] == "request_refused"]
    assert (line["log_level"], line["error"]) == ("warning", "the disk is full")
    assert failed.body["error"]["errCode"] == StoreUnavailable.err_code
    found_earlier = await controller.send_signed(
        "POST", "/ob/start", {"scope": {"type": "NOWHERE"}}
    )
    assert found_earlier.status == 400
    assert "data" not in found_earlier.body


async def test_start_route_refused_by_step_returns_null_data(
    controller: ApiController, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(ApiError):
        has_tried = True

    async def refuse(*_: object, **__: object) -> None:
        raise Refused("no")

    monkeypatch.setattr(controller.engine, "submit", refuse)
    failed = await controller.send_signed("POST", "/ob/start", START)
    assert (failed.status, failed.body["data"]) == (400, None)


async def test_dag_route_unreadable_store_returns_no_data(controller: ApiController) -> None:
    await controller.engine_store.close()
    response = await controller.send_signed("GET", f"/task/dag/{controller.engine.generic_id(1)}")
    assert response.status == 500
    assert "data" not in response.body

"""POST /ob/stop: its body, and the order of the checks before a task."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from dagengine.api.binding import bind
from dagengine.errors import ApiError, BindFailed
from dagengine.extension import Call
from dagengine.remote.ssh.pool import SshPool
from dagengine.testing import FakeClock
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.flavours.select import FLAVOURS
from tasks.planning.dry_run import stop_planner
from tasks.planning.stop import StopRequest
from tasks.routes.start_stop import stop_route
from tests.support.callers import TESTER
from tests.support.factories import make_idle_engine

FORCE, TERMINATE = {"force": True}, {"terminate": True}
BOTH = FORCE | TERMINATE
FIRST, SECOND = "127.0.0.1:2886", "127.0.0.1:2887"

GLOBAL = {"scope": {"type": "GLOBAL"}}
ZONE = {"scope": {"type": "ZONE", "target": ["z1"]}}
ZONES = {"scope": {"type": "ZONE", "target": ["z1", "z2"]}}
SERVER = {"scope": {"type": "SERVER", "target": [FIRST]}}

RefuseStop = Callable[..., Awaitable[ApiError]]

SCOPE, ILLEGAL = "OB.Cluster.Scope.Invalid", "Common.IllegalArgument"
REQUIRED = "OB.Cluster.ForceStopOrTerminateRequired"
CONFLICT, DOWN = "OB.Cluster.StopModeConflict", "OB.Cluster.ForceStopRequired"


@pytest.fixture
def refuse_stop(tmp_path: Path, ssh_pool: SshPool) -> RefuseStop:
    """Requests a stop of servers that cannot be reached."""

    async def request_stop(flavour: str, body: dict[str, Any]) -> ApiError:
        file = tmp_path / "cluster.yaml"
        down = "ssh: {host: 127.0.0.1, port: 1, known_hosts: /dev/null}"  # no process listens there
        servers = "{z1: [{ip: 127.0.0.1, home: /a}], z2: [{ip: 127.0.0.1, home: /b, %s}]}"
        ports = "agent_port: 2887, sql_port: 2891, rpc_port: 2892"
        file.write_text(
            f"name: x\nid: 1\nflavour: {flavour}\nroot_password: none\n{down}\n"
            f"zones: {servers % ports}\n"
        )
        access = ClusterAccess(ClusterFile(file, FLAVOURS), ssh_pool, FakeClock())
        request = bind(json.dumps(body).encode(), StopRequest)
        call = Call(make_idle_engine(), request, TESTER)
        with pytest.raises(ApiError) as caught:
            await stop_route(access).handler(call)
        with pytest.raises(ApiError) as planned:  # of `dryRun` the refusal is the same
            await stop_planner(access)(call)
        assert (type(planned.value), str(planned.value)) == (type(caught.value), str(caught.value))
        return caught.value

    return request_stop


@pytest.mark.parametrize(
    ("flavour", "body", "code"),
    [
        # the scope comes first
        ("oceanbase", {**BOTH}, SCOPE),
        ("oceanbase", {"scope": {"type": "PLANET"}, **BOTH}, SCOPE),
        ("oceanbase", {"scope": {"type": "zone"}, **BOTH}, ILLEGAL),
        ("oceanbase", {"scope": {"type": "ZONE", "target": ["z9"]}, **BOTH}, "OB.Zone.NotExist"),
        ("oceanbase", {"scope": {"type": "SERVER", "target": ["9.9.9.9"]}}, "Agent.NotExist"),
        ("seekdb", {"scope": {"type": "SERVER", "target": [""]}}, "Common.InvalidAddress"),
        # then the flags
        ("oceanbase", GLOBAL, REQUIRED),
        ("seekdb", GLOBAL, REQUIRED),
        ("oceanbase", {"scope": {"type": "global", "target": None}}, REQUIRED),
        ("oceanbase", {**GLOBAL, "force": False, "terminate": None}, REQUIRED),
        ("oceanbase", {**GLOBAL, **BOTH}, CONFLICT),
        ("oceanbase", {**ZONE, **BOTH}, CONFLICT),
        ("seekdb", {**SERVER, **BOTH}, CONFLICT),
        # then whether the database answers
        ("oceanbase", ZONE, DOWN),
        ("oceanbase", ZONES, DOWN),
        ("oceanbase", SERVER, DOWN),
        ("oceanbase", {**ZONE, **FORCE}, DOWN),
        ("oceanbase", {**ZONE, **TERMINATE}, DOWN),
        ("oceanbase", {**SERVER, **TERMINATE}, DOWN),
        ("oceanbase", {**GLOBAL, **TERMINATE}, DOWN),
        ("seekdb", {**SERVER, **TERMINATE}, DOWN),
        # seekdb has no plain stop
        ("seekdb", ZONE, REQUIRED),
        ("seekdb", SERVER, REQUIRED),
    ],
)
async def test_stop_route_refuses_by_first_failing_check(
    refuse_stop: RefuseStop, flavour: str, body: dict[str, Any], code: str
) -> None:
    error = await refuse_stop(flavour, body)
    assert (error.err_code, error.http_status) == (code, 400)
    assert error.message
    assert error.has_tried is (code in (REQUIRED, CONFLICT, DOWN))  # then `data` is null


async def test_stop_route_refusal_names_servers_missing_for_majority(
    refuse_stop: RefuseStop,
) -> None:
    error = await refuse_stop("oceanbase", SERVER)
    assert "servers of 2 of its 2 zones are needed" in error.message
    assert f"{SECOND} (out of this task's scope, state unknown)" in error.message
    assert "force" in error.remedy


@pytest.mark.parametrize("flag", ["force", "terminate"])
@pytest.mark.parametrize("value", ["yes", 1, "true", []])
def test_stop_request_non_boolean_flag_is_refused(flag: str, value: object) -> None:
    with pytest.raises(BindFailed):
        bind(json.dumps({**GLOBAL, flag: value}).encode(), StopRequest)


def test_stop_request_absent_or_null_flags_are_false() -> None:
    for body in (GLOBAL, {**GLOBAL, "force": None, "terminate": None}):
        request = bind(json.dumps(body).encode(), StopRequest)
        assert (bool(request.force), bool(request.terminate)) == (False, False)
    assert bind(b'{"FORCE": true}', StopRequest).force is True

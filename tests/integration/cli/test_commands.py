"""The commands as a user runs them, against a controller with an operation without effect."""

from __future__ import annotations

import asyncio
import re
import signal

import pytest

from dagengine.testing import Latch, eventually
from tasks.demo.hosts import free_port
from tests.support.cli_controller import CliController
from tests.support.fake_cluster import FIRST, PASSWORD, SECOND
from tests.support.quick_cases import first_quick

# --- start -----------------------------------------------------------------------------------


async def test_cli_start_prints_each_server_and_result(controller: CliController) -> None:
    result = await controller.run("start")
    assert result.code == 0
    *lines, end = result.out.splitlines()
    ended = [line for line in lines if "SUCCEED" in line]
    assert sorted(line.split()[3] for line in ended) == [FIRST, SECOND]
    assert all(re.match(r"[0-9:]{8} \[1/1\] Look ", line) for line in lines)
    assert "Start OB" in end
    assert ": SUCCEED, took" in end
    assert "accepted" in result.err
    assert controller.start_bodies[0].scope == {"type": "GLOBAL", "target": []}


async def test_cli_start_failed_prints_cause_and_next_commands(controller: CliController) -> None:
    controller.broken = {SECOND}
    result = await controller.run("start")
    assert result.code == 1
    dag_id = result.err.split()[2]
    assert f"{dag_id}: FAILED: failed at stage 1 of 1" in result.out
    cause = f"{SECOND} failed at Look: [Fake.Broken]: {SECOND} is broken; repair it"
    assert f"failed at stage 1 of 1; 1 of 2 servers are up; {cause}" in result.out
    assert f"dagengine retry {dag_id}" in result.out
    assert f"dagengine logs {dag_id}" in result.out


async def test_cli_start_sends_scope_and_force_pass_ids(controller: CliController) -> None:
    ids = ["20168430081028861", "20168430081028862"]
    forced = [word for dag_id in ids for word in ("--force-pass", dag_id)]
    assert (await controller.run("start", "--no-wait", "--zone", "z1,z2", *forced)).code == 0
    assert (await controller.run("start", "--no-wait", "--server", FIRST)).code == 0
    first, second = controller.start_bodies
    assert first.scope == {"type": "ZONE", "target": ["z1", "z2"]}
    assert first.forcePassDag == {"id": ids}
    assert second.scope == {"type": "SERVER", "target": [FIRST]}
    assert second.forcePassDag == {"id": []}


async def test_cli_start_no_wait_returns_while_dag_runs(controller: CliController) -> None:
    controller.latch = Latch()
    result = await controller.run("start", "--no-wait", "--json")
    dag = result.document
    assert (result.code, dag["state"] in ("READY", "RUNNING")) == (0, True)
    assert (await controller.dag(dag["id"]))["state"] in ("READY", "RUNNING")
    controller.latch.open()


@pytest.mark.parametrize("broken", [set(), {SECOND}], ids=["good", "failing"])
async def test_cli_start_json_prints_one_document_on_stdout(
    controller: CliController, broken: set[str]
) -> None:
    controller.broken = broken
    result = await controller.run("start", "--json")
    dag = result.document
    assert (result.code, dag["state"]) == ((1, "FAILED") if broken else (0, "SUCCEED"))
    assert len(dag["nodes"][0]["sub_tasks"]) == 2
    assert f"Start OB {dag['id']} accepted" in result.err
    assert f"Start OB {dag['id']}: {dag['state']}" in result.err


async def test_cli_start_interrupted_leaves_dag_running(controller: CliController) -> None:
    controller.latch = Latch()
    async with controller.launch("start", "--json") as process, asyncio.timeout(30):
        assert process.stderr is not None
        accepted = (await process.stderr.readline()).decode()
        await controller.latch.reached.wait()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    dag_id = accepted.split()[2]
    assert process.returncode == 130
    assert out == b""
    assert b"interrupted; the DAG continues" in err
    assert f"follow it with  dagengine show --follow {dag_id}" in err.decode()
    assert b"Traceback" not in err

    assert (await controller.dag(dag_id))["state"] == "RUNNING"
    controller.latch.open()

    async def has_succeeded() -> bool:
        return bool((await controller.dag(dag_id))["state"] == "SUCCEED")

    await eventually(has_succeeded, what="the end of a DAG without a follower")


# --- operators -------------------------------------------------------------------------------


async def test_cli_retry_reruns_failed_sub_task_and_waits(controller: CliController) -> None:
    dag_id = await controller.failed_dag()
    second_result = await controller.run("retry", dag_id)
    assert second_result.code == 1
    controller.broken = set()
    result = await controller.run("retry", dag_id, "--json")
    tasks = result.document["nodes"][0]["sub_tasks"]
    assert (result.code, result.document["state"]) == (0, "SUCCEED")
    assert [task["execute_times"] for task in tasks] == [1, 3]


async def test_cli_pass_failed_dag_succeeds(controller: CliController) -> None:
    dag_id = await controller.failed_dag()
    result = await controller.run("pass", dag_id)
    assert result.code == 0
    assert f"{dag_id}: SUCCEED (passed by an operator before it was complete)" in result.out
    assert (await controller.dag(dag_id))["operator"] == "PASS"


@pytest.mark.slow
async def test_cli_retry_interrupted_prints_follow_hint(controller: CliController) -> None:
    dag_id = await controller.failed_dag()
    controller.latch = Latch()
    async with controller.launch("retry", dag_id) as process, asyncio.timeout(30):
        await controller.latch.reached.wait()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert err.decode().splitlines() == [
        "",
        "interrupted; the DAG continues",
        f"next: follow it with  dagengine show --follow {dag_id}",
        f"      or end it with  dagengine cancel {dag_id}",
    ]
    assert (await controller.dag(dag_id))["state"] == "RUNNING"
    controller.latch.open()


@pytest.mark.slow
async def test_cli_cancel_interrupted_prints_follow_hint(controller: CliController) -> None:
    controller.latch, controller.end_latch = Latch(), Latch()
    dag_id = (await controller.run("start", "--no-wait", "--json")).document["id"]
    await controller.latch.reached.wait()
    async with controller.launch("cancel", dag_id) as process, asyncio.timeout(30):
        await controller.end_latch.reached.wait()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert (
        f"the DAG continues\nnext: follow it with  dagengine show --follow {dag_id}" in err.decode()
    )
    controller.end_latch.open()


@pytest.mark.parametrize("stage", first_quick(["0", "-1", "2"]))
async def test_cli_pass_invalid_node_is_refused(controller: CliController, stage: str) -> None:
    dag_id = await controller.failed_dag()
    result = await controller.run("pass", dag_id, "--node", stage)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("dagengine: ")
    assert "--node" in result.err
    assert (await controller.dag(dag_id))["state"] == "FAILED"


async def test_cli_pass_node_completes_dag(controller: CliController) -> None:
    dag_id = await controller.failed_dag()
    result = await controller.run("pass", dag_id, "--node", "1")
    assert result.code == 0
    dag = await controller.dag(dag_id)
    assert (dag["state"], dag["nodes"][0]["operator"]) == ("SUCCEED", "PASS")


async def test_cli_cancel_waits_until_dag_has_ended(controller: CliController) -> None:
    controller.latch = Latch()
    dag_id = (await controller.run("start", "--no-wait", "--json")).document["id"]
    result = await controller.run("cancel", dag_id)
    assert result.code == 0
    assert f"{dag_id}: FAILED: cancelled at stage 1 of 1" in result.out
    dag = await controller.dag(dag_id)
    assert (dag["state"], dag["operator"]) == ("FAILED", "CANCEL")


@pytest.mark.parametrize(
    ("command", "code"),
    first_quick(
        [
            ("cancel", "CancelFinishedDag"),
            ("retry", "RetryNotFailedDag"),
            ("pass", "PassNotFailedDag"),
        ]
    ),
)
async def test_cli_operator_not_allowed_is_refused_by_code(
    controller: CliController, command: str, code: str
) -> None:
    dag_id = (await controller.run("start", "--json")).document["id"]
    result = await controller.run(command, dag_id)
    assert (result.code, result.out) == (2, "")
    assert f"dagengine: [Task.Dag.Operator.{code}]" in result.err


# --- what does not work ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "says"),
    first_quick(
        [
            (("start", "--zoen", "z1"), "--zoen"),
            (("start", "--zone", "z1", "--server", FIRST), "--zone or --server, not both"),
            (("start", "--zone", ""), "--zone does not name a zone"),
            (("stop", "--force", "--server", ","), "omit --server for the whole cluster"),
            (("start", "z1"), "--zone ZONE"),
            (("start", "--url", "http://127.0.0.1:1", "--zone", "z1", "z2"), "--zone ZONE"),
            (("retry", "last"), "there is none yet"),
            (
                ("retry", "7"),
                "the id of no DAG is or ends in '7'; see the ids with `dagengine list`",
            ),
            (("list", "--url", "ftp://x"), "'ftp://x' is not one of http://HOST:PORT"),
            (("list", "--url", "http://"), "'http://' is not one of"),
            (("strat",), "strat"),
            (("stop-all", "x"), "stop-all"),
            (("retry",), "ID"),
            (
                ("show", "nonsense"),
                "'nonsense'; see the ids with `dagengine list`, or write `last`",
            ),
            (("logs", "12700000100000b46000000000000000999"), "the id of no DAG"),
            (("list", "--password", PASSWORD), "--password"),
            (("start", f"--password={PASSWORD}"), "--password"),
            (("show", "-p", PASSWORD), "-p"),
        ]
    ),
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_cli_wrong_usage_is_reported_on_stderr(
    controller: CliController, argv: tuple[str, ...], says: str
) -> None:
    result = await controller.run(*argv)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("dagengine: ")
    assert says in result.err
    assert controller.start_bodies == []


async def test_cli_show_unknown_id_is_not_found(controller: CliController) -> None:
    existing_id = await controller.failed_dag()
    result = await controller.run("show", f"{existing_id[:-1]}9")
    assert (result.code, result.out) == (2, "")
    assert "dagengine: [Task.NotFound]: Task not found" in result.err


@pytest.mark.parametrize("argv", [("fleet",), ("list", "--cluster", "prod")])
async def test_cli_fleet_at_url_of_cluster_names_other_command(
    controller: CliController, argv: tuple[str, ...]
) -> None:
    result = await controller.run(*argv)
    assert result.code == 2
    assert "is the API of one cluster, not of a service" in result.err
    assert "use `dagengine status`, or name the service" in result.err


async def test_cli_without_controller_names_url(controller: CliController) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    by_variable = await controller.run("start", "--json", DAGENGINE_URL=url)
    by_option = await controller.run("list", "--url", url)
    for result in (by_variable, by_option):
        assert result.code == 3
        assert f"dagengine: the controller at {url} does not respond: nothing listens" in result.err
    error = by_variable.document["error"]
    assert (error["exit_code"], by_option.out) == (3, "")
    assert error["message"].startswith(f"the controller at {url}")
    assert "dagengine serve" in error["remedy"]


@pytest.mark.parametrize(
    ("argv", "exit_code", "error_code"),
    first_quick(
        [
            (("show", "nonsense", "--json"), 2, ""),
            (("start", "--json", "--zoen", "z1"), 2, ""),
            (("list", "--json", "--url", "ftp://x"), 2, ""),
            (("show", "--json", "12700000100000b46000000000000000999"), 2, ""),
            (("show", "--json", "22130706433028860"), 2, "Task.NotFound"),
        ]
    ),
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_cli_error_with_json_is_one_document(
    controller: CliController, argv: tuple[str, ...], exit_code: int, error_code: str
) -> None:
    result = await controller.run(*argv)
    error = result.document["error"]
    assert (result.code, error["exit_code"]) == (exit_code, exit_code)
    assert (error["message"] != "", error["code"]) == (True, error_code)
    assert result.err.startswith("dagengine: ")


@pytest.mark.parametrize("password", first_quick(["wrong-password", ""]))
async def test_cli_wrong_password_is_refused_and_not_shown(
    controller: CliController, password: str
) -> None:
    result = await controller.run("start", DAGENGINE_PASSWORD=password)
    assert (result.code, result.out) == (4, "")
    assert "dagengine: [Security." in result.err
    assert "; set DAGENGINE_PASSWORD to the password of root@sys" in result.err
    assert "wrong-password" not in result.err
    result = await controller.run("start", "--json", DAGENGINE_PASSWORD=password)
    remedy = result.document["error"]["remedy"]
    assert remedy == "set DAGENGINE_PASSWORD to the password of root@sys"
    assert controller.start_bodies == []


# --- help ------------------------------------------------------------------------------------


async def test_cli_help_lists_every_command(controller: CliController) -> None:
    result = await controller.run("--help")
    assert result.code == 0
    named = [line.split()[1] for line in result.out.splitlines() if line.startswith("│ ")]
    expected = {"serve", "start", "list", "show", "logs", "retry", "cancel", "pass", "demo"}
    assert expected <= set(named)


async def test_cli_without_command_prints_help_and_exits_2(controller: CliController) -> None:
    result = await controller.run()
    assert result.code == 2
    assert "Start and stop" in result.out + result.err
    assert "dagengine: \n" not in result.err


# --- notices -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", first_quick(["start", "start --no-wait --json", "show", "list"])
)
async def test_cli_notice_of_controller_is_printed_once(
    controller: CliController, command: str
) -> None:
    controller.cluster.notices = ("cluster.yaml is refused (\x1b[2J)",)
    result = await controller.run(*command.split())
    assert result.code == 0
    assert result.err.count("dagengine: cluster.yaml is refused (\\x1b[2J)\n") == 1
    assert "refused" not in result.out


async def test_cli_notice_is_printed_with_a_refusal(controller: CliController) -> None:
    controller.cluster.notices = ("cluster.yaml is refused",)
    result = await controller.run("show", "9")
    assert result.code == 2
    assert result.err.startswith("dagengine: cluster.yaml is refused\n")

"""The actions of a user on a real layout, each with all conditions that must hold afterwards."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagengine.client import Client
from dagengine.errors import ApiRefused
from dagengine.testing import eventually
from tasks.demo.hosts import free_port
from tests.acceptance.conftest import ClusterTestbed, all_log_lines
from tests.acceptance.doctor_command import doctor
from tests.layouts.expected import Expected, Running, Start
from tests.layouts.listing import Listing, find_changes, find_losses, list_data
from tests.layouts.real_layout import RealLayout

TARGET = "127.0.0.1:2886"
WRONG_PASSWORD = "not-the-password-of-root"

_CHECK, _HEALTH = 2, 4
_ENDED = ("SUCCEED", "FAILED")
_PATIENCE_S = 8.0  # with a server that neither serves nor ends
_LIMIT_S = 90.0


@dataclass(frozen=True, slots=True)
class Site:
    """The environment of the actions.

    Attributes:
        testbed: a controller and one host.
        real: the layout on that host.
        expected: expectations of the layout.
        password: root's password, set when the layout was made.
        word: content of the row that was written then.
        sleep: a process that the pid file names, and that is not a server.
        sql_port: the port in the cluster file.
    """

    testbed: ClusterTestbed
    real: RealLayout
    expected: Expected
    password: str
    word: str
    sleep: subprocess.Popen[bytes]
    sql_port: int

    # --- the product ---------------------------------------------------------------------------

    def configure(self, password: str | None = None) -> None:
        """Write the cluster file of the layout, and the user's copy of the password."""
        case_file = self.real.layout.cluster_file
        entry = self.testbed.cluster.server_entry(0)
        entry |= {"home": self.real.place(case_file.home), "sql_port": self.sql_port}
        for key, path in (("data_dir", case_file.data_dir), ("redo_dir", case_file.redo_dir)):
            entry.pop(key, None)
            if path is not None:
                entry[key] = self.real.place(path)
        file = Path(self.testbed.cluster.entries["root_password_file"])
        file.write_text(password or self.password)
        self.testbed.cluster.password = password or self.password
        self.testbed.cluster.write()

    async def start(self) -> dict[str, Any]:
        """Start the server, and follow the DAG to its end."""
        async with self.testbed.client() as client:
            return await self._follow(client, (await client.start("SERVER", [TARGET]))["id"])

    async def operate(self, dag: dict[str, Any], operator: str) -> dict[str, Any]:
        async with self.testbed.client() as client:
            await client.operate_dag(dag["id"], operator)
            return await self._follow(client, dag["id"])

    async def stop(
        self, *, force: bool = False, terminate: bool = False
    ) -> dict[str, Any] | ApiRefused:
        """Stop the server; return the DAG, or the refusal of the request."""
        async with self.testbed.client() as client:
            try:
                dag = await client.stop("SERVER", [TARGET], force=force, terminate=terminate)
            except ApiRefused as refusal:
                return refusal
            return await self._follow(client, dag["id"])

    async def _follow(self, client: Client, dag_id: str) -> dict[str, Any]:
        """Follow a DAG to its end; cancel it if its server never serves."""
        dag: dict[str, Any] = {}

        async def has_ended() -> bool:
            nonlocal dag
            dag = await client.get_dag(dag_id)
            return dag["state"] in _ENDED

        if self.expected.start is Start.FAILS:
            try:
                await eventually(has_ended, timeout_s=_PATIENCE_S)
            except AssertionError:
                await client.operate_dag(dag_id, "CANCEL")
        await eventually(has_ended, timeout_s=_LIMIT_S, what=f"the end of DAG {dag_id}")
        return dag

    # --- conditions ----------------------------------------------------------------------------

    def list_data(self) -> Listing:
        return list_data(self.real.root)

    def assert_unchanged(self, before: Listing) -> None:
        assert find_changes(before, self.list_data()) == []

    def assert_nothing_lost(self, before: Listing) -> None:
        assert find_losses(before, self.list_data()) == []

    def assert_refused(self, dag: dict[str, Any], *words: str) -> None:
        """Check that a check failed, and that the log has the contradiction and the remedy."""
        assert (dag["state"], dag["stage"]) == ("FAILED", _CHECK), all_log_lines(dag)
        (task,) = dag["nodes"][_CHECK - 1]["sub_tasks"]
        assert re.search("; .*, then RETRY$", task["task_logs"][-1]), all_log_lines(dag)
        assert all(word in all_log_lines(dag) for word in words), all_log_lines(dag)

    def assert_serves(self) -> int:
        """Return the pid of the only running server, in this home and with the same data."""
        (pid,) = self.real.find_servers()
        assert Path(f"/proc/{pid}/cwd").samefile(self.real.home)
        if self.expected.start is not Start.FIRST:
            assert self.real.read_row() == self.word
        return pid

    def launch(self) -> int:
        pid = self.real.launch()
        assert self.real.read_row() == self.word
        self.real.name_in_pid_file(self.sleep.pid)
        return pid

    def assert_start(self, dag: dict[str, Any], before: Listing) -> None:
        """Check the expected result of a start of a layout without a running server."""
        match self.expected.start:
            case Start.REFUSED:
                self.assert_refused(dag, *self.expected.words)
                self.assert_unchanged(before)
                assert self.real.find_servers() == []
            case Start.SERVES | Start.FIRST:
                assert dag["state"] == "SUCCEED", all_log_lines(dag)
                self.assert_serves()
            case Start.FAILS:
                assert dag["state"] == "FAILED", all_log_lines(dag)
                assert dag["stage"] > _CHECK, all_log_lines(dag)
        self.assert_nothing_lost(before)

    def assert_doubted(self, dag: dict[str, Any], pid: int, stage: int = _CHECK) -> None:
        """Check that the DAG names the process, both directories and the remedy; it still runs."""
        assert (dag["state"], dag["stage"]) == ("FAILED", stage), all_log_lines(dag)
        for word in (f"pid {pid}", str(self.real.home), f"{self.real.root}/link", "`home`"):
            assert word in all_log_lines(dag), all_log_lines(dag)
        assert self.real.find_servers() == [pid]

    def occupy_port(self) -> AbstractContextManager[object]:
        return closing(socket.create_server(("127.0.0.1", self.sql_port)))


async def start(site: Site) -> None:
    """START without a running server, and with one that was started in a special way."""
    if site.expected.special_launch:
        await _start_running(site)
        site.real.kill_servers()
    before = site.list_data()
    site.assert_start(await site.start(), before)


async def _start_running(site: Site) -> None:
    pid, before = site.launch(), site.list_data()
    dag = await site.start()
    if site.expected.running is Running.DOUBTED:
        site.assert_doubted(dag, pid)
    else:
        assert dag["state"] == "SUCCEED", all_log_lines(dag)
        assert f"already running, pid {pid}" in all_log_lines(dag)
        assert site.assert_serves() == pid
    site.assert_nothing_lost(before)


async def start_and_stop(site: Site) -> None:
    """START without a running server, then a forced stop of the server."""
    before = site.list_data()
    site.assert_start(await site.start(), before)
    servers_before = site.real.find_servers()
    site.real.name_in_pid_file(site.sleep.pid)
    dag = await site.stop(force=True)
    assert not isinstance(dag, ApiRefused)
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    assert site.real.find_servers() == []
    assert ("does not run: nothing to stop" in all_log_lines(dag)) is not bool(servers_before)
    site.assert_nothing_lost(before)


async def retry(site: Site) -> None:
    """RETRY of a failed start, whether or not the cause has been removed."""
    before = site.list_data()
    dag, pid = await _fail(site)
    site.configure()
    retried = await site.operate(dag, "RETRY")
    if site.expected.start is Start.FAILS:  # a check may refuse its files
        assert retried["state"] == "FAILED", all_log_lines(retried)
        site.assert_nothing_lost(before)
        return
    if site.expected.start is Start.REFUSED:
        site.assert_refused(dag, *site.expected.words)
    site.assert_start(retried, before)
    if pid is not None:
        assert site.real.find_servers() == [pid]


async def _fail(site: Site) -> tuple[dict[str, Any], int | None]:
    """Cause a failing start; return the pid of the server that runs nevertheless."""
    serves = site.expected.start is Start.SERVES
    if serves:
        site.configure(WRONG_PASSWORD)
    is_first = site.expected.start is Start.FIRST
    with site.occupy_port() if is_first else nullcontext():
        dag = await site.start()
    assert dag["state"] == "FAILED", all_log_lines(dag)
    if not serves:
        return dag, None
    assert dag["stage"] == _HEALTH, all_log_lines(dag)
    (pid,) = site.real.find_servers()
    return dag, pid


async def rollback(site: Site) -> None:
    """ROLLBACK ends the server that this start has started, and no other; files are kept."""
    if site.expected.special_launch:
        await _rollback_running(site)
        site.real.kill_servers()
        site.configure()
    before = site.list_data()
    dag, _ = await _fail(site)
    rolled_back = await site.operate(dag, "ROLLBACK")
    assert rolled_back["state"] == "SUCCEED", all_log_lines(rolled_back)
    assert site.real.find_servers() == []
    site.assert_nothing_lost(before)
    if site.expected.start in (Start.REFUSED, Start.FIRST):
        site.assert_unchanged(before)
    if site.expected.start is Start.SERVES:
        site.launch()


async def _rollback_running(site: Site) -> None:
    pid = site.launch()
    site.configure(WRONG_PASSWORD)
    dag = await site.start()
    assert dag["state"] == "FAILED", all_log_lines(dag)
    rolled_back = await site.operate(dag, "ROLLBACK")
    assert rolled_back["state"] == "SUCCEED", all_log_lines(rolled_back)
    assert site.assert_serves() == pid


async def stop_plain(site: Site) -> None:
    """A plain stop is refused for seekdb, whether or not it runs."""
    before = site.list_data()
    await _refuse(site, "ForceStopOrTerminateRequired")
    site.assert_unchanged(before)
    if site.expected.running is not Running.NEVER:
        pid = site.launch()
        await _refuse(site, "ForceStopOrTerminateRequired")
        assert site.assert_serves() == pid


async def stop_terminate(site: Site) -> None:
    """A stop after a minor freeze."""
    before = site.list_data()
    await _refuse(site, "ForceStopRequired", terminate=True)
    site.assert_unchanged(before)
    await _stop_running(site, terminate=True)


async def stop_force(site: Site) -> None:
    """An immediate stop."""
    before = site.list_data()
    dag = await site.stop(force=True)
    assert not isinstance(dag, ApiRefused)
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    assert "does not run: nothing to stop" in all_log_lines(dag)
    site.assert_unchanged(before)
    await _stop_running(site, force=True)


async def _stop_running(site: Site, *, force: bool = False, terminate: bool = False) -> None:
    """Stop a server that was started by hand: it ends, or is not reported as stopped."""
    if site.expected.running is Running.NEVER:
        return
    pid, before = site.launch(), site.list_data()
    dag = await site.stop(force=force, terminate=terminate)
    if site.expected.running is Running.DOUBTED:
        if isinstance(dag, ApiRefused):
            assert site.real.find_servers() == [pid], dag
        else:
            site.assert_doubted(dag, pid)
        return
    assert not isinstance(dag, ApiRefused), dag
    if terminate and not site.expected.freezes:
        assert dag["state"] == "FAILED", all_log_lines(dag)
        for words in (f"pid {pid}", str(site.real.home), f"{site.real.root}/before", "force"):
            assert words in all_log_lines(dag), all_log_lines(dag)
        assert site.assert_serves() == pid
        return
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    assert f"stopped, pid {pid}" in all_log_lines(dag)
    assert site.real.find_servers() == []
    site.assert_nothing_lost(before)
    if terminate:
        site.launch()


async def _refuse(site: Site, code: str, *, terminate: bool = False) -> None:
    refusal = await site.stop(terminate=terminate)
    assert isinstance(refusal, ApiRefused), refusal
    assert code in refusal.code


async def dry_run(site: Site) -> None:
    """Dry runs of start and stop report their decision, and change nothing."""
    before = site.list_data()
    plan = await _plan_start(site)
    if site.expected.start is Start.REFUSED:
        assert plan["verdict"] == "blocked", plan
        assert all(word in json.dumps(plan) for word in site.expected.words), plan
    else:
        assert plan["verdict"] == "start", plan
    assert (await _plan_stop(site))["verdict"] == "nothing"
    site.assert_unchanged(before)
    if site.expected.running is Running.NEVER:
        return
    pid, before = site.launch(), site.list_data()
    is_doubted = site.expected.running is Running.DOUBTED
    plans = [await _plan_start(site), await _plan_stop(site)]
    actions = ["blocked", "blocked"] if is_doubted else ["nothing", "stop"]
    assert [plan["verdict"] for plan in plans] == actions, plans
    assert all(f"pid {pid}" in json.dumps(plan) for plan in plans), plans
    assert site.assert_serves() == pid
    site.assert_nothing_lost(before)


async def _plan_start(site: Site) -> dict[str, Any]:
    async with site.testbed.client() as client:
        plan = await client.start("SERVER", [TARGET], dry_run=True)
    return _only_server(plan)


async def _plan_stop(site: Site) -> dict[str, Any]:
    async with site.testbed.client() as client:
        plan = await client.stop("SERVER", [TARGET], force=True, dry_run=True)
    return _only_server(plan)


def _only_server(plan: Mapping[str, Any]) -> dict[str, Any]:
    (server,) = plan["servers"]
    assert isinstance(server, dict)
    return server


async def examine(site: Site) -> None:
    """`dagengine doctor` names the contradiction, and changes nothing."""
    before = site.list_data()
    _, document = await doctor(site.testbed)
    if site.expected.start is Start.REFUSED:
        assert all(word in json.dumps(document) for word in site.expected.words), document
    site.assert_unchanged(before)
    if site.expected.special_launch:
        pid = site.launch()
        _, document = await doctor(site.testbed)
        if site.expected.running is Running.DOUBTED:
            assert f"pid {pid}" in json.dumps(document), document
        assert site.assert_serves() == pid


Action = Callable[[Site], Awaitable[None]]

ACTIONS: Mapping[str, Action] = {
    "start": start,
    "retry": retry,
    "stop_plain": stop_plain,
    "stop_terminate": stop_terminate,
    "stop_force": stop_force,
    "rollback": rollback,
    "dry_run": dry_run,
    "doctor": examine,
}


def choose_port(real: RealLayout) -> int:
    """Return the port that the server has recorded, or a free one."""
    return real.sql_port or free_port()

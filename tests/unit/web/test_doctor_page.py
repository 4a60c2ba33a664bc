"""The view model of the page of the doctor, and the examination behind it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dagengine.extension import SelfCheckResult, SelfCheckStatus, Texts
from dagengine.remote import HostAddress
from dagengine.testing import FakeClock
from dagengine.translation import Translator
from tasks.cluster.servers import Server
from tasks.doctor.background import BackgroundDoctor, Examination
from tasks.doctor.examine import Report
from tasks.web.doctor import list_commands, split_commands, view_doctor
from tests.unit.web.test_servers_page import NOW

TEXTS = Texts(Translator([]))
OK = SelfCheckResult("10.0.0.1:2886", "login", SelfCheckStatus.OK, "logged in")
BAD = SelfCheckResult("10.0.0.2:2886", "port", SelfCheckStatus.BAD, "in use", "end `kill 7` it")
WARN = SelfCheckResult("cluster.yaml", "file", SelfCheckStatus.WARN, "old", "renew it")


def test_doctor_before_first_examination_offers_it() -> None:
    model = view_doctor(None, {}, NOW, TEXTS, has_session=True)
    assert (model.button, model.groups, model.is_running) == ("Examine all hosts", (), False)


def test_findings_are_grouped_by_host_worst_first(servers: tuple[Server, ...]) -> None:
    by_name = {server.name: server for server in servers}
    done = Examination(NOW, NOW, (OK, WARN, BAD))
    model = view_doctor(done, by_name, NOW, TEXTS, has_session=True)
    assert [group.name for group in model.groups] == [BAD.subject, WARN.subject, OK.subject]
    assert model.kind == "bad"
    (finding,) = model.groups[0].findings
    assert [(part.text, bool(part.command_id)) for part in finding.remedy] == [
        ("end ", False),
        ("kill 7", True),
        (" it", False),
    ]
    assert model.groups[2].findings == ()
    assert len(model.groups[2].commands) == 2
    assert model.groups[1].commands == ()


def test_running_examination_shows_results_so_far() -> None:
    model = view_doctor(Examination(NOW, None, (OK,)), {}, NOW, TEXTS, has_session=True)
    assert (model.is_running, model.kind, len(model.groups)) == (True, "busy", 1)
    assert model.refusal == "An examination is in progress"


def test_doctor_of_visitor_without_session_is_disabled() -> None:
    for examination in (None, Examination(NOW, NOW, (OK,))):
        model = view_doctor(examination, {}, NOW, TEXTS, has_session=False)
        assert model.refusal == "Log in first"
        assert view_doctor(examination, {}, NOW, TEXTS, has_session=True).refusal == ""


@pytest.mark.parametrize("remedy", ["one `open", "plain", "correct `home` in the cluster file"])
def test_remedy_without_commands_keeps_its_text(remedy: str) -> None:
    parts = split_commands(remedy, "x")
    assert "".join(part.text for part in parts) == remedy
    assert not any(part.command_id for part in parts)


def test_commands_to_copy_are_quoted_twice(servers: tuple[Server, ...]) -> None:
    address = HostAddress("h", 23, "admin", key_file=Path("/my key"), jump=HostAddress("j"))
    server = replace(servers[0], home="/my home", address=address)
    login, tail = list_commands(server)
    words = ["ssh", "-p", "23", "-i", "/my key", "-J", "root@j:22", "admin@h"]
    assert shlex.split(login) == words
    *ssh, remote = shlex.split(tail)
    assert ssh == words
    assert shlex.split(remote)[:3] == ["tail", "-n", "50"]
    assert shlex.split(remote)[3].startswith("/my home/")


async def test_doctor_runs_one_examination_at_a_time() -> None:
    doctor, held, runs = BackgroundDoctor(FakeClock()), asyncio.Event(), []

    async def examine(report: Report) -> Sequence[SelfCheckResult]:
        runs.append(1)
        report([OK])
        await held.wait()
        return [OK, BAD]

    doctor.begin(examine)
    doctor.begin(examine)
    await asyncio.sleep(0)
    assert doctor.last is not None
    assert (doctor.last.ended_at, doctor.last.results) == (None, (OK,))
    held.set()
    await doctor.wait()
    assert doctor.last.ended_at is not None
    assert (runs, doctor.last.results) == ([1], (OK, BAD))
    await doctor.close()


async def test_doctor_is_cancelled_by_close() -> None:
    doctor = BackgroundDoctor(FakeClock())

    async def examine(report: Report) -> Sequence[SelfCheckResult]:
        await asyncio.Event().wait()
        return []

    doctor.begin(examine)
    await asyncio.sleep(0)
    await doctor.close()
    assert doctor.last is not None
    assert doctor.last.ended_at is None

"""Causes of failed starts: the cases in tests/cases/diagnose, the table, and arbitrary text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.cluster.parameters import load_parameters, parse_size
from tasks.diagnosis.diagnose import Diagnosis, diagnose, find_small_option
from tasks.diagnosis.error_codes import ERROR_PATTERNS, HERE, KNOWN_ERRORS, LIST
from tasks.diagnosis.postmortem import Postmortem
from tasks.hosts.identity import Listener, TcpConnection

CASES = sorted((Path(__file__).parents[2] / "cases" / "diagnose").glob("*.json"))
PID = 4242


def line(text: str, level: str = "ERROR") -> str:
    return f"[2024-01-10 03:24:44.513664] {level} [SERVER] start (main.cpp:1) [123][seekdb] {text}"


def diagnose_lines(*log: str, **evidence: Any) -> Diagnosis:
    return diagnose(Postmortem(log=log, **evidence), pid=PID, program="seekdb")


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_diagnose_case_file_gives_expected_cause(file: Path) -> None:
    case = json.loads(file.read_text())
    fields = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in case["given"]["traces"].items()
    }
    if "connections" in fields:
        fields["connections"] = tuple(TcpConnection(**each) for each in fields["connections"])
    if "listeners" in fields:
        fields["listeners"] = {
            int(port): tuple(Listener(**each) for each in listeners)
            for port, listeners in fields["listeners"].items()
        }
    options = case["given"].get("options", {})
    result = diagnose(
        Postmortem(**fields),
        pid=PID,
        program="seekdb",
        options=options,
        parameters=load_parameters(),
    )
    expected = case["then"]
    assert result.errcode == expected["errcode"]
    assert expected["cause"] in result.cause
    assert expected["remedy"] in result.remedy
    assert result.names_error == expected.get("names_error", True)
    for hint in expected.get("hints", ()):
        assert hint in result.sentence


@pytest.mark.parametrize("code", KNOWN_ERRORS)
def test_diagnose_known_code_gives_cause_and_remedy(code: int) -> None:
    result = diagnose_lines(line(f"[lt=1][errcode={code}] it failed"))
    known = KNOWN_ERRORS[code]
    assert result.cause == f"{known.cause} (errcode {code}, {known.name})"
    assert result.remedy == known.remedy
    assert known.source in (LIST, HERE)
    assert known.name.startswith("OB_")


def test_known_errors_table_is_complete_and_unique() -> None:
    assert len(KNOWN_ERRORS) >= 20
    assert len({known.name for known in KNOWN_ERRORS.values()}) == len(KNOWN_ERRORS)
    assert all(KNOWN_ERRORS[sign.code].is_general for sign in ERROR_PATTERNS)
    # A healthy seekdb 1.4 writes EDIAG lines with this code.
    assert -4109 not in KNOWN_ERRORS


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        # the other spelling
        (["init failed(ret=-4184, x=1)"], -4184),
        (["init failed, ret=-4184"], -4184),
        # the last specific code counts, also before later unknown ones and within one line
        (["[errcode=-4009]", "[errcode=-4184]"], -4184),
        (["[errcode=-4184]", "[errcode=-1]"], -4184),
        (["[errcode=-4009] again ret=-4184"], -4184),
        (["[errcode=-4184] again ret=-4009"], -4009),
        # only general codes: the last of these; only unknown codes: the last of those
        (["[errcode=-4015]", "[errcode=-4016]", "[errcode=-1]"], -4016),
        (["[errcode=-1]", "[errcode=-2]"], -2),
        # text that resembles a code
        (["[errcode=4184]"], None),
        (["[errcode=-]"], None),
        (["xret=-4184"], None),
        (["-4184"], None),
        (["[errcode=-٤١٨٤]"], None),
        ([], None),
        pytest.param(["[errcode=-" + "9" * 5000 + "]"], None, id="5000 digits"),
        # a message counts only together with its code
        (["fail to start net frame [errcode=-4184]"], -4184),
    ],
)
def test_diagnose_uses_last_specific_code(texts: list[str], code: int | None) -> None:
    result = diagnose_lines(*(line(text) for text in texts))
    assert result.errcode == code
    assert result.names_error == (code is not None)


def test_diagnose_keeps_five_short_lines_without_backtrace() -> None:
    lines = [line(f"{number} " + "x" * 400) for number in range(9)]
    result = diagnose_lines(*lines, line("[errcode=-4184] BACKTRACE:0x1 0x2"))
    assert [excerpt.split("[seekdb] ")[1].split()[0] for excerpt in result.lines[:4]] == list(
        "0178"
    )
    assert result.lines[4].endswith("[errcode=-4184]")
    assert max(len(excerpt) for excerpt in result.lines) == 300


@given(st.lists(st.text()), st.lists(st.text()), st.lists(st.text()))
def test_diagnose_any_postmortem_gives_cause_and_remedy(
    log: list[str], kernel: list[str], cores: list[str]
) -> None:
    evidence = Postmortem(log=tuple(log), kernel=tuple(kernel), cores=tuple(cores))
    result = diagnose(evidence, pid=PID, program="seekdb")
    assert result.cause
    assert result.remedy
    assert len(result.lines) <= 5
    assert all(len(excerpt) <= 300 for excerpt in result.lines)


@pytest.mark.parametrize(
    ("options", "cause_part"),
    [
        ({"log_disk_size": "1G"}, "log_disk_size 1G is too small"),
        ({"log_disk_size": "2047mb"}, "log_disk_size 2047mb is too small"),
        ({"log_disk_size": "2G"}, None),
        ({"log_disk_size": "many"}, None),
        ({"log_disk_size": "0"}, None),  # the server's own choice
        ({"memory_limit": "1G"}, None),
        ({"memory_limit": "1023M"}, "memory_limit 1023M is too small"),
        ({}, None),
    ],
)
def test_suspect_too_small_start_option_is_named(
    options: dict[str, str], cause_part: str | None
) -> None:
    result = find_small_option(options)
    assert (result is None) == (cause_part is None)
    if result is not None:
        assert cause_part is not None
        assert cause_part in result.cause


def test_diagnose_cause_in_log_precedes_start_options() -> None:
    evidence = Postmortem(log=(line("[errcode=-4184]"),))
    result = diagnose(evidence, pid=PID, program="seekdb", options={"log_disk_size": "1G"})
    assert result.errcode == -4184


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("2k", 2048), ("3MB", 3 << 20), ("4g", 4 << 30), ("x", None), ("-1G", None)],
)
def test_parse_size_reads_units_of_server(text: str, size: int | None) -> None:
    assert parse_size(text) == size

"""Why a server did not come up: the cases in tests/cases/diagnose, the table, any text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.cluster.sizes import parse_size
from tasks.diagnosis.diagnose import Diagnosis, diagnose, find_small_option
from tasks.diagnosis.error_codes import ERROR_PATTERNS, HERE, KNOWN_ERRORS, LIST
from tasks.diagnosis.postmortem import Postmortem

CASES = sorted((Path(__file__).parents[1] / "cases" / "diagnose").glob("*.json"))
PID = 4242


def line(text: str, level: str = "ERROR") -> str:
    return f"[2024-01-10 03:24:44.513664] {level} [SERVER] start (main.cpp:1) [123][seekdb] {text}"


def judge(*log: str, **traces: Any) -> Diagnosis:
    return diagnose(Postmortem(log=log, **traces), pid=PID, program="seekdb")


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_a_case_is_judged_as_its_file_says(file: Path) -> None:
    case = json.loads(file.read_text())
    fields = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in case["given"]["traces"].items()
    }
    options = case["given"].get("options", {})
    found = diagnose(Postmortem(**fields), pid=PID, program="seekdb", options=options)
    then = case["then"]
    assert found.errcode == then["errcode"]
    assert then["cause"] in found.cause
    assert then["remedy"] in found.remedy
    assert found.names_error == then.get("names_error", True)
    for hint in then.get("hints", ()):
        assert hint in found.sentence


@pytest.mark.parametrize("code", KNOWN_ERRORS)
def test_a_known_code_is_put_in_words_with_what_to_do(code: int) -> None:
    found = judge(line(f"[lt=1][errcode={code}] it failed"))
    known = KNOWN_ERRORS[code]
    assert found.cause == f"{known.cause} (errcode {code}, {known.name})"
    assert found.remedy == known.remedy
    assert known.source in (LIST, HERE)
    assert known.name.startswith("OB_")


def test_the_table_holds_what_people_meet() -> None:
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
        # the last telling one counts, also before later unknown ones and within one line
        (["[errcode=-4009]", "[errcode=-4184]"], -4184),
        (["[errcode=-4184]", "[errcode=-1]"], -4184),
        (["[errcode=-4009] again ret=-4184"], -4184),
        (["[errcode=-4184] again ret=-4009"], -4009),
        # only general ones: the last of these; only unknown ones: the last of those
        (["[errcode=-4015]", "[errcode=-4016]", "[errcode=-1]"], -4016),
        (["[errcode=-1]", "[errcode=-2]"], -2),
        # what only looks like a code
        (["[errcode=4184]"], None),
        (["[errcode=-]"], None),
        (["xret=-4184"], None),
        (["-4184"], None),
        (["[errcode=-٤١٨٤]"], None),
        ([], None),
        pytest.param(["[errcode=-" + "9" * 5000 + "]"], None, id="5000 digits"),
        # a sign counts with its code only
        (["fail to start net frame [errcode=-4184]"], -4184),
    ],
)
def test_the_cause_is_the_last_telling_code(texts: list[str], code: int | None) -> None:
    found = judge(*(line(text) for text in texts))
    assert found.errcode == code
    assert found.names_error == (code is not None)


def test_the_first_two_and_the_last_three_lines_are_kept_short_and_without_backtrace() -> None:
    lines = [line(f"{number} " + "x" * 400) for number in range(9)]
    found = judge(*lines, line("[errcode=-4184] BACKTRACE:0x1 0x2"))
    assert [kept.split("[seekdb] ")[1].split()[0] for kept in found.lines[:4]] == list("0178")
    assert found.lines[4].endswith("[errcode=-4184]")
    assert max(len(kept) for kept in found.lines) == 300


@given(st.lists(st.text()), st.lists(st.text()), st.lists(st.text()))
def test_any_traces_give_a_cause_a_remedy_and_few_short_lines(
    log: list[str], kernel: list[str], cores: list[str]
) -> None:
    traces = Postmortem(log=tuple(log), kernel=tuple(kernel), cores=tuple(cores))
    found = diagnose(traces, pid=PID, program="seekdb")
    assert found.cause
    assert found.remedy
    assert len(found.lines) <= 5
    assert all(len(kept) <= 300 for kept in found.lines)


@pytest.mark.parametrize(
    ("options", "says"),
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
def test_without_a_word_in_the_log_the_options_are_looked_at(
    options: dict[str, str], says: str | None
) -> None:
    found = find_small_option(options)
    assert (found is None) == (says is None)
    if found is not None:
        assert says is not None
        assert says in found.cause


def test_options_say_nothing_of_a_death_whose_cause_the_log_tells() -> None:
    traces = Postmortem(log=(line("[errcode=-4184]"),))
    found = diagnose(traces, pid=PID, program="seekdb", options={"log_disk_size": "1G"})
    assert found.errcode == -4184


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("2k", 2048), ("3MB", 3 << 20), ("4g", 4 << 30), ("x", None), ("-1G", None)],
)
def test_sizes_are_read_as_the_server_reads_them(text: str, size: int | None) -> None:
    assert parse_size(text) == size

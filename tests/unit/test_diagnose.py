"""Why a server did not come up, read from its log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.diagnose import KNOWN_ERRORS, diagnose, suspect

STAMP = "[2024-01-10 03:24:44.513664]"


def line(text: str, level: str = "ERROR") -> str:
    return f"{STAMP} {level} [SERVER] start (main.cpp:1) [123][seekdb][T0][Y0-0] {text}"


@pytest.mark.parametrize("code", KNOWN_ERRORS)
def test_a_known_code_is_put_in_words_with_what_to_do(code: int) -> None:
    found = diagnose(line(f"[lt=1][errcode={code}] it failed"))
    assert found.cause == f"{KNOWN_ERRORS[code].cause} (errcode {code})"
    assert found.remedy == KNOWN_ERRORS[code].remedy


@pytest.mark.parametrize(
    ("texts", "cause"),
    [
        # the three that were provoked
        (["[errcode=-4736] log_disk_size"], "a resource option is too small (errcode -4736)"),
        (["[errcode=-4016] bind"], "a port is taken (errcode -4016)"),
        (["[errcode=-4184] no space"], "the disk is full (errcode -4184)"),
        # the other spelling
        (["init failed(ret=-4184, x=1)"], "the disk is full (errcode -4184)"),
        (["init failed, ret=-4184"], "the disk is full (errcode -4184)"),
        # the last known one counts, also before later unknown ones and within one line
        (["[errcode=-4016]", "[errcode=-4184]"], "the disk is full (errcode -4184)"),
        (["[errcode=-4184]", "[errcode=-1]"], "the disk is full (errcode -4184)"),
        (["[errcode=-4016] again ret=-4184"], "the disk is full (errcode -4184)"),
        (["[errcode=-4184] again ret=-4016"], "a port is taken (errcode -4016)"),
        # only unknown ones: the last
        (["[errcode=-1]", "[errcode=-2]"], "errcode -2"),
        # what only looks like a code
        (["[errcode=4184]"], "its log names no error"),
        (["[errcode=-]"], "its log names no error"),
        (["xret=-4184"], "its log names no error"),
        (["-4184"], "its log names no error"),
        (["[errcode=-٤١٨٤]"], "its log names no error"),
        (["no log file /home/x/log/seekdb.log"], "its log names no error"),
        ([], "its log names no error"),
        pytest.param(["[errcode=-" + "9" * 5000 + "]"], "its log names no error", id="5000 digits"),
    ],
)
def test_the_cause_is_the_last_known_code(texts: list[str], cause: str) -> None:
    found = diagnose("\n".join(line(text) for text in texts))
    assert found.cause == cause
    assert found.remedy


def test_a_code_at_the_end_of_a_long_line_is_found_and_the_line_is_cut() -> None:
    found = diagnose(line("x" * 1000 + " [errcode=-4184]"))
    assert found.cause == "the disk is full (errcode -4184)"
    assert [len(kept) for kept in found.lines] == [300]


def test_the_last_five_lines_that_hold_something_are_kept() -> None:
    found = diagnose("\n \n".join(f"line {number}" for number in range(9)))
    assert found.lines == ("line 4", "line 5", "line 6", "line 7", "line 8")


def test_lines_that_came_twice_do_not_change_the_cause() -> None:
    log = line("[errcode=-4016]") + "\n" + line("[errcode=-1]") + "\n"
    assert diagnose(log + log).cause == diagnose(log).cause


def test_bytes_that_were_replaced_do_no_harm() -> None:
    log = (line("\xff\xfe [errcode=-4736] ").encode("latin-1") + b"\xf0\x9f").decode(
        "utf-8", "replace"
    )
    assert diagnose(log).cause == "a resource option is too small (errcode -4736)"


@given(st.text())
def test_any_text_gives_a_cause_a_remedy_and_at_most_five_short_lines(text: str) -> None:
    found = diagnose(text)
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
        ({"memory_limit": "2G"}, None),
        ({}, None),
    ],
)
def test_without_a_word_in_the_log_the_options_are_looked_at(
    options: dict[str, str], says: str | None
) -> None:
    found = suspect(options)
    assert (found is None) == (says is None)
    if found is not None:
        assert says is not None
        assert says in found.cause

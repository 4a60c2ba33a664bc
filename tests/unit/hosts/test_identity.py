"""Parsers of processes and listeners in script output: any text is accepted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.hosts.identity import (
    Doubt,
    DoubtKind,
    Listener,
    Obstacle,
    explain_doubt,
    explain_listener,
    parse_doubts,
    parse_listeners,
    parse_process,
)
from tasks.hosts.output import parse_lines

_NAMES = ["pid", "started", "owner", "by", "doubt", "doubt_cwd", "doubt_base", "listener"]
_NAMES += ["doubt_obstacle", "doubt_user", "doubt_program"]
_VALUES = st.text(st.characters(exclude_characters="\n"), max_size=20) | st.sampled_from(
    ["7", "2881 0 7 seekdb", "base 7", "7 /a b", "unexamined 7", "9" * 30, "٣"]
)


@given(st.lists(st.tuples(st.sampled_from(_NAMES), _VALUES)))
def test_identity_parsers_accept_any_values(lines: list[tuple[str, str]]) -> None:
    values = parse_lines("".join(f"{name}={value}\n" for name, value in lines))
    process = parse_process(values)
    assert process is None or (process.pid >= 0 and process.started >= 0)
    doubts = parse_doubts(values)
    assert len(doubts) == len({value for name, value in lines if name == "doubt"})
    for doubt in doubts:
        assert all(explain_doubt(doubt, "/home"))
    for port, listeners in parse_listeners(values).items():
        assert all(explain_listener(each, port, "/home") for each in listeners)


@given(st.text())
def test_identity_parsers_accept_any_text(text: str) -> None:
    values = parse_lines(text)
    parse_process(values), parse_doubts(values), parse_listeners(values)


def test_parse_doubts_unknown_kind_is_unexamined() -> None:
    values = parse_lines("doubt=new 7\ndoubt=base 8\ndoubt_cwd=8 /a b\ndoubt_base=8 ../x y\n")
    assert parse_doubts(values) == (
        Doubt(DoubtKind.UNEXAMINED, 7),
        Doubt(DoubtKind.BASE, 8, "/a b", "../x y"),
    )


@pytest.mark.parametrize(
    ("listener", "may_be"),
    [
        (Listener(0, 7, "seekdb"), True),
        (Listener(0, 7, "observer"), True),
        (Listener(1000), True),
        (Listener(0, 7, ""), True),
        (Listener(0, 7, "nc"), False),
    ],
)
def test_listener_may_be_server_unless_other_program(listener: Listener, may_be: bool) -> None:
    assert listener.may_be_server is may_be


@pytest.mark.parametrize("kind", DoubtKind)
def test_explain_doubt_names_pid_home_and_remedy(kind: DoubtKind) -> None:
    cause, remedy = explain_doubt(Doubt(kind, 4242, "/old", "/home/x"), "/home/x")
    assert "4242" in cause
    assert "/home/x" in cause
    assert remedy
    if kind is DoubtKind.UNEXAMINED:
        assert "4242" in remedy
    if kind in (DoubtKind.BASE, DoubtKind.PID_FILE):
        assert "/old" in cause
        assert "4242" in remedy


@pytest.mark.parametrize(
    ("obstacle", "reason", "fix"),
    [
        (Obstacle.DENIED, "may not read its working directory", "set `ssh.sudo: admin`"),
        (Obstacle.HUNG, "did not respond in time", "unmount or repair"),
        (Obstacle.NO_SPACE, "no space for temporary files", "free space in /tmp"),
    ],
)
def test_explain_unexamined_names_reason_and_remedy(
    obstacle: Obstacle, reason: str, fix: str
) -> None:
    lines = f"doubt=unexamined 7\ndoubt_obstacle=7 {obstacle}\ndoubt_user=7 admin\n"
    (doubt,) = parse_doubts(parse_lines(f"{lines}doubt_program=7 seekdb\n"))
    cause, remedy = explain_doubt(doubt, "/home/x")
    assert cause.startswith("seekdb of user admin (pid 7) may be the server of /home/x")
    assert reason in cause
    assert fix in remedy


def test_explain_listener_names_port_and_process() -> None:
    cause, remedy = explain_listener(Listener(0, 7, "seekdb"), 2881, "/home/x")
    assert all(word in cause for word in ("2881", "seekdb, pid 7", "/home/x"))
    assert "sql_port" in remedy

"""Which way a login may take to a server: every decision, and the parser with any text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagengine.remote import HostAddress
from tasks.hosts.identity import Doubt, DoubtKind, Listener, ProcessIdentity
from tasks.sql.route import (
    NotListening,
    PortSocket,
    Refused,
    SqlFacts,
    ThroughPort,
    ThroughSocketFile,
    decide_port,
    find_socket_file,
    parse_sql_facts,
)
from tests.made_server import make_server

SERVER = make_server(home="/home/x/seekdb", sql_port=2881)
PROCESS = ProcessIdentity("boot", 42, 7, 1000, "")
OWN, OTHER = PortSocket(1000, is_held=True), PortSocket(1001, is_held=False)
HIDDEN = PortSocket(1000, is_held=False)
THIEF = Listener(1001, 77, "nc")

VISIBLE = SqlFacts(
    complete=True,
    uid=1000,
    process=PROCESS,
    are_descriptors_visible=True,
    sockets=(OWN,),
    has_socket_file=True,
    directories=((1000, 0o755), (1000, 0o755)),
)
INVISIBLE = replace(VISIBLE, uid=1002, are_descriptors_visible=False, sockets=(HIDDEN,))


# --- the port ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        VISIBLE,
        replace(VISIBLE, sockets=(OWN, OWN)),
        replace(VISIBLE, sockets=(replace(OWN, uid=0),)),  # opened before it changed its user
        INVISIBLE,
        replace(VISIBLE, doubts=(Doubt(DoubtKind.UNEXAMINED, 9),)),
    ],
)
def test_port_of_the_server_is_taken(facts: SqlFacts) -> None:
    assert decide_port(facts, SERVER) == ThroughPort()


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(VISIBLE, complete=False), "truncated"),
        (replace(VISIBLE, sockets=()), "nothing listens on port 2881"),
        (SqlFacts(complete=True), "no server of /home/x/seekdb runs"),
    ],
)
def test_port_that_nothing_serves_is_not_ready(facts: SqlFacts, reason: str) -> None:
    found = decide_port(facts, SERVER)
    assert isinstance(found, NotListening)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        # another process
        (replace(VISIBLE, sockets=(OTHER,), listeners=(THIEF,)), ["nc, pid 77", "pid 42"]),
        (replace(VISIBLE, sockets=(OTHER,)), ["uid 1001", "pid 42"]),
        # the same user is not enough where descriptors are visible
        (replace(VISIBLE, sockets=(HIDDEN,)), ["uid 1000", "pid 42"]),
        # another process beside the server
        (
            replace(VISIBLE, sockets=(OWN, OTHER), listeners=(Listener(1000, 42, "seekdb"), THIEF)),
            ["nc, pid 77"],
        ),
        # a listener of another user whose pid is not visible
        (replace(VISIBLE, sockets=(OTHER,), listeners=(Listener(1001),)), ["uid 1001"]),
        # the owner of the port is not visible
        (replace(INVISIBLE, sockets=(OTHER,)), ["uid 1001", "uid 1000"]),
        (replace(INVISIBLE, sockets=(HIDDEN, OTHER), listeners=(Listener(1001),)), ["uid 1001"]),
        (replace(INVISIBLE, sockets=(PortSocket(-1, is_held=False),)), ["uid -1"]),
        (replace(INVISIBLE, sockets=(PortSocket(0, is_held=False),)), ["uid 0"]),
        # no server
        (
            SqlFacts(complete=True, sockets=(OTHER,), listeners=(THIEF,)),
            ["nc, pid 77", "no server of /home/x/seekdb was identified"],
        ),
    ],
)
def test_port_of_another_process_is_refused(facts: SqlFacts, words: list[str]) -> None:
    found = decide_port(facts, SERVER)
    assert isinstance(found, Refused)
    assert [
        word for word in [*words, "2881", "no password was sent"] if word not in found.cause
    ] == []
    assert found.remedy.startswith("stop that process")


@pytest.mark.parametrize("kind", DoubtKind)
@pytest.mark.parametrize("sockets", [(), (OTHER,)])
def test_port_with_doubts_only_is_refused(kind: DoubtKind, sockets: tuple[PortSocket, ...]) -> None:
    doubt = Doubt(kind, 99, "/srv", "/home/x/seekdb")
    found = decide_port(SqlFacts(complete=True, doubts=(doubt,), sockets=sockets), SERVER)
    assert isinstance(found, Refused)
    assert "99" in found.cause
    assert found.remedy


# --- the unix socket -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        VISIBLE,
        replace(VISIBLE, uid=0),
        replace(VISIBLE, sockets=()),
        replace(VISIBLE, sockets=(OTHER,)),  # the port does not matter
        replace(VISIBLE, directories=((0, 0o755), (1000, 0o700))),
        replace(VISIBLE, directories=((1000, 0o1755), (1000, 0o2750))),
    ],
)
def test_socket_file_that_is_private_is_taken(facts: SqlFacts) -> None:
    assert find_socket_file(facts, SERVER) == ThroughSocketFile("/home/x/seekdb/run/sql.sock")


@pytest.mark.parametrize(
    "facts",
    [
        replace(VISIBLE, process=None),
        replace(VISIBLE, has_socket_file=False),
        replace(VISIBLE, uid=1002),
        replace(VISIBLE, uid=-1),
        replace(VISIBLE, directories=()),
        replace(VISIBLE, directories=((1000, 0o755),)),
        replace(VISIBLE, directories=((1000, 0o755),) * 3),
        replace(VISIBLE, directories=((1000, 0o777), (1000, 0o755))),
        replace(VISIBLE, directories=((1000, 0o755), (1000, 0o757))),
        replace(VISIBLE, directories=((1000, 0o755), (1000, 0o775))),
        replace(VISIBLE, directories=((1000, 0o755), (1000, 0o1777))),
        replace(VISIBLE, directories=((1000, 0o755), (1001, 0o755))),
        replace(VISIBLE, directories=((1001, 0o755), (1000, 0o755))),
        replace(VISIBLE, complete=False),
    ],
)
def test_socket_file_of_unclear_owner_is_not_taken(facts: SqlFacts) -> None:
    assert find_socket_file(facts, SERVER) is None


def test_socket_file_is_not_taken_with_sudo_or_direct() -> None:
    sudo = replace(SERVER, address=HostAddress("10.0.0.1", user="x", sudo="ob"))
    for server in (sudo, replace(SERVER, sql_via="direct")):
        assert find_socket_file(VISIBLE, server) is None


@pytest.mark.parametrize(
    ("letter", "most"), [("a", 93), ("\N{LATIN SMALL LETTER U WITH DIAERESIS}", 46)]
)
def test_socket_file_is_not_taken_beyond_107_bytes(letter: str, most: int) -> None:
    assert find_socket_file(VISIBLE, replace(SERVER, home="/" + letter * most)) is not None
    assert find_socket_file(VISIBLE, replace(SERVER, home="/" + letter * (most + 1))) is None


# --- the parser ----------------------------------------------------------------------------------

OUTPUT = """\
boot=b1
uid=0
pid=42
started=7
owner=1000
by=
descriptors=visible
socket=1000 held
socket=1001 other
listener=2881 1001 77 nc
directory=1000 755
directory=1000 700
socket_file=yes
end=yes
"""


def test_parse_complete_output_is_taken_whole() -> None:
    assert parse_sql_facts(OUTPUT) == SqlFacts(
        complete=True,
        uid=0,
        process=ProcessIdentity("b1", 42, 7, 1000, ""),
        are_descriptors_visible=True,
        sockets=(OWN, OTHER),
        listeners=(THIEF,),
        has_socket_file=True,
        directories=((1000, 0o755), (1000, 0o700)),
    )


@pytest.mark.parametrize("end", ["", "unanswered=/home/x\nend=yes\n", "end=ye"])
def test_parse_incomplete_output_is_not_complete(end: str) -> None:
    facts = parse_sql_facts(OUTPUT.replace("end=yes\n", end))
    assert not facts.complete
    assert isinstance(decide_port(facts, SERVER), NotListening)
    assert find_socket_file(facts, SERVER) is None


@pytest.mark.parametrize(
    ("line", "socket"),
    [
        ("socket=1000 held", OWN),
        ("socket=1000 other", HIDDEN),
        ("socket=1000", HIDDEN),
        ("socket=", PortSocket(-1, is_held=False)),
        ("socket=-5 held", PortSocket(-1, is_held=True)),
        ("socket=\N{SUPERSCRIPT TWO} held", PortSocket(-1, is_held=True)),
        (f"socket={'9' * 30} other", PortSocket(-1, is_held=False)),
    ],
)
def test_parse_socket_unknown_uid_is_minus_one(line: str, socket: PortSocket) -> None:
    assert parse_sql_facts(line).sockets == (socket,)


@pytest.mark.parametrize("line", ["directory=x 755", "directory=0 9", "directory=", "directory=0"])
def test_parse_directory_malformed_drops_all(line: str) -> None:
    assert parse_sql_facts(f"directory=0 755\n{line}\n").directories == ()


LINES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "boot",
                "uid",
                "pid",
                "started",
                "owner",
                "by",
                "descriptors",
                "socket",
                "listener",
                "directory",
                "socket_file",
                "end",
                "doubt",
                "doubt_cwd",
                "doubt_base",
                "unanswered",
            ]
        ),
        st.one_of(
            st.text(max_size=30),
            st.sampled_from(
                ["yes", "visible", "1000 held", "1001 other", "1000 755", "42", "base 9"]
            ),
        ),
    ).map("=".join),
    max_size=30,
).map("\n".join)


@given(st.one_of(st.text(), LINES))
def test_parse_any_text_leads_to_a_decision(text: str) -> None:
    facts = parse_sql_facts(text)
    route = decide_port(facts, SERVER)
    if isinstance(route, ThroughPort):
        assert facts.complete
        assert facts.process is not None
        assert facts.sockets
    elif isinstance(route, Refused):
        assert route.cause
        assert route.remedy
    if find_socket_file(facts, SERVER) is not None:
        assert facts.complete
        assert facts.process is not None

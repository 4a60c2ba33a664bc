"""The safe route of a login to a server: every decision, and the parser with arbitrary text."""

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
from tests.support.factories import make_server

SERVER = make_server(home="/home/x/seekdb", sql_port=2881)
PROCESS = ProcessIdentity("boot", 42, 7, 1000, "")
OWN_SOCKET, OTHER_SOCKET = PortSocket(1000, is_held=True), PortSocket(1001, is_held=False)
HIDDEN = PortSocket(1000, is_held=False)
FOREIGN_LISTENER = Listener(1001, 77, "nc")

VISIBLE = SqlFacts(
    complete=True,
    uid=1000,
    process=PROCESS,
    are_descriptors_visible=True,
    sockets=(OWN_SOCKET,),
    has_socket_file=True,
    directories=((1000, 0o755), (1000, 0o755)),
)
INVISIBLE = replace(VISIBLE, uid=1002, are_descriptors_visible=False, sockets=(HIDDEN,))


# --- the port ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        VISIBLE,
        replace(VISIBLE, sockets=(OWN_SOCKET, OWN_SOCKET)),
        replace(
            VISIBLE, sockets=(replace(OWN_SOCKET, uid=0),)
        ),  # opened before it changed its user
        INVISIBLE,
        replace(VISIBLE, doubts=(Doubt(DoubtKind.UNEXAMINED, 9),)),
    ],
)
def test_decide_port_of_server_is_accepted(facts: SqlFacts) -> None:
    assert decide_port(facts, SERVER) == ThroughPort()


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(VISIBLE, complete=False), "truncated"),
        (replace(VISIBLE, sockets=()), "nothing listens on port 2881"),
        (SqlFacts(complete=True), "the server of /home/x/seekdb does not run"),
    ],
)
def test_decide_port_without_listener_is_not_listening(facts: SqlFacts, reason: str) -> None:
    outcome = decide_port(facts, SERVER)
    assert isinstance(outcome, NotListening)
    assert reason in outcome.reason


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        # a different process
        (
            replace(VISIBLE, sockets=(OTHER_SOCKET,), listeners=(FOREIGN_LISTENER,)),
            ["nc, pid 77", "pid 42"],
        ),
        (replace(VISIBLE, sockets=(OTHER_SOCKET,)), ["uid 1001", "pid 42"]),
        # the same user is not enough where descriptors are visible
        (replace(VISIBLE, sockets=(HIDDEN,)), ["uid 1000", "pid 42"]),
        # a second process next to the server
        (
            replace(
                VISIBLE,
                sockets=(OWN_SOCKET, OTHER_SOCKET),
                listeners=(Listener(1000, 42, "seekdb"), FOREIGN_LISTENER),
            ),
            ["nc, pid 77"],
        ),
        # a listener of another user whose pid is not visible
        (replace(VISIBLE, sockets=(OTHER_SOCKET,), listeners=(Listener(1001),)), ["uid 1001"]),
        # the owner of the port is not visible
        (replace(INVISIBLE, sockets=(OTHER_SOCKET,)), ["uid 1001", "uid 1000"]),
        (
            replace(INVISIBLE, sockets=(HIDDEN, OTHER_SOCKET), listeners=(Listener(1001),)),
            ["uid 1001"],
        ),
        (replace(INVISIBLE, sockets=(PortSocket(-1, is_held=False),)), ["uid -1"]),
        (replace(INVISIBLE, sockets=(PortSocket(0, is_held=False),)), ["uid 0"]),
        # the server does not run
        (
            SqlFacts(complete=True, sockets=(OTHER_SOCKET,), listeners=(FOREIGN_LISTENER,)),
            ["nc, pid 77", "the server of /home/x/seekdb was not identified"],
        ),
    ],
)
def test_decide_port_of_other_process_is_refused(facts: SqlFacts, words: list[str]) -> None:
    outcome = decide_port(facts, SERVER)
    assert isinstance(outcome, Refused)
    assert [
        word for word in [*words, "2881", "the password was not sent"] if word not in outcome.cause
    ] == []
    assert outcome.remedy.startswith("stop that process")


@pytest.mark.parametrize("kind", DoubtKind)
@pytest.mark.parametrize("sockets", [(), (OTHER_SOCKET,)])
def test_decide_port_with_doubts_only_is_refused(
    kind: DoubtKind, sockets: tuple[PortSocket, ...]
) -> None:
    doubt = Doubt(kind, 99, "/srv", "/home/x/seekdb")
    outcome = decide_port(SqlFacts(complete=True, doubts=(doubt,), sockets=sockets), SERVER)
    assert isinstance(outcome, Refused)
    assert "99" in outcome.cause
    assert outcome.remedy


# --- the unix socket -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        VISIBLE,
        replace(VISIBLE, uid=0),
        replace(VISIBLE, sockets=()),
        replace(VISIBLE, sockets=(OTHER_SOCKET,)),  # the port does not matter
        replace(VISIBLE, directories=((0, 0o755), (1000, 0o700))),
        replace(VISIBLE, directories=((1000, 0o1755), (1000, 0o2750))),
    ],
)
def test_find_socket_file_private_is_accepted(facts: SqlFacts) -> None:
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
def test_find_socket_file_of_unclear_owner_is_none(facts: SqlFacts) -> None:
    assert find_socket_file(facts, SERVER) is None


def test_find_socket_file_with_sudo_or_direct_is_none() -> None:
    sudo = replace(SERVER, address=HostAddress("10.0.0.1", user="x", sudo="ob"))
    for server in (sudo, replace(SERVER, sql_via="direct")):
        assert find_socket_file(VISIBLE, server) is None


@pytest.mark.parametrize(
    ("letter", "longest"), [("a", 93), ("\N{LATIN SMALL LETTER U WITH DIAERESIS}", 46)]
)
def test_find_socket_file_beyond_107_bytes_is_none(letter: str, longest: int) -> None:
    assert find_socket_file(VISIBLE, replace(SERVER, home="/" + letter * longest)) is not None
    assert find_socket_file(VISIBLE, replace(SERVER, home="/" + letter * (longest + 1))) is None


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


def test_parse_sql_facts_complete_output_is_read() -> None:
    assert parse_sql_facts(OUTPUT) == SqlFacts(
        complete=True,
        uid=0,
        process=ProcessIdentity("b1", 42, 7, 1000, ""),
        are_descriptors_visible=True,
        sockets=(OWN_SOCKET, OTHER_SOCKET),
        listeners=(FOREIGN_LISTENER,),
        has_socket_file=True,
        directories=((1000, 0o755), (1000, 0o700)),
    )


@pytest.mark.parametrize("end", ["", "unanswered=/home/x\nend=yes\n", "end=ye"])
def test_parse_sql_facts_truncated_output_is_incomplete(end: str) -> None:
    facts = parse_sql_facts(OUTPUT.replace("end=yes\n", end))
    assert not facts.complete
    assert isinstance(decide_port(facts, SERVER), NotListening)
    assert find_socket_file(facts, SERVER) is None


@pytest.mark.parametrize(
    ("line", "socket"),
    [
        ("socket=1000 held", OWN_SOCKET),
        ("socket=1000 other", HIDDEN),
        ("socket=1000", HIDDEN),
        ("socket=", PortSocket(-1, is_held=False)),
        ("socket=-5 held", PortSocket(-1, is_held=True)),
        ("socket=\N{SUPERSCRIPT TWO} held", PortSocket(-1, is_held=True)),
        (f"socket={'9' * 30} other", PortSocket(-1, is_held=False)),
    ],
)
def test_parse_sql_facts_unknown_uid_is_minus_one(line: str, socket: PortSocket) -> None:
    assert parse_sql_facts(line).sockets == (socket,)


@pytest.mark.parametrize("line", ["directory=x 755", "directory=0 9", "directory=", "directory=0"])
def test_parse_sql_facts_malformed_directory_discards_all(line: str) -> None:
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
def test_parse_sql_facts_any_text_leads_to_decision(text: str) -> None:
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

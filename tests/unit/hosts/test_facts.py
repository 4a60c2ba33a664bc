"""Parsers of script output: any text is accepted, and truncated output is detected."""

from __future__ import annotations

import random
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.hosts.facts import Disk, HostFacts, ProcessLook, parse_alive, parse_facts
from tasks.hosts.home_state import Directory, HomeFiles, Place
from tasks.hosts.identity import Doubt, DoubtKind, Listener, ProcessIdentity, TcpConnection
from tasks.hosts.reports import StartOutcome, StartReport, StopOutcome, parse_start, parse_stop

BOOT = "6f1c2a34-0000-4000-8000-123456789abc"

FACTS = f"""uid=1000
boot={BOOT}
home=directory
home_owner=1000
home_writable=yes
binary=present
binary_executable=yes
directory=store 65024:77 /data/a b
file=store /data/a b/sstable/meta.db
file=store /data/a b/sstable/block_file
directory=etc 65024:78 /home/x/etc
link=store
configuration=store/sstable/meta.db
telemetry=yes
first_start=77
boot_completed=yes
older_file=/home/x/etc/x
unanswered=/mnt/x y
former_home=/old base
doubt=base 43
doubt_cwd=43 /old home
doubt_base=43 ../new home
doubt=unexamined 44
tools=yes
now_ms=1795646617000
user=admin
disk=123456789012 /dev/a /home/x/a b
disk=5 /dev/b /data
foreign=7 /data/a b
unwritable=/data
program_bytes=138794616
missing=libaio.so.1
open_files=unlimited
processes=1024
core_bytes=unlimited
aio_max=65536
aio_used=12
total_kib=4
available_kib=2
obshell=77
unit=a.service
own_group=0::/user.slice
listening=2881
listener=2881 7 9 nc
listener=2881 8 0
connection=2882 ended 0 0
connection=2882 open 7 9 cu rl
source_ports=32768 60999
group=0::/system.slice/a.service
version=1.4.0.0
pid=4242
started=987654
owner=1000
by=22130706433028869
end=yes
"""

START = f"""boot={BOOT}
moved_aside=/home/x/failed-start-1/etc
moved_aside=/home/x/failed-start-1/store
log_from=512
status=0
said=one
said= two
outcome=launched
pid=4242
started=987654
owner=1000
by=22130706433028869
"""

PROCESS = ProcessIdentity(BOOT, 4242, 987654, 1000, "22130706433028869")
NOTHING = HostFacts(
    complete=False,
    uid=0,
    boot="",
    home="",
    home_owner=None,
    home_writable=False,
    binary_present=False,
    binary_executable=False,
    has_tools=False,
    process=None,
)


def test_parse_facts_complete_output_is_read() -> None:
    assert parse_facts(FACTS) == HostFacts(
        complete=True,
        uid=1000,
        boot=BOOT,
        home="directory",
        home_owner=1000,
        home_writable=True,
        binary_present=True,
        binary_executable=True,
        has_tools=True,
        process=PROCESS,
        user="admin",
        now_ms=1795646617000,
        disks=(Disk("/home/x/a b", "/dev/a", 123456789012), Disk("/data", "/dev/b", 5)),
        foreign=((7, "/data/a b"),),
        unwritable=("/data",),
        program_bytes=138794616,
        missing=("libaio.so.1",),
        open_files=0,
        processes=1024,
        core_bytes=-1,
        aio_max=65536,
        aio_used=12,
        total_bytes=4096,
        available_bytes=2048,
        obshell=77,
        units=("a.service",),
        own_groups=("0::/user.slice",),
        groups=("0::/system.slice/a.service",),
        listening=(2881,),
        listeners={2881: (Listener(7, 9, "nc"), Listener(8))},
        connections=(TcpConnection(2882, False, 7, 9, "cu rl"), TcpConnection(2882, True)),
        source_ports=(32768, 60999),
        files=HomeFiles(
            places={
                Place.STORE: Directory(
                    "65024:77",
                    "/data/a b",
                    ("/data/a b/sstable/meta.db", "/data/a b/sstable/block_file"),
                ),
                Place.ETC: Directory("65024:78", "/home/x/etc"),
            },
            links=("store",),
            configuration=("store/sstable/meta.db",),
            has_telemetry=True,
            first_start="77",
            boot_completed=True,
            older_files=("/home/x/etc/x",),
        ),
        former_home="/old base",
        unanswered=("/mnt/x y",),
        doubts=(
            Doubt(DoubtKind.BASE, 43, "/old home", "../new home"),
            Doubt(DoubtKind.UNEXAMINED, 44),
        ),
        version="1.4.0.0",
    )


def test_parse_start_complete_report_is_read() -> None:
    assert parse_start(START) == StartReport(
        outcome=StartOutcome.LAUNCHED,
        status=0,
        output_tail="one  two",
        moved_aside=("/home/x/failed-start-1/etc", "/home/x/failed-start-1/store"),
        log_from=512,
        process=PROCESS,
    )


@pytest.mark.parametrize("text", ["", "\n", "Last login: today\n", "=\n", "end\n", "END=yes\n"])
def test_facts_parsers_output_without_end_is_incomplete(text: str) -> None:
    assert parse_facts(text) == NOTHING
    assert parse_start(text) == StartReport(StartOutcome.UNKNOWN, None, "", (), 0, None)
    assert parse_alive(text) == ProcessLook(False, False, False)


def test_facts_parsers_truncated_output_is_incomplete() -> None:
    complete_length = FACTS.index("end=yes") + len("end=yes")
    assert [cut for cut in range(complete_length) if parse_facts(FACTS[:cut]).complete] == []
    assert [cut for cut in range(complete_length) if any(astuple(parse_alive(FACTS[:cut])))] == []
    assert parse_facts(FACTS[:complete_length]).complete


def test_parse_start_truncated_report_has_no_process() -> None:
    cuts = range(START.index("started=") + len("started="))
    assert [cut for cut in cuts if parse_start(START[:cut]).process is not None] == []


def test_parse_facts_ignores_output_of_login_shell() -> None:
    assert parse_facts(f"Welcome!\nmail: none\n{FACTS}bye\n") == parse_facts(FACTS)


def test_facts_parsers_repeated_line_last_value_counts() -> None:
    assert parse_facts("uid=7\nlistening=yes\n" + FACTS).uid == 1000
    assert parse_facts(FACTS + FACTS) == parse_facts(FACTS)
    assert parse_start("outcome=locked\n" + START).outcome is StartOutcome.LAUNCHED


def test_parse_start_value_may_contain_equals_sign() -> None:
    assert parse_start("said=k=v\n").output_tail == "k=v"


@pytest.mark.parametrize(
    "number", ["", "-1", "+1", "1.5", "0x1", " 1", "1 ", "٣", "²", "one", "9" * 20, "9" * 5000]
)
def test_facts_parsers_invalid_number_is_missing(number: str) -> None:
    facts = parse_facts(f"{FACTS}program_bytes={number}\nhome_owner={number}\npid={number}\n")
    assert (facts.program_bytes, facts.home_owner, facts.process) == (None, None, None)
    assert parse_start(f"{START}status={number}\n").status is None


@pytest.mark.parametrize("outcome", ["", "Launched", "launched ", "done"])
def test_parse_start_undefined_outcome_is_unknown(outcome: str) -> None:
    assert parse_start(f"{START}outcome={outcome}\n").outcome is StartOutcome.UNKNOWN


@pytest.mark.parametrize("end", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_parse_start_program_output_cannot_forge_lines(end: str) -> None:
    report = parse_start(f"status=1\nsaid=50 %{end}pid=1{end}started=1{end}status=0\n")
    assert report.process is None
    assert report.status == 1
    assert report.output_tail.startswith("50 %")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alive=yes\nend=yes\n", True),
        ("end=yes\n", False),
        ("alive=no\nend=yes\n", False),
        ("alive=yes\n", None),
        ("alive=yes\nend=y", None),
    ],
)
def test_parse_alive_distinguishes_alive_gone_and_unknown(text: str, expected: bool | None) -> None:
    process_state = parse_alive(text)
    assert (process_state.is_alive, process_state.is_gone) == (expected is True, expected is False)


@given(st.text())
def test_facts_parsers_accept_any_text(text: str) -> None:
    is_complete = any(line == "end=yes" for line in text.split("\n"))
    assert parse_facts(text).complete is is_complete
    process_state = parse_alive(text)
    assert (process_state.is_alive or process_state.is_gone) is is_complete
    assert isinstance(parse_start(text).outcome, StartOutcome)


@given(st.randoms(use_true_random=False), st.integers(1, 20))
def test_parse_facts_accepts_damaged_output(rng: random.Random, changed_bytes: int) -> None:
    damaged = bytearray(FACTS.encode())
    for _ in range(changed_bytes):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    text = damaged.decode("utf-8", "replace")
    facts = parse_facts(text)
    assert facts.complete is ("end=yes" in text.split("\n"))
    if facts.process is not None:
        assert (facts.process.pid, facts.process.started) >= (0, 0)


@pytest.mark.parametrize("outcome", list(StopOutcome))
def test_parse_stop_each_outcome_is_read(outcome: StopOutcome) -> None:
    assert parse_stop(f"pid=7\nstarted=8\noutcome={outcome}\n").outcome is outcome


def test_parse_stop_undefined_outcome_is_unknown() -> None:
    assert parse_stop("outcome=splendid\n").outcome is StopOutcome.UNKNOWN
    assert parse_stop("").process is None

"""Statements for a cluster, the parsed results, and the servers missing for a majority."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagengine.mysql import quote_text
from tasks.cluster.cluster_file import load_cluster
from tasks.cluster.quorum import explain_majority
from tasks.cluster.servers import Server
from tasks.flavours.select import FLAVOURS
from tasks.sql.cluster import (
    LogStream,
    ServerRow,
    parse_checkpoint,
    parse_checkpoints,
    parse_servers,
    parse_streams,
    parse_table,
    parse_tenants,
    parse_zones,
    render_address,
    render_minor_freeze,
    render_server_change,
    render_zone_change,
)
from tasks.sql.connection import SqlNotReady
from tests.support.standin.cluster import ROOT

PARSERS: dict[Callable[[Sequence[Sequence[object]]], object], int] = {
    parse_servers: 6,
    parse_zones: 2,
    parse_streams: 5,
    parse_tenants: 2,
    parse_checkpoints: 3,
    parse_checkpoint: 1,
    parse_table: 7,
}

OCEAN = ROOT / "configs" / "clusters" / "oceanbase.yaml"
AT = datetime(2024, 1, 10, 11, 24, 44)  # noqa: DTZ001  # as the driver returns it


def server_of(tmp_path: Path, ip: str) -> Server:
    file = tmp_path / "cluster.yaml"
    file.write_text(
        f"name: x\nid: 1\nflavour: oceanbase\nzones: {{z: [{{ip: '{ip}', home: /h, rpc_port: 9}}]}}"
    )
    return load_cluster(file, FLAVOURS).servers[0]


def unquote(literal: str) -> str:
    """Parse a literal as the server does; fail if the text ends the literal early."""
    text, decoded, at = literal[1:-1], [], 0
    while at < len(text):
        pair = text[at : at + 2]
        if pair[0] == "\\":
            decoded.append({"0": "\0"}.get(pair[1], pair[1]))
        else:
            assert pair[0] != "'" or pair == "''", f"{literal} ends early"
            decoded.append(pair[0])
        at += 2 if pair[0] in "\\'" else 1
    return "".join(decoded)


@given(st.text())
def test_quote_text_any_text_stays_within_literal(text: str) -> None:
    literal = quote_text(text)
    assert literal[0] == literal[-1] == "'"
    assert unquote(literal) == text


def test_render_server_change_and_zone_change_quote_names(tmp_path: Path) -> None:
    server_v4, server_v6 = server_of(tmp_path, "10.0.0.1"), server_of(tmp_path, "fe80::1")
    assert render_address(server_v4) == "10.0.0.1:9"
    assert render_server_change("START", server_v4) == "ALTER SYSTEM START SERVER '10.0.0.1:9'"
    assert render_server_change("STOP", server_v6) == "ALTER SYSTEM STOP SERVER '[fe80::1]:9'"
    assert render_zone_change("START", "z'; DROP") == "ALTER SYSTEM START ZONE 'z''; DROP'"


@pytest.mark.parametrize(
    ("status", "started", "stopped", "serves"),
    [
        ("ACTIVE", AT, None, True),
        ("ACTIVE", 1704857084000000, 0, True),
        ("ACTIVE", None, None, False),
        ("ACTIVE", 0, 0, False),
        ("ACTIVE", AT, AT, False),
        ("INACTIVE", AT, None, False),
        ("DELETING", AT, None, False),
    ],
)
def test_parse_servers_serves_when_active_started_not_stopped(
    status: str, started: object, stopped: object, serves: bool
) -> None:
    rows = parse_servers([("10.0.0.1", 2882, "z1", status, started, stopped)])
    assert rows[("10.0.0.1", 2882)].serves is serves
    assert isinstance(rows[("10.0.0.1", 2882)], ServerRow)


def test_parse_zones_maps_name_to_status() -> None:
    assert parse_zones([("z1", "ACTIVE"), ("z2", "INACTIVE")]) == {"z1": "ACTIVE", "z2": "INACTIVE"}


@pytest.mark.parametrize(
    ("parse", "row"),
    [
        (parse_servers, ("10.0.0.1", 2882, "z1", "ACTIVE", None, None)),
        (parse_zones, ("z1", "ACTIVE")),
        (parse_streams, (1, 1, "LEADER", "10.0.0.1:2882:1,[fe80::1]:2882:2", 3)),
        (parse_tenants, (1, "sys")),
        (parse_checkpoints, ("10.0.0.1", 2882, 17)),
        (parse_table, ("10.0.0.1", 2882, "ACTIVE", None, "YES", "4.3", Decimal("1704857084.5"))),
    ],
)
def test_sql_parsers_malformed_row_raises_sql_not_ready(
    parse: Callable[[Sequence[Sequence[object]]], object], row: tuple[object, ...]
) -> None:
    assert parse([row])
    malformed: list[object] = [None, b"\xff", "x", "1:2", "a:b:c", "9" * 5000, 10**400, -1, 1e308]
    malformed += [Decimal("1e300"), "nan", "inf", ""]
    rows = [
        row[:-1],
        (*row, 1),
        (),
        *((*row[:n], s, *row[n + 1 :]) for n in range(len(row)) for s in malformed),
    ]
    refusals = []
    for changed in rows:
        try:
            parse([changed])
        except SqlNotReady as exc:
            refusals.append(exc.message)
    assert len(refusals) > 3
    assert all("unexpected shape" in refusal and len(refusal) < 300 for refusal in refusals)


@dataclass(frozen=True)
class Node:
    name: str
    zone: str


NODES = [Node(f"{zone}{n}", zone) for zone in ("a", "b", "c") for n in (1, 2)]


def test_explain_majority_names_missing_servers_and_their_state() -> None:
    explanation = explain_majority(NODES, ["a1"], ["a1", "a2", "b1"])
    assert "servers of 2 of its 3 zones are needed" in explanation.message
    assert "servers of 1 (a)" in explanation.message
    assert "a: a2 (not up)" in explanation.message
    assert "b: b1 (not up), b2 (out of this task's scope, state unknown)" in explanation.message
    assert "c: c1, c2 (out of this task's scope, state unknown)" in explanation.message
    assert explanation.remedy == "start the servers of 1 more zone, then RETRY"


def test_explain_majority_enough_zones_names_remaining_servers() -> None:
    explanation = explain_majority(NODES, ["a1", "b2"], [node.name for node in NODES])
    assert "missing: a: a2 (not up); b: b1 (not up); c: c1, c2 (not up)" in explanation.message
    assert "wait for an election" in explanation.remedy
    complete = explain_majority(NODES, [n.name for n in NODES], [n.name for n in NODES])
    assert "missing" not in complete.message


def test_explain_majority_no_server_up_says_none() -> None:
    explanation = explain_majority(NODES, [], ["c2"])
    assert "servers of 0 (none)" in explanation.message
    assert explanation.remedy == "start the servers of 2 more zones, then RETRY"


def test_load_cluster_oceanbase_example_is_valid() -> None:
    cluster = load_cluster(OCEAN, FLAVOURS)
    assert cluster.flavour.name == "oceanbase"
    assert len({server.zone for server in cluster.servers}) == 3
    assert cluster.servers[0].binary.endswith("/bin/observer")
    assert cluster.servers[0].log_file.endswith("/log/observer.log")


def test_parse_streams_uses_row_of_leader() -> None:
    rows = [
        (1002, 1, "FOLLOWER", "10.0.0.1:2882:1", 1),
        (1002, 1, "LEADER", "10.0.0.1:2882:1,[fe80::1]:2883:1", 3),
        (1002, 1, "FOLLOWER", "10.0.0.9:2882:1", 1),
        (1, 1, "FOLLOWER", "", 1),
    ]
    led_stream, leaderless_stream = parse_streams(rows)
    assert led_stream == LogStream(1002, 1, frozenset({("10.0.0.1", 2882), ("fe80::1", 2883)}), 3)
    assert leaderless_stream.members == frozenset()


def test_parse_checkpoints_maps_address_to_checkpoint() -> None:
    assert parse_checkpoints([("10.0.0.1", 2882, 17)]) == {("10.0.0.1", 2882): 17}
    assert render_minor_freeze([]) == "ALTER SYSTEM MINOR FREEZE SERVER = ()"


ANY_VALUE = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.binary(max_size=5),
    st.sampled_from(["0", "-1", "9" * 5000, "1e400", "10.0.0.1", "::1:2882:1", 10**30, 2.5e11]),
)


@settings(max_examples=60)
@given(st.lists(st.lists(ANY_VALUE, max_size=8), max_size=4))
def test_parsers_any_rows_raise_only_sql_not_ready(rows: list[list[object]]) -> None:
    for parse in PARSERS:
        with contextlib.suppress(SqlNotReady):
            parse(rows)


@settings(max_examples=60)
@given(st.data())
def test_parsers_rows_of_right_width_raise_only_sql_not_ready(data: st.DataObject) -> None:
    for parse, width in PARSERS.items():
        row = data.draw(st.lists(ANY_VALUE, min_size=width, max_size=width))
        with contextlib.suppress(SqlNotReady):
            parse([row])


@pytest.mark.parametrize("seconds", [-1, "-1", 253402300799, "nan", 1e300, Decimal("1e30")])
def test_parse_table_time_out_of_range_is_refused(seconds: object) -> None:
    with pytest.raises(SqlNotReady, match="unexpected shape"):
        parse_table([("10.0.0.1", 2882, "ACTIVE", None, "NO", "4.3", seconds)])


def test_parse_table_texts_are_short_and_without_controls() -> None:
    rows = [("10.0.0.1", 2882, "A\x1b[2J" + "x" * 9999, None, "NO", "4\n3", 1)]
    (row,) = parse_table(rows).values()
    assert row.status.isprintable()
    assert len(row.status) < 300
    assert row.build_version == "4\\x0a3"

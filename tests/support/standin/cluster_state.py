"""The shared state of the stand-in observers of one cluster, in an SQLite file with the real views.

Queries of the product run on it as they are. A server is alive while it holds the lock of its
file: its death is seen at once, or after `lease_s` as in a real cluster, whose heartbeats have to
be missed first.
"""

from __future__ import annotations

import calendar
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

VERSION = "5.7.25-OceanBase-v4.3.1.0"

# Codes of the real server; `zone status not match` is known to clients by its text alone.
TIMEOUT, OP_NOT_ALLOWED, MULTIPLE_ZONES = 4012, 4179, 4660
_SYNTAX, _ZONE_STATUS, _NOT_EXIST = 1064, 4668, 4018

_SCHEMA = """
CREATE TABLE oceanbase.server (
    svr_ip TEXT, svr_port INTEGER, id INTEGER, zone TEXT, sql_port INTEGER, alive INTEGER,
    heartbeat_at REAL, start_service_time TEXT, stop_time TEXT, PRIMARY KEY (svr_ip, svr_port));
CREATE TABLE oceanbase.zone (zone TEXT PRIMARY KEY, status TEXT);
CREATE TABLE oceanbase.replica (
    tenant_id INTEGER, ls_id INTEGER, svr_ip TEXT, svr_port INTEGER, checkpoint_scn INTEGER);
CREATE TABLE oceanbase.setting (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE oceanbase.statement (at INTEGER PRIMARY KEY, svr_port INTEGER, text TEXT);
CREATE TABLE oceanbase.DBA_OB_TENANTS (
    tenant_id INTEGER, tenant_name TEXT, tenant_type TEXT, status TEXT);
CREATE VIEW oceanbase.DBA_OB_SERVERS AS
    SELECT svr_ip, svr_port, id, zone, sql_port,
           CASE WHEN id = 1 THEN 'YES' ELSE 'NO' END AS with_rootserver,
           CASE WHEN alive THEN 'ACTIVE' ELSE 'INACTIVE' END AS status,
           start_service_time, stop_time, '4.3.1.0_100000032024051615-x' AS build_version
    FROM server;
CREATE VIEW oceanbase.DBA_OB_ZONES AS
    SELECT zone, status, '' AS idc, 'sys_region' AS region, 'ReadWrite' AS type FROM zone;
CREATE VIEW oceanbase.GV$OB_LOG_STAT AS
    SELECT r.tenant_id, r.ls_id, r.svr_ip, r.svr_port, 'FOLLOWER' AS role,
           (SELECT group_concat(m.svr_ip || ':' || m.svr_port || ':1') FROM replica m
            WHERE m.tenant_id = r.tenant_id AND m.ls_id = r.ls_id) AS paxos_member_list,
           (SELECT count(*) FROM replica m
            WHERE m.tenant_id = r.tenant_id AND m.ls_id = r.ls_id) AS paxos_replica_num,
           'YES' AS in_sync
    FROM replica r JOIN server s USING (svr_ip, svr_port) WHERE s.alive;
CREATE VIEW oceanbase.__all_virtual_ls_info AS
    SELECT r.tenant_id, r.ls_id, r.svr_ip, r.svr_port, r.checkpoint_scn
    FROM replica r JOIN server s USING (svr_ip, svr_port) WHERE s.alive;
"""

_ALTER = re.compile(
    r"\s*alter\s+system\s+(start|stop)\s+(server|zone)\s+((?:'(?:[^']|'')*'\s*,?\s*)+);?\s*", re.I
)
_FREEZE = re.compile(r"\s*alter\s+system\s+minor\s+freeze\s+server\s*=\s*\((.*)\)\s*;?\s*", re.I)
_LITERAL = re.compile(r"'((?:[^']|'')*)'")


class Refused(Exception):
    """The server answers with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Member:
    """One server of the cluster, as its configuration names it."""

    ip: str
    rpc_port: int
    sql_port: int
    zone: str


class Ledger:
    """A connection of one stand-in, or of a test, to the shared state."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = sqlite3.connect(":memory:", isolation_level=None, timeout=30)
        self._db.execute("ATTACH ? AS oceanbase", (str(path),))
        self._db.execute("PRAGMA oceanbase.journal_mode = WAL")
        self._db.execute("PRAGMA oceanbase.synchronous = OFF")
        self._db.create_function("version", 0, lambda: VERSION)
        self._db.create_function("unix_timestamp", 1, _to_epoch)

    def close(self) -> None:
        self._db.close()

    def bootstrap(self, members: Sequence[Member], password: str) -> None:
        """Make the cluster: a system tenant and a user tenant with one log stream for each rank
        of the servers in their zones, each with one replica in every zone.
        """
        self._db.executescript(_SCHEMA)
        ranks: dict[str, int] = {}
        for number, member in enumerate(members, 1):
            rank = ranks[member.zone] = ranks.get(member.zone, 0) + 1
            at = (member.ip, member.rpc_port)
            row = (*at, number, member.zone, member.sql_port, 0, 0.0, None, None)
            self._db.execute("INSERT INTO server VALUES (?,?,?,?,?,?,?,?,?)", row)
            replica = (1, 1) if rank == 1 else (1002, 1000 + rank)
            self._db.execute("INSERT INTO replica VALUES (?,?,?,?,100)", (*replica, *at))
        for zone in ranks:
            self._db.execute("INSERT INTO zone VALUES (?, 'ACTIVE')", (zone,))
        tenants = [(1, "sys", "SYS", "NORMAL"), (1002, "shop", "USER", "NORMAL")]
        self._db.executemany("INSERT INTO DBA_OB_TENANTS VALUES (?,?,?,?)", tenants)
        self.set("password", password)

    def set(self, name: str, value: str) -> None:
        """A setting of the whole cluster: `password`, `lease_s`."""
        self._db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))

    def get(self, name: str, default: str = "") -> str:
        row = self._db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return row[0] if row else default

    def statements(self) -> list[str]:
        """Every ALTER statement that the cluster received, in order."""
        return [text for (text,) in self._db.execute("SELECT text FROM statement ORDER BY at")]

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """Run a query on the current state, for tests."""
        self.refresh()
        return self._db.execute(query, values).fetchall()

    # --- what a server does ----------------------------------------------------------------

    def take_life(self, member: Member) -> IO[bytes]:
        """Hold what shows that this server lives; let go of it by closing, or by dying."""
        held = self._life_of(member.ip, member.rpc_port).open("ab")
        fcntl.flock(held, fcntl.LOCK_EX)
        self._db.execute(
            "UPDATE server SET start_service_time = NULL WHERE svr_ip = ? AND svr_port = ?",
            (member.ip, member.rpc_port),
        )
        return held

    def beat(self, member: Member, *, may_serve: bool) -> None:
        """A heartbeat; where there is a majority the server comes into service with it."""
        self.refresh()
        serves = may_serve and self.has_majority()
        self._db.execute(
            "UPDATE server SET heartbeat_at = ?, start_service_time ="
            " CASE WHEN ? THEN coalesce(start_service_time, ?) ELSE start_service_time END"
            " WHERE svr_ip = ? AND svr_port = ?",
            (time.time(), serves, _now(), member.ip, member.rpc_port),
        )

    def serves(self, member: Member) -> bool:
        """It lives and is in service."""
        self.refresh()
        (start_service_at,) = self._db.execute(
            "SELECT start_service_time FROM server WHERE svr_ip = ? AND svr_port = ?",
            (member.ip, member.rpc_port),
        ).fetchone()
        return start_service_at is not None

    def has_majority(self) -> bool:
        """The system tenant's log stream has a majority of its replicas alive."""
        alive, whole = self._db.execute(
            "SELECT total(s.alive), count(*) FROM replica r JOIN server s USING (svr_ip, svr_port)"
            " WHERE r.tenant_id = 1"
        ).fetchone()
        return bool(alive * 2 > whole)

    def execute(self, member: Member, text: str) -> tuple[list[tuple[object, ...]], list[str]]:
        """Answer one statement, as the server `member`.

        Raises:
            Refused: with the real server's code.
        """
        if not re.search(r"oceanbase\s*\.|\balter\s+system\b", text, re.I):
            return self._select(text)
        self.refresh()
        if not self.has_majority():
            raise Refused(TIMEOUT, "Timeout, query has reached the maximum query timeout")
        if not re.match(r"\s*alter\b", text, re.I):
            return self._select(text)
        self._db.execute(
            "INSERT INTO statement (svr_port, text) VALUES (?, ?)", (member.rpc_port, text)
        )
        with self._transaction():
            self._alter(text)
        return [], []

    def refresh(self) -> None:
        """See who is alive."""
        lease_s = float(self.get("lease_s", "0"))
        rows = self._db.execute("SELECT svr_ip, svr_port, alive, heartbeat_at FROM server")
        for ip, port, was_alive, heartbeat_at in rows.fetchall():
            lives = self._lives(ip, port) or (was_alive and time.time() - heartbeat_at < lease_s)
            if bool(lives) != bool(was_alive):
                self._db.execute(
                    "UPDATE server SET alive = ?, start_service_time = NULL"
                    " WHERE svr_ip = ? AND svr_port = ?",
                    (int(bool(lives)), ip, port),
                )

    # --- internal functions ---

    def _life_of(self, ip: str, port: int) -> Path:
        return self._path.with_name(f"{ip.replace(':', '_')}-{port}.alive")

    def _lives(self, ip: str, port: int) -> bool:
        try:
            handle = os.open(self._life_of(ip, port), os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def _select(self, text: str) -> tuple[list[tuple[object, ...]], list[str]]:
        try:
            cursor = self._db.execute(text.rstrip().rstrip(";"))
        except sqlite3.Error as exc:
            raise Refused(_SYNTAX, f"You have an error in your SQL syntax; {exc}") from exc
        return cursor.fetchall(), [column[0] for column in cursor.description or ()]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _alter(self, text: str) -> None:
        if (freeze := _FREEZE.fullmatch(text)) is not None:
            self._freeze([_parse_address(name) for name in _literals(freeze[1])])
            return
        match = _ALTER.fullmatch(text)
        if match is None:
            raise Refused(_SYNTAX, f"You have an error in your SQL syntax near '{text[:60]}'")
        starts, names = match[1].lower() == "start", _literals(match[3])
        if match[2].lower() == "server":
            self._alter_servers([_parse_address(name) for name in names], starts)
        else:
            self._alter_zone(names[0], starts)

    def _alter_servers(self, servers: list[tuple[str, int]], starts: bool) -> None:
        zones = {self._zone_of(*server) for server in servers}
        if not starts:
            self._check_stop(zones, set(servers))
        for server in servers:
            self._db.execute(
                "UPDATE server SET stop_time = ? WHERE svr_ip = ? AND svr_port = ?",
                (None if starts else _now(), *server),
            )

    def _alter_zone(self, zone: str, starts: bool) -> None:
        row = self._db.execute("SELECT status FROM zone WHERE zone = ?", (zone,)).fetchone()
        if row is None:
            raise Refused(_NOT_EXIST, "zone not exist")
        if starts and row[0] == "ACTIVE":
            raise Refused(_ZONE_STATUS, "zone status not match")
        if not starts and row[0] == "ACTIVE":
            inside = self._db.execute(
                "SELECT svr_ip, svr_port FROM server WHERE zone = ?", (zone,)
            ).fetchall()
            self._check_stop({zone}, set(inside))
        status = "ACTIVE" if starts else "INACTIVE"
        self._db.execute("UPDATE zone SET status = ? WHERE zone = ?", (status, zone))

    def _check_stop(self, zones: set[str], leaving: set[tuple[str, int]]) -> None:
        stopped = {zone for (zone,) in self._db.execute(
            "SELECT zone FROM server WHERE stop_time IS NOT NULL"
            " UNION SELECT zone FROM zone WHERE status = 'INACTIVE'"
        )}  # fmt: skip
        if len(stopped | zones) > 1:
            raise Refused(MULTIPLE_ZONES, "cannot stop server or stop zone in multiple zones")
        streams: dict[tuple[int, int], list[bool]] = {}
        for tenant, stream, ip, port, alive in self._db.execute(
            "SELECT tenant_id, ls_id, svr_ip, svr_port, alive FROM replica JOIN server"
            " USING (svr_ip, svr_port)"
        ):
            stays = bool(alive) and (ip, port) not in leaving
            streams.setdefault((tenant, stream), []).append(stays)
        for (tenant, stream), members in streams.items():
            if sum(members) * 2 <= len(members):
                what = f"Tenant({tenant}) LS({stream}) has no enough valid paxos member after stop"
                raise Refused(OP_NOT_ALLOWED, f"{what}, stop server not allowed")

    def _freeze(self, servers: list[tuple[str, int]]) -> None:
        for server in servers:
            self._zone_of(*server)
            if self.get(f"stuck {server[1]}"):
                continue
            self._db.execute(
                "UPDATE replica SET checkpoint_scn = checkpoint_scn + 7"
                " WHERE svr_ip = ? AND svr_port = ?",
                server,
            )

    def _zone_of(self, ip: str, port: int) -> str:
        row = self._db.execute(
            "SELECT zone FROM server WHERE svr_ip = ? AND svr_port = ?", (ip, port)
        ).fetchone()
        if row is None:
            raise Refused(_NOT_EXIST, f"server '{ip}:{port}' not exist")
        return str(row[0])


def _literals(text: str) -> list[str]:
    return [literal.replace("''", "'") for literal in _LITERAL.findall(text)]


def _parse_address(text: str) -> tuple[str, int]:
    ip, _, port = text.rpartition(":")
    if not ip or not port.isdecimal() or (":" in ip and not ip.startswith("[")):
        raise Refused(_SYNTAX, f"invalid server address '{text}'")
    return ip.strip("[]"), int(port)


def _to_epoch(text: str | None) -> int | None:
    return None if text is None else calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())

"""The stand-in observer's ports: MySQL protocol on one, silence on the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mysql_mimic import IdentityProvider, MysqlServer, NativePasswordAuthPlugin, User
from mysql_mimic.errors import ErrorCode, MysqlError
from mysql_mimic.session import BaseSession
from mysql_mimic.variables import GlobalVariables, SessionVariables

from tests.support.standin.cluster_state import VERSION, Ledger, Member, Refused
from tests.support.standin.observer import Wish, read_wish

_BOOT_BEAT_S, _BEAT_S = 0.1, 1.0


class _Session(BaseSession):
    def __init__(self, ledger: Ledger, member: Member, failures: list[int]) -> None:
        self.variables = SessionVariables(GlobalVariables())
        self.variables.set("version", VERSION, force=True)
        self.username = None
        self.database = None
        self._ledger, self._member, self._failures = ledger, member, failures

    async def handle_query(self, sql: str, attrs: dict[str, str]) -> Any:
        words = sql.split(None, 1)
        if words[:1] and words[0].lower() in ("set", "commit", "rollback", "begin", "use"):
            return [], []
        wish = read_wish()
        if words and words[0].lower() == "alter" and len(self._failures) < wish.failures:
            self._failures.append(wish.code)
            raise MysqlError("try again: scripted failure", _code(wish.code))
        try:
            return self._ledger.execute(self._member, sql)
        except Refused as exc:
            raise MysqlError(str(exc), _code(exc.code)) from exc


def _code(number: int) -> ErrorCode:
    """Return an error code for mysql-mimic, whose enum has only the codes of MySQL."""
    code = int.__new__(ErrorCode, number)
    code._name_, code._value_ = f"OB_{number}", number
    return code


class _Identities(IdentityProvider):
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def get_plugins(self) -> Sequence[NativePasswordAuthPlugin]:
        return [NativePasswordAuthPlugin()]

    async def get_user(self, username: str) -> User | None:
        if username not in ("root", "root@sys"):
            return None
        own = read_wish().password
        password = self._ledger.get("password") if own is None else own
        secret = NativePasswordAuthPlugin.create_auth_string(password) if password else None
        return User(username, secret, NativePasswordAuthPlugin.name)


async def serve(
    config: dict[str, Any], wish: Wish, begun_s: float, die: Callable[[Wish], int]
) -> int:
    """Run until the process is ended, or dies as wished."""
    member = Member(config["ip"], config["rpc_port"], config["sql_port"], config["zone"])
    ledger = Ledger(Path(config["ledger"]))
    loop = asyncio.get_running_loop()
    await asyncio.sleep(max(0.0, begun_s + wish.boot_s - loop.time()))
    with ledger.take_life(member):
        return await _live(member, ledger, wish, die)


async def _live(member: Member, ledger: Ledger, wish: Wish, die: Callable[[Wish], int]) -> int:
    rpc = await asyncio.start_server(_say_nothing, "127.0.0.1", member.rpc_port)
    if wish.hangs:
        await asyncio.start_server(_say_nothing, "127.0.0.1", member.sql_port)
    elif not wish.refuses_sql:
        failures: list[int] = []
        server = MysqlServer(
            session_factory=lambda: _Session(ledger, member, failures),
            identity_provider=_Identities(ledger),
        )
        await server.start_server(host="127.0.0.1", port=member.sql_port)
    async with rpc:
        while True:
            current = read_wish()
            ledger.beat(member, may_serve=not current.never_serves and not wish.hangs)
            if current.dies:
                return die(current)
            await asyncio.sleep(_BEAT_S if ledger.serves(member) else _BOOT_BEAT_S)
    return 0


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(4096):
        pass
    writer.close()


def write_config(home: Path, member: Member, ledger: Path) -> None:
    """Write the files that a bootstrap leaves in a home."""
    (home / "etc").mkdir(exist_ok=True)
    recorded = {
        "ip": member.ip,
        "rpc_port": member.rpc_port,
        "sql_port": member.sql_port,
        "zone": member.zone,
        "ledger": str(ledger),
    }
    (home / "etc/observer.config.bin").write_text(json.dumps(recorded))

"""External probe of booting servers: measures when each one started and first answered SQL.

Runs in its own process: reads a JSON request on stdin, prints `polling`, then one JSON response. It
searches for a server's process only after the server has answered, so that only polling costs CPU
time during the boot.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass

import pymysql

from _support.processes import find_server, read_start_s

_POLL_S = 0.02  # a probe costs 1 ms of CPU time; shorter intervals would distort the results
_SQL_TIMEOUT_S = 1.0
_BOOT_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class BootTimes:
    """Instants of one server's boot, in seconds on the wall clock.

    Attributes:
        started_at: start of its process, at most one clock tick (10 ms) too early.
        answered_at: first result of `select 1`.
    """

    name: str
    pid: int
    started_at: float
    answered_at: float


def main() -> None:
    """Answer one request: `{"password": …, "servers": [{"name", "home", "port"}, …]}`.

    The response is a list of `BootTimes`, null for a server that did not answer.
    """
    request = json.loads(sys.stdin.readline())
    passwords = ("", request["password"])
    boots: list[BootTimes | None] = [None] * len(request["servers"])

    def measure(number: int, name: str, home: str, port: int) -> None:
        boots[number] = _measure_boot(name, home, port, passwords)

    threads = [
        threading.Thread(target=measure, args=(number, s["name"], s["home"], s["port"]))
        for number, s in enumerate(request["servers"])
    ]
    for thread in threads:
        thread.start()
    print("polling", flush=True)
    for thread in threads:
        thread.join()
    print(json.dumps([boot and asdict(boot) for boot in boots]), flush=True)


def _measure_boot(name: str, home: str, port: int, passwords: tuple[str, ...]) -> BootTimes | None:
    deadline_s = time.monotonic() + _BOOT_LIMIT_S
    while time.monotonic() < deadline_s:
        if any(_answers(port, password) for password in passwords):
            answered_at, since_boot_s = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
            pid = find_server(home)
            if pid is None:
                return None
            started_at = answered_at - (since_boot_s - read_start_s(pid))
            return BootTimes(name, pid, started_at, answered_at)
        time.sleep(_POLL_S)
    return None


def _answers(port: int, password: str) -> bool:
    """True if `select 1` succeeds with this password."""
    try:
        connection = pymysql.connect(
            host="127.0.0.1",
            port=port,
            user="root",
            password=password,
            connect_timeout=_SQL_TIMEOUT_S,
            read_timeout=_SQL_TIMEOUT_S,
            write_timeout=_SQL_TIMEOUT_S,
            ssl_disabled=True,  # creating a TLS context would cost each probe 20 ms of CPU time
        )
    except (pymysql.err.Error, OSError):
        return False
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
            return bool(cursor.fetchone() == (1,))
    except (pymysql.err.Error, OSError):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()

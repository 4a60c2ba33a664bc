"""Flows of six no-op tasks in PyPI `prefect-oceanbase`: prints one JSON object.

Run by the Python of an environment with that package; PREFECT_API_DATABASE_CONNECTION_URL names the
database. The argument is the number of flows.
"""

from __future__ import annotations

import importlib
import json
import sys
import time

_prefect = importlib.import_module("prefect")  # only in the environment of this program


@_prefect.task  # type: ignore[untyped-decorator]
def do_nothing(value: int) -> int:
    return value + 1


@_prefect.flow  # type: ignore[untyped-decorator]
def six() -> int:
    value = 0
    for _ in range(6):
        value = do_nothing(value)
    return value


def measure(count: int) -> dict[str, float]:
    """Return the durations of flows one after another; the first one also starts the server."""
    started_s = time.perf_counter()
    six()
    first_s, times_s = time.perf_counter() - started_s, []
    for _ in range(count):
        started_s = time.perf_counter()
        six()
        times_s.append(time.perf_counter() - started_s)
    times_s.sort()
    return {"first_s": first_s, "p50_s": times_s[len(times_s) // 2], "max_s": times_s[-1]}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))

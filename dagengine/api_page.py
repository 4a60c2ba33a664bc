"""The tables of docs/http_api.md: `python -m dagengine.api_page [--check] FILE`.

They are made from the route table that serves, with the routes of the operations as they are for
the example cluster beside the page.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import SystemRandom

from dagengine.api.app import CORE
from dagengine.api.endpoint import Endpoint, endpoint_of
from dagengine.api.openapi import codes_of
from dagengine.clock import SystemClock
from dagengine.extension import Surroundings
from dagengine.loading import load_extension_points
from dagengine.remote.pool import SshPool

BEGIN, END = "<!-- made by dagengine.api_page -->\n", "<!-- end of what is made -->\n"

_EXAMPLE = Path("configs/clusters/example.yaml")


def render_tables(endpoints: Sequence[Endpoint]) -> str:
    """Every route, and every errCode that it may answer with."""
    common = _shared([e for e in endpoints if e.needs_login])
    lines = ["| method, path | login | | takes | may refuse with |", "|---|---|---|---|---|"]
    for endpoint in endpoints:
        own = sorted(_codes(endpoint) - common)
        lines.append(
            f"| {endpoint.method} {endpoint.path} | {'yes' if endpoint.needs_login else 'no'} "
            f"| {endpoint.summary} | {_takes(endpoint)} | {_list(c for _, c in own)} |"
        )
    lines += ["", "Every route that needs a login may also refuse with:", ""]
    by_status: dict[int, list[str]] = {}
    for status, code in sorted(common):
        by_status.setdefault(status, []).append(code)
    lines += ["| status | errCode |", "|---|---|"]
    lines += [f"| {status} | {_list(codes)} |" for status, codes in by_status.items()]
    return "\n".join(lines) + "\n"


def render_page(page: str, endpoints: Sequence[Endpoint]) -> str:
    """The page with its tables made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{render_tables(endpoints)}\n{END}{after}"


async def load_endpoints(cluster_file: Path) -> tuple[Endpoint, ...]:
    """Every route of a controller of that cluster."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        pool = SshPool(clock, SystemRandom())
        stack.push_async_callback(pool.close)
        surroundings = Surroundings(cluster_file, pool, clock)
        points = load_extension_points().points
        extensions = [await stack.enter_async_context(p.open(surroundings)) for p in points]
        routes = [route for extension in extensions for route in extension.routes]
        return (*CORE, *map(endpoint_of, routes))


def main(argv: list[str]) -> int:
    """Write the page, or with `--check` compare it."""
    path = Path(argv[-1])
    endpoints = asyncio.run(load_endpoints(path.resolve().parents[1] / _EXAMPLE))
    present = path.read_text(encoding="utf-8")
    wanted = render_page(present, endpoints)
    if argv[0] != "--check":
        path.write_text(wanted, encoding="utf-8")
        return 0
    if present == wanted:
        return 0
    sys.stderr.write(
        f"{path} is not what the routes say; run python -m dagengine.api_page {path}\n"
    )
    return 1


def _codes(endpoint: Endpoint) -> set[tuple[int, str]]:
    return {(status, code) for status, codes in codes_of(endpoint).items() for code in codes}


def _shared(endpoints: Sequence[Endpoint]) -> set[tuple[int, str]]:
    first, *others = map(_codes, endpoints)
    return first.intersection(*others)


def _takes(endpoint: Endpoint) -> str:
    names = [f"?{name}" for name in (endpoint.query.model_fields if endpoint.query else ())]
    fields = endpoint.body.model_fields if endpoint.body else {}
    names += [field.alias or name for name, field in fields.items()]
    return _list([*names, *endpoint.headers])


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Benchmark of the dashboard (`make bench-dashboard`). Asserts nothing.

The controller is a separate process with three real servers:

- First paint of the start page in Chromium, beside an empty page of a bare aiohttp handler; rounds
  alternate. "cold": without the browser's cache.
- CPU time of the controller with 50 event streams open, beside none; rounds alternate.
- Delay from kill -9 of a server until the start page shows it as down.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from _support.chromium import CHROMIUM, log_in, open_chromium
from _support.demo_controller import DemoController, run_demo_controller, wait_for_end
from _support.processes import find_server, read_usage
from _support.report import print_load, print_table, spread_cells
from aiohttp import ClientSession, ClientTimeout, CookieJar, TCPConnector, web
from playwright.async_api import BrowserContext, Page

GOAL_PAINT_S, GOAL_STREAMS_PERCENT, GOAL_DOWN_S = 1.0, 5.0, 2.0
_SERVERS, _STREAMS = 3, 50
_SETTLE_S = 3.0  # time for work that follows a login or the end of a stream
_DOWN_LIMIT_S = 60.0
_TOKEN = re.compile(r'name="csrf" value="([^"]+)"')
_EMPTY_PAGE = "<!doctype html><title>empty</title>."  # without any text nothing would be painted
_PAINT = """
() => new Promise(resolve => new PerformanceObserver(list => {
  for (const entry of list.getEntries())
    if (entry.name === "first-contentful-paint") resolve(entry.startTime);
}).observe({type: "paint", buffered: true}))
"""
_HAS_STATE = """
([server, word]) => [...document.querySelectorAll("table.servers tr")].some(row =>
  row.querySelector("th")?.innerText.startsWith(server)
  && row.querySelector("td .badge")?.innerText.includes(word))
"""


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement")
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of a round of CPU")
    options = parser.parse_args()
    asyncio.run(_measure(options.rounds, options.seconds))


async def _measure(rounds: int, seconds: float) -> None:
    async with run_demo_controller(_SERVERS) as controller:
        accepted = await controller.client.start("GLOBAL")
        await wait_for_end(controller.client, accepted["id"])
        print_load("before the streams")
        await _measure_streams(controller, rounds, seconds)
        if not CHROMIUM.exists():
            print(f"{CHROMIUM} is missing: first paint and delay are not measured")
            return
        async with open_chromium() as browser:
            await log_in(browser.pages[0], controller.cluster.url, controller.cluster.password)
            print_load("before the first paint")
            await _measure_paint(browser, controller.cluster.url, rounds)
            print_load("before the kills")
            await _measure_delay(browser.pages[0], controller, rounds)
    print_load("after")


# --- CPU time of streams --------------------------------------------------------------------------


async def _measure_streams(controller: DemoController, rounds: int, seconds: float) -> None:
    percents: dict[int, list[float]] = {0: [], _STREAMS: []}
    for _ in range(rounds):
        for count, results in percents.items():
            async with _streams(controller, count):
                await asyncio.sleep(_SETTLE_S)
                before = read_usage(controller.pid)
                await asyncio.sleep(seconds)
                after = read_usage(controller.pid)
            results.append(100 * (after.cpu_s - before.cpu_s) / (after.at_s - before.at_s))
    print_table(
        f"CPU of the controller, % of one core, {rounds} rounds of {seconds:g} s",
        [
            ("streams", "median", "min", "max"),
            *((str(count), *spread_cells(each, digits=2)) for count, each in percents.items()),
        ],
    )
    none, some = (statistics.median(results) for results in percents.values())
    added = some - none
    print(f"  {_STREAMS} streams add {added:.2f} % of a core (goal {GOAL_STREAMS_PERCENT:g} %)")


@asynccontextmanager
async def _streams(controller: DemoController, count: int) -> AsyncIterator[None]:
    """Hold a number of event streams open, and read them."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(
            ClientSession(
                controller.cluster.url,
                connector=TCPConnector(limit=0),
                cookie_jar=CookieJar(unsafe=True),  # accepts cookies of an IP address
                timeout=ClientTimeout(total=None),
            )
        )
        await _log_in_session(session, controller.cluster.url, controller.cluster.password)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        responses = []
        for _ in range(count):
            response = await stack.enter_async_context(session.get("/ui/events"))
            response.raise_for_status()
            responses.append(response)
        readers = [group.create_task(response.read()) for response in responses]
        try:
            yield
        finally:
            for reader in readers:
                reader.cancel()


async def _log_in_session(session: ClientSession, url: str, password: str) -> None:
    async with session.get("/ui/login") as response:
        token = _TOKEN.search(await response.text())
    if token is None:
        raise SystemExit("the log-in page has no form")
    fields = {"csrf": token[1], "entry": "root", "secret": password}
    async with session.post(
        "/ui/login", data=fields, headers={"Origin": url}, allow_redirects=False
    ) as response:
        if response.status != web.HTTPSeeOther.status_code:
            raise SystemExit(f"the log-in was refused: {response.status}")


# --- first paint ----------------------------------------------------------------------------------


async def _measure_paint(browser: BrowserContext, url: str, rounds: int) -> None:
    async with _empty_page() as empty_url:
        pages = {"empty page": empty_url, "start page": f"{url}/ui/"}
        times_ms: dict[tuple[str, str], list[float]] = {
            (name, cache): [] for cache in ("cold", "warm") for name in pages
        }
        for name, address in pages.items():  # a browser's first page starts its processes
            await _paint_ms(browser, address, is_cold=name == "empty page")
        for _ in range(rounds):
            for (name, cache), results in times_ms.items():
                results.append(await _paint_ms(browser, pages[name], is_cold=cache == "cold"))
    print_table(
        f"first contentful paint, ms, {rounds} rounds",
        [
            ("", "cache", "median", "min", "max"),
            *(
                (name, cache, *spread_cells(results, digits=0))
                for (name, cache), results in times_ms.items()
            ),
        ],
    )
    for cache in ("cold", "warm"):
        empty, start = (statistics.median(times_ms[name, cache]) for name in pages)
        print(
            f"  {cache}: start page {start / 1000:.2f} s (goal {GOAL_PAINT_S:g} s),"
            f" {start / empty:.1f} times the empty page"
        )


async def _paint_ms(browser: BrowserContext, url: str, *, is_cold: bool) -> float:
    """Return the time from the start of the navigation to the first paint, in a new tab."""
    page = await browser.new_page()
    try:
        devtools = await browser.new_cdp_session(page)
        await devtools.send("Network.enable")
        await devtools.send("Network.setCacheDisabled", {"cacheDisabled": is_cold})
        await page.goto(url)
        return float(await page.evaluate(_PAINT))
    finally:
        await page.close()


@asynccontextmanager
async def _empty_page() -> AsyncIterator[str]:
    """Serve an empty page; yield its URL."""

    async def show(_request: web.Request) -> web.Response:
        return web.Response(text=_EMPTY_PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", show)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


# --- delay of a killed server ---------------------------------------------------------------------


async def _measure_delay(page: Page, controller: DemoController, rounds: int) -> None:
    await page.goto(f"{controller.cluster.url}/ui/")
    await page.wait_for_selector("#connection[data-state=live]")
    delays_s = []
    for number in range(rounds):
        server = controller.cluster.servers[number % _SERVERS]
        await _wait_for_state(page, server.name, "up")
        pid = find_server(str(server.home))
        if pid is None:
            raise SystemExit(f"the process of {server.name} does not exist")
        killed_s = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        await _wait_for_state(page, server.name, "down")
        delays_s.append(time.monotonic() - killed_s)
        accepted: dict[str, Any] = await controller.client.start("GLOBAL")
        await wait_for_end(controller.client, accepted["id"])
    _print_delays(delays_s)


async def _wait_for_state(page: Page, server: str, word: str) -> None:
    await page.wait_for_function(_HAS_STATE, arg=[server, word], timeout=_DOWN_LIMIT_S * 1000)


def _print_delays(delays_s: Sequence[float]) -> None:
    print_table(
        f"kill -9 of a server until the page shows it as down, s, {len(delays_s)} rounds",
        [("median", "min", "max", "goal"), (*spread_cells(delays_s, digits=2), f"{GOAL_DOWN_S:g}")],
    )


if __name__ == "__main__":
    main()

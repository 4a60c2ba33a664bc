"""Takes the screenshots of all pages from running products.

    python -m docs.screenshots              those in docs/images, which the documentation shows
    python -m docs.screenshots DIRECTORY    every page: light, dark, 360 px wide, and in Chinese

Needs Debian's chromium and fonts-noto-cjk. One cluster has three seekdb servers: one fails to
start because its home is missing, another one is killed. The fleet page is of two controllers with
a shared store: one of two clusters has failed to start, and one controller was killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from playwright.async_api import Page

from dagengine.client import Client
from dagengine.testing import eventually
from tasks.demo.cluster import DemoCluster
from tasks.demo.fleet import DemoFleet, FleetController
from tasks.demo.hosts import LOOPBACK, DemoHosts, free_port
from tests.support.browser import log_in, open_browser

IMAGES = Path(__file__).with_name("images")
SHOWN = ("servers", "plan", "task")
"""The pages that the documentation shows, as they look in the light scheme."""

MAX_BYTES = 200_000
"""Size of a file in the documentation."""

FLEET = "fleet"
"""Name of the screenshot of the fleet page."""


@dataclass(frozen=True)
class Look:
    """How a page is shown.

    Attributes:
        width: width of the window in pixels.
        scheme: the colour scheme, `light` or `dark`.
        locale: the language of the browser.
    """

    width: int = 1200
    scheme: Any = "light"
    locale: str = "en"


LOOKS = {
    "light": Look(),
    "dark": Look(scheme="dark"),
    "narrow": Look(width=360),
    "chinese": Look(locale="zh-CN"),
}
_HEIGHT = 800
_SHOWN_HEIGHT = 1150  # of the files in the documentation
_BOUND_S = 120
_HAS_COUNTS = """
([up, upCount, down, downCount]) =>
  document.querySelectorAll(up).length === upCount
  && document.querySelectorAll(down).length === downCount
"""


@dataclass(frozen=True)
class Product:
    """A running controller with a failed task.

    Attributes:
        cluster: the servers, and the URL and password of the controller.
        failed: the failed DAG.
    """

    cluster: DemoCluster
    failed: str

    @property
    def paths(self) -> Mapping[str, str]:
        """The paths of the pages by the names of their screenshots."""
        return {
            "servers": "/",
            "plan": "/plan/start?scope=GLOBAL",
            "doctor": "/doctor",
            "tasks": "/tasks",
            "task": f"/task/{self.failed}",
            "locks": "/locks",
            "audit": "/audit",
            "log": "/log",
        }


@dataclass(frozen=True)
class Service:
    """A running service with two clusters and two controllers, one of them killed.

    Attributes:
        url: URL of the service's listener.
        token: a token of the service.
    """

    url: str
    token: str


@asynccontextmanager
async def running_product() -> AsyncIterator[Product]:
    """Run a controller: one server is up, one has failed to start, and one was killed."""
    async with DemoHosts(3) as hosts:
        cluster = DemoCluster(hosts)
        home = cluster.servers[1].home
        home.rename(home.with_name("moved"))
        with (cluster.directory / "controller.log").open("wb") as log:
            controller = await cluster.start_controller(log)
        hosts.guard.watch_process(controller.pid)
        try:
            async with Client(cluster.url, cluster.password) as client:
                accepted = await client.start("GLOBAL", reason="after maintenance")
                dag = await _wait(client, accepted["id"])
                evidence = dag["additional_data"]["evidence"]
                os.kill(evidence[cluster.servers[2].name]["pid"], signal.SIGKILL)
                yield Product(cluster, dag["id"])
        finally:
            controller.send_signal(signal.SIGTERM)
            await controller.wait()


async def _wait(client: Client, dag_id: str) -> dict[str, Any]:
    dag: dict[str, Any] = {}

    async def has_ended() -> bool:
        dag.update(await client.get_dag(dag_id))
        return dag["state"] in ("SUCCEED", "FAILED")

    await eventually(has_ended, timeout_s=_BOUND_S, what="the end of the start")
    return dag


@asynccontextmanager
async def running_service() -> AsyncIterator[Service]:
    """Run two controllers: one cluster starts, one fails to; then kill one controller."""
    async with DemoHosts(2) as hosts:
        fleet = DemoFleet(hosts, controllers=2)
        first, second = fleet.controllers
        port = _open_service_port(first)
        home = fleet.clusters[1].servers[0].home
        home.rename(home.with_name("moved"))
        try:
            token = await _start_service(fleet)
            if second.process is not None:
                second.process.kill()
            for cluster in fleet.clusters:
                await fleet.wait_for_owner(cluster.name, bound_s=_BOUND_S)
            await eventually(partial(_is_open, port), timeout_s=_BOUND_S, what="the service's port")
            yield Service(f"http://{LOOPBACK}:{port}", token)
        finally:
            await fleet.stop()


def _open_service_port(controller: FleetController) -> int:
    """Add a TCP port to the service in the engine file of a controller; return the port."""
    port = free_port()
    engine = yaml.safe_load(controller.engine_file.read_text())
    engine["service"]["port"] = port
    controller.engine_file.write_text(yaml.safe_dump(engine))
    return port


async def _is_open(port: int) -> bool:
    with suppress(OSError):
        _, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.close()
        return True
    return False


async def _start_service(fleet: DemoFleet) -> str:
    """Start store, controllers and clusters; return a new token of the service."""
    store, config = fleet.store, str(fleet.controllers[0].engine_file)
    await store.start()
    migrate = ("store", "migrate", store.url, "--password-file", str(store.password_file))
    await fleet.read_text(*migrate)
    for controller in fleet.controllers:
        await fleet.start_controller(controller)
    for cluster in fleet.clusters:
        await fleet.wait_for_owner(cluster.name)
    created = await fleet.read_text("token", "create", "--service", "--name", "ops", "-c", config)
    os.kill(fleet.controllers[0].pid, signal.SIGHUP)  # opens the port of the service
    names = ",".join(each.name for each in fleet.clusters)
    reason = ("--reason", "after maintenance")
    await fleet.run(
        "fleet", "start", "--cluster", names, *reason, "--no-wait", "--json", "-c", config
    )
    return created.split()[-1]


async def take_screenshots(
    product: Product, directory: Path, looks: Sequence[str], limit: int
) -> None:
    """Write `NAME-LOOK.png` for every page of a cluster.

    Args:
        product: the running product.
        directory: where the files are written.
        looks: names of LOOKS.
        limit: height of the images in pixels; 0 for the whole page.
    """
    for name in looks:
        async with _open_page(LOOKS[name]) as page:
            await _take_all(page, product, directory, name, limit)


async def take_fleet(service: Service, directory: Path, looks: Sequence[str]) -> None:
    """Write `fleet-LOOK.png`; see `take_screenshots`."""
    for name in looks:
        async with _open_page(LOOKS[name]) as page:
            await log_in(page, service.url, service.token)
            for badge in ("good", "bad"):
                await _reload_until(page, f"#controllers ~ div .badge.{badge}")
                await _reload_until(page, f"#clusters ~ div td:nth-child(5) .badge.{badge}")
            await _take(page, directory / f"{FLEET}-{name}.png", 0)


@asynccontextmanager
async def _open_page(look: Look) -> AsyncIterator[Page]:
    """Open a browser with an empty profile."""
    with tempfile.TemporaryDirectory() as profile:
        options = {"color_scheme": look.scheme, "locale": look.locale}
        async with open_browser(Path(profile), **options) as browser:
            page = browser.pages[0]
            await page.set_viewport_size({"width": look.width, "height": _HEIGHT})
            yield page


async def _reload_until(page: Page, selector: str) -> None:
    async def has_element() -> bool:
        await page.reload()
        return await page.locator(selector).count() > 0

    await eventually(has_element, timeout_s=_BOUND_S, what=selector)


async def _take_all(page: Page, product: Product, directory: Path, look: str, limit: int) -> None:
    url = product.cluster.url
    await page.goto(f"{url}/ui/login")
    await _take(page, directory / f"login-{look}.png", limit)
    await log_in(page, url, product.cluster.password)
    await page.goto(f"{url}/ui/")
    up, down = (f"table.servers td .badge.{kind}" for kind in ("good", "bad"))
    await page.wait_for_function(_HAS_COUNTS, arg=[up, 1, down, 2], timeout=_BOUND_S * 1000)
    for name, path in product.paths.items():
        await page.goto(f"{url}/ui{path}", timeout=_BOUND_S * 1000)
        if name == "doctor":
            await page.click("main form button")
            await page.wait_for_selector(".sentence.bad", timeout=_BOUND_S * 1000)
        await page.wait_for_selector("#connection[data-state=live]")
        await _take(page, directory / f"{name}-{look}.png", limit)


async def _take(page: Page, path: Path, limit: int) -> None:
    if limit:
        height = min(limit, await page.evaluate("document.documentElement.scrollHeight"))
        clip: Any = {"x": 0, "y": 0, "width": LOOKS["light"].width, "height": height}
        await page.screenshot(path=path, full_page=True, clip=clip)
    else:
        await page.screenshot(path=path, full_page=True)


async def take_all(directory: Path, looks: Sequence[str] = tuple(LOOKS), *, limit: int = 0) -> None:
    """Start the product, and take the screenshots of a cluster's pages."""
    async with running_product() as product:
        await take_screenshots(product, directory, looks, limit)


async def take_every_page(directory: Path) -> None:
    """Take the screenshots of all pages, also that of the fleet, in every look."""
    await take_all(directory)
    async with running_service() as service:
        await take_fleet(service, directory, tuple(LOOKS))


def main(arguments: Sequence[str]) -> None:
    """Take all screenshots into a directory, or those of the documentation."""
    if arguments:
        directory = Path(arguments[0])
        directory.mkdir(parents=True, exist_ok=True)
        asyncio.run(take_every_page(directory))
        return
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(take_all(Path(name), ["light"], limit=_SHOWN_HEIGHT))
        for page in SHOWN:
            content = Path(name, f"{page}-light.png").read_bytes()
            (IMAGES / f"{page}.png").write_bytes(content)


if __name__ == "__main__":
    main(sys.argv[1:])

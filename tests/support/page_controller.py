"""An application that imports nothing of `tasks`, with its pages, and a browser without scripts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiohttp import ClientSession, CookieJar, web
from cryptography.hazmat.primitives.asymmetric import rsa
from yarl import URL

from dagengine import (
    AgentAddress,
    Engine,
    Failed,
    Flags,
    Operation,
    Outcome,
    Problem,
    SqliteStore,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
)
from dagengine.api.app import build_app
from dagengine.api.forwarding.owner import OwnershipView
from dagengine.api.forwarding.scheme import ForwardedRequests
from dagengine.runtime.logging import LogRing
from dagengine.security.forwarded_header import KEY_PURPOSE, NonceLog
from dagengine.security.replay import ReplayGuard
from dagengine.security.server_key import ServerKey
from dagengine.testing import FakeClock, Latch
from dagengine.web.app import add_pages
from dagengine.web.changes import ChangeSignal
from dagengine.web.page import Page, ServerCount
from tests.support.fake_cluster import FIRST, SECOND, FakeCluster

KEY = rsa.generate_private_key(65537, 2048)
PASSWORD = "s3cret"
LARGE = "Large"  # an operation with six parallel stages
AGENT = AgentAddress("10.10.10.1", 2886)


@dataclass(frozen=True)
class PageResponse:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def words(self) -> str:
        """Return the text without tags, with single spaces."""
        return " ".join(re.sub(r"<[^>]*>", " ", self.text).split())


class StreamCounter:
    """Counts the open streams of events.

    Attributes:
        open: the number of open streams.
    """

    def __init__(self) -> None:
        self.open = 0

    async def is_one(self) -> bool:
        """Return whether exactly one stream is open."""
        return self.open == 1

    async def is_five(self) -> bool:
        """Return whether exactly five streams are open."""
        return self.open == 5

    @web.middleware
    async def count(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path != "/ui/events":
            return cast("web.StreamResponse", await handler(request))
        self.open += 1
        try:
            return cast("web.StreamResponse", await handler(request))
        finally:
            self.open -= 1


@dataclass
class PageController:
    """A controller, the script of its steps, and a caller."""

    directory: Path
    session: ClientSession
    clock: FakeClock = field(default_factory=FakeClock)
    csrf: str = ""
    password: str = PASSWORD
    agent_password: str = ""
    cluster: FakeCluster = field(default_factory=FakeCluster)
    pages: Sequence[Page] = ()
    signals: Sequence[ChangeSignal] = ()
    counts: ServerCount | None = None
    broken: set[str] = field(default_factory=set)
    problem: Problem = field(default_factory=lambda: Problem("Test.Broken", "broken", "repair it"))
    evidence: Mapping[str, Any] = field(default_factory=dict)
    lines: Sequence[str] = ("at work",)
    latch: Latch | None = None
    operation: str = "Start OB"
    ownership: OwnershipView | None = None
    reloads: int = 0
    streams: StreamCounter = field(default_factory=StreamCounter)
    ring: LogRing = field(default_factory=LogRing)

    def __post_init__(self) -> None:
        flags = Flags(can_rollback=True)
        stages = (
            Stage("Check operation lock", StageKind.NORMAL, self._lock, flags=flags),
            Stage("Check servers", StageKind.PARALLEL, self._work, flags=flags),
            Stage("Start observers", StageKind.PARALLEL, self._work, flags=flags),
            Stage("Verify the cluster", StageKind.NORMAL, self._finish, flags=flags),
        )
        fixed = (Stage("Stay", StageKind.NORMAL, self._stay, flags=Flags(*[False] * 5)),)
        large = [Stage(f"Stage {n}", StageKind.PARALLEL, self._do_nothing) for n in range(1, 7)]
        self.store = SqliteStore(self.directory / "store.sqlite")
        self.engine = Engine(
            store=self.store,
            operations=[
                Operation(
                    self.operation, stages, lock_key="cluster", takes_lock="Check operation lock"
                ),
                Operation("Fixed", fixed),
                Operation(LARGE, tuple(large)),
            ],
            advertise=AGENT,
            clock=self.clock,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    port: int = 0
    key: ServerKey = field(init=False)

    async def listen(self) -> None:
        """Answer requests; after the first time, at the same port."""
        self._runner = web.AppRunner(self.app(self.key), access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop_listening(self) -> None:
        """Close the port and all connections."""
        await self._runner.cleanup()

    def app(self, key: ServerKey) -> web.Application:
        def count_reload() -> None:
            self.reloads += 1

        replay, view, forwarded = ReplayGuard(self.clock, self.store), self.ownership, None
        if view is not None:
            mac_key = key.derive_key(KEY_PURPOSE)
            forwarded = ForwardedRequests(
                *(mac_key, key, view, self.clock, replay, NonceLog(), 30.0)
            )
        app = build_app(
            engine=self.engine,
            cluster=self.cluster,
            routes=[],
            key=key,
            replay=replay,
            forwarded=forwarded,
            ownership=view,
            store=self.store,
            clock=self.clock,
            version="1.2.3",
            root_password=lambda: self.password,
            agent_password=lambda: self.agent_password,
            before_retry=count_reload,
        )
        app.middlewares.append(self.streams.count)
        add_pages(
            app,
            ring=self.ring,
            pages=self.pages,
            count_servers=lambda: self.counts,
            signals=self.signals,
        )
        return app

    # --- the caller ------------------------------------------------------------------------

    async def get(self, path: str, **headers: str) -> PageResponse:
        """Open a page below `/ui`, without following redirects."""
        return await self.request("GET", f"/ui{path}", headers=headers)

    async def post(self, path: str, **fields: str) -> PageResponse:
        """Send a form of a page, with its token."""
        headers = {"Origin": self.url}
        data = {"csrf": self.csrf, **fields}
        return await self.request("POST", f"/ui{path}", data=data, headers=headers)

    async def log_in(self, **fields: str) -> PageResponse:
        """Log in, by default with the password of root@sys."""
        self.csrf = self.token_in(await self.get("/login"))
        response = await self.post("/login", **{"entry": "root", "secret": PASSWORD, **fields})
        if response.status == 303:
            self.csrf = self.token_in(await self.get("/tasks"))
        return response

    def token_in(self, response: PageResponse) -> str:
        """Return the token of the forms on a page."""
        match = re.search(r'name="csrf" value="([^"]+)"', response.text)
        assert match is not None, response.text
        return match[1]

    async def request(self, method: str, target: str, **options: Any) -> PageResponse:
        url = URL(self.url + target, encoded=True)
        options = {"allow_redirects": False, **options}
        async with self.session.request(method, url, **options) as response:
            return PageResponse(response.status, response.headers, await response.text())

    async def submit(self, *, name: str = "", by: str = "root@sys from ::1", **more: Any) -> str:
        """Start a DAG; return its id."""
        targets = more.pop("targets", (FIRST, SECOND))
        submission = Submission(name or self.operation, targets, more.pop("params", {}))
        dag = await self.engine.submit(submission, by=by, **more)
        return self.engine.generic_id(dag.dag.dag_id)

    async def run(self, **more: Any) -> str:
        """Run a DAG to its end; return its id."""
        dag_id = await self.submit(**more)
        await self.wait(dag_id)
        return dag_id

    async def wait(self, dag_id: str) -> None:
        async with asyncio.timeout(20):
            await self.engine.wait(self.row_id(dag_id))

    def row_id(self, dag_id: str) -> int:
        return int(dag_id.removeprefix(self.engine.generic_id(0).removesuffix("0")))

    # --- the operation -----------------------------------------------------------------------

    async def _lock(self, context: StepContext) -> Outcome:
        await context.acquire_lock(context.params.get("force_pass", ()))
        return Succeeded()

    async def _work(self, context: StepContext) -> Outcome:
        for line in self.lines:
            await context.log(line)
        if self.latch is not None:
            await self.latch.wait()
        self.clock.advance(1)
        if context.target in self.broken:
            return Failed(self.problem, self.evidence)
        return Succeeded(evidence=self.evidence)

    async def _finish(self, context: StepContext) -> Outcome:
        self.clock.advance(1)
        return Succeeded(summary="all done")

    async def _do_nothing(self, context: StepContext) -> Outcome:
        return Succeeded()

    async def _stay(self, context: StepContext) -> Outcome:
        return Failed(Problem("Test.Broken", "it never works"))


@asynccontextmanager
async def open_page_controller(directory: Path, **options: Any) -> AsyncIterator[PageController]:
    """Open a controller; it answers within the context, and the caller has logged in."""
    key = ServerKey(KEY)
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        controller = PageController(directory, session, **options)
        async with controller.engine:
            controller.key = key
            try:
                await controller.listen()
                await controller.log_in()
                yield controller
            finally:
                await controller.stop_listening()
    key.close()

"""Waiting until a server is healthy: process, port, SQL login, a query."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dagengine import Clock, Failed, Problem, Runner, StepContext, Succeeded
from tasks.commands import ask_alive, read_trouble
from tasks.diagnose import Diagnosis, diagnose
from tasks.facts import ProcessIdentity, parse_alive
from tasks.question import ask
from tasks.sql import SqlNotReady, SqlPasswordRefused, ask_one, login, set_root_password
from tasks.topology import Server
from tasks.traces import Traces, ask_traces, parse_traces

LIMIT_S = 300.0
"""How long a server may take to answer SQL; eight at once on two cores took 5 s."""

_TRACES_S = 30.0  # the script's own bounds add up to less
# A look costs both machines some milliseconds of CPU time, which a booting server lacks, so it is
# taken seldom enough to cost little, and often enough to add little to the wait.
_POLL_SHARE = 0.05
_FIRST_POLL_S = 0.02
_POLL_CAP_S = 0.1
_SLOW_POLL_S = 1.0
_SLOW_AFTER_S = 30.0
_LAST_WORDS_TRIES = 8
_LAST_WORDS_PAUSE_S = 0.25
_LOOK_EVERY_S = 0.25  # a death is noticed within this, and costs no more than this


@dataclass(frozen=True, slots=True)
class Patient:
    """The server process that is waited for."""

    server: Server
    runner: Runner
    process: ProcessIdentity
    log_from: int
    password: str
    is_first: bool = False  #: this start was its first: root has no password yet


async def wait_until_healthy(
    patient: Patient, context: StepContext, clock: Clock
) -> Succeeded | Failed:
    """Poll until SQL answers, the process is gone, or the time is up."""
    begun_s = clock.monotonic_s()
    pause_s, last = _FIRST_POLL_S, "not asked yet"
    async with AsyncExitStack() as stack:
        socket = await open_way(patient.server, patient.runner, stack)
        watch = stack.enter_context(_Watch(patient, clock).opened())
        while (waited_s := clock.monotonic_s() - begun_s) < LIMIT_S:
            try:
                version = await _try_sql(patient, socket, context)
            except SqlNotReady as exc:
                last = exc.message
                on = f"an answer of {patient.server.name} on SQL port {patient.server.sql_port}"
                context.wait_for("sql", on, last=last, next_in_s=pause_s)
            except SqlPasswordRefused:
                return _password_refused(patient)
            else:
                waited_s = clock.monotonic_s() - begun_s
                await context.log(f"{patient.server.name} answers SQL after {waited_s:.2f} s")
                return Succeeded(
                    {"healthy_after_s": round(waited_s, 3), "version": version},
                    _evidence(patient, "sql") | {"healthy_after_s": round(waited_s, 3)},
                )
            if watch.found_gone():
                return await explain_death(patient, context)
            await asyncio.sleep(pause_s)
            pause_s = choose_pause_s(waited_s)
    return Failed(
        Problem(
            "OB.Cluster.AsyncOperationTimeout",
            f"{patient.server.name} lives (pid {patient.process.pid}) but does not answer SQL"
            f" within {LIMIT_S:g} s: {last}",
            f"look at {patient.server.log_file}, then RETRY",
        ),
        _evidence(patient, "process"),
    )


def choose_pause_s(waited_s: float) -> float:
    """How long to wait until the next look, after so many seconds of waiting."""
    cap_s = _POLL_CAP_S if waited_s < _SLOW_AFTER_S else _SLOW_POLL_S
    return min(max(_FIRST_POLL_S, waited_s * _POLL_SHARE), cap_s)


class _Watch:
    """Looks now and then whether the process lives, beside the polling of SQL."""

    def __init__(self, patient: Patient, clock: Clock) -> None:
        self._patient = patient
        self._clock = clock
        self._looked_s = clock.monotonic_s()
        self._looking: asyncio.Task[bool] | None = None

    @contextmanager
    def opened(self) -> Iterator[_Watch]:
        """Leaving the context ends a look that is under way."""
        try:
            yield self
        finally:
            if self._looking is not None:
                self._looking.cancel()

    def found_gone(self) -> bool:
        """True when the last look that has ended found no process; begins the next one."""
        if self._looking is not None:
            if not self._looking.done():
                return False
            looking, self._looking = self._looking, None
            return looking.result()
        if self._clock.monotonic_s() - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = self._clock.monotonic_s()
            name = f"look at pid {self._patient.process.pid}"
            self._looking = asyncio.create_task(is_gone(self._patient), name=name)
        return False


async def open_way(server: Server, runner: Runner, stack: AsyncExitStack) -> Path:
    """A unix socket that leads to the server's SQL port, open as long as the stack."""
    host = server.ip if server.sql_via == "direct" else "127.0.0.1"
    return await stack.enter_async_context(runner.tunnel(host, server.sql_port))


async def explain_death(patient: Patient, context: StepContext) -> Failed:
    """The process is gone: say why, from what it has left on its host."""
    server = patient.server
    gone = f"{server.name}: the server (pid {patient.process.pid}) is gone"
    await context.log(f"{gone}; looking for the cause")
    traces = await _read_traces(patient)
    found = _diagnose(patient, traces)
    for _ in range(_LAST_WORDS_TRIES):
        if found.names_error:
            break
        # It writes its log beside its work: its last words may come after its end.
        await asyncio.sleep(_LAST_WORDS_PAUSE_S)
        traces = replace(traces, log=await _read_log(patient))
        found = _diagnose(patient, traces)
    for line in found.lines:
        await context.log(f"{server.name} log: {line}")
    evidence: dict[str, object] = {
        "cause": found.sentence,
        "remedy": found.remedy,
        "log": list(found.lines),
        "traces": traces.as_evidence(),
    }
    if found.errcode is not None:
        evidence["errcode"] = found.errcode
    return Failed(
        Problem(
            "OB.Server.Process.NotExist",
            f"{gone}: {found.sentence}",
            f"{found.remedy}, then RETRY; all of it is in {server.log_file}",
        ),
        _evidence(patient, "none") | evidence,
    )


def _diagnose(patient: Patient, traces: Traces) -> Diagnosis:
    flavour = patient.server.flavour
    return diagnose(
        traces,
        pid=patient.process.pid,
        program=flavour.program.rpartition("/")[2],
        options=patient.server.start_options if patient.is_first else {},
    )


async def _read_traces(patient: Patient) -> Traces:
    server, process = patient.server, patient.process
    question = ask_traces(
        server.home, server.log_file, patient.log_from, process.pid, process.started
    )
    return parse_traces((await patient.runner.run(question, timeout_s=_TRACES_S)).stdout)


async def _read_log(patient: Patient) -> tuple[str, ...]:
    question = read_trouble(patient.server.log_file, patient.log_from)
    said = (await ask(patient.runner, question)).stdout
    return tuple(line for line in said.split("\n") if line)


async def _try_sql(patient: Patient, socket: Path, context: StepContext) -> str:
    """The server's version. Root's password is the configured one, or (at first) empty."""
    if not patient.server.flavour.sets_root_password:
        return await _ask_version(patient, socket, context, patient.password)
    first, second = ("", patient.password) if patient.is_first else (patient.password, "")
    try:
        return await _ask_version(patient, socket, context, first)
    except SqlPasswordRefused:
        if first == second:
            raise
    return await _ask_version(patient, socket, context, second)


async def _ask_version(patient: Patient, socket: Path, context: StepContext, password: str) -> str:
    async with login(socket, password) as connection:
        version = str(await ask_one(connection, "select version()"))
        if password != patient.password:
            # Stage 6 logs in anew, and so proves that the password is set.
            await set_root_password(connection, patient.password)
            said = "root had no password; set the configured one"
            await context.log(f"{patient.server.name}: {said}")
        return version


async def is_gone(patient: Patient) -> bool:
    """Whether the process has ended; False when the answer broke off.

    Raises:
        RemoteError: its host cannot be asked.
    """
    process = patient.process
    question = ask_alive(process.pid, process.started)
    return parse_alive((await ask(patient.runner, question)).stdout) is False


def _password_refused(patient: Patient) -> Failed:
    return Failed(
        Problem(
            SqlPasswordRefused.err_code,
            f"{patient.server.name} runs, but refuses the configured password of root",
            "correct the password that the cluster file names, then RETRY",
        ),
        _evidence(patient, "port"),
    )


def _evidence(patient: Patient, level: str) -> dict[str, object]:
    return {
        "pid": patient.process.pid,
        "sql_port": patient.server.sql_port,
        "level": level,
    }

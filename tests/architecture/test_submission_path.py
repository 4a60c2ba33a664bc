"""`Engine.submit` reaches the commit by the calls listed in docs/concepts/architecture.md."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from dagengine import (
    Engine,
    Operation,
    Outcome,
    SqliteStore,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
)

ROOT = Path(__file__).parents[2]
PACKAGE = f"{ROOT / 'dagengine'}/"
HEADING = "## From `Engine.submit` to the commit"
MAX_CALLS = 15
PATH_PACKAGES = ("engine", "rules", "store")  # `model` has values, `runtime` has no decisions


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the product: its file below `dagengine/`, and its qualified name."""

    file: str
    name: str

    @property
    def package(self) -> str:
        return self.file.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Call:
    """A call with the functions of the product on the stack, innermost first."""

    function: Function
    callers: tuple[Function, ...]

    @property
    def is_hop(self) -> bool:
        """Return whether the call enters another package or another module of `engine`, or starts
        a task of `engine`. Calls within `rules` and within `store` are details."""
        if self.function.package not in PATH_PACKAGES:
            return False
        if not self.callers:
            return self.function.package == "engine"
        caller = self.callers[0]
        if self.function.package == "engine":
            return caller.file != self.function.file
        return caller.package != self.function.package


def listed_calls() -> list[Function]:
    """Return the table of the document, in order."""
    text = (ROOT / "docs" / "concepts" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition(f"{HEADING}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| `([\w.]+)` \| `([\w./]+)` \|", section, re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, len(rows) + 1))
    return [Function(file, name) for _, name, file in rows]


def find_faults(listed: Sequence[Function], calls: Sequence[Call]) -> list[str]:
    """Return the differences between the document and the calls up to its last one."""
    order = list(dict.fromkeys(call.function for call in calls))
    faults = [f"{function.name} is not called" for function in listed if function not in order]
    if faults:
        return faults
    calls = calls[: [call.function for call in calls].index(listed[-1]) + 1]
    listed_order = [function for function in order if function in listed]
    if listed_order != list(listed):
        faults.append(f"the order is {[function.name for function in listed_order]}")
    files = {function.file for function in listed}
    for call in calls:
        if call.is_hop and call.function not in listed:
            faults.append(f"{call.function.name} is not listed")
        if call.function in listed:
            faults += [
                f"{call.function.name} is called through {caller.name}"
                for caller in call.callers
                if caller.file not in files
            ]
    return faults


class Recorder:
    """Records the calls of functions of the product.

    Covers threads that are started during the recording, but not tasks that were started before.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._is_on = False
        self._other_tasks: set[asyncio.Task[Any]] = set()

    @contextmanager
    def watch_new_threads(self) -> Iterator[None]:
        threading.setprofile(self._on_event)
        try:
            yield
        finally:
            threading.setprofile(None)

    @contextmanager
    def record(self) -> Iterator[None]:
        before = sys.getprofile()
        self._other_tasks = asyncio.all_tasks() - {_current_task()}
        sys.setprofile(self._on_event)
        self._is_on = True
        try:
            yield
        finally:
            self._is_on = False
            sys.setprofile(before)

    def _on_event(self, frame: FrameType, event: str, _argument: Any) -> None:
        if not self._is_on or event != "call" or _current_task() in self._other_tasks:
            return
        if (function := _function_of(frame)) is not None:
            self.calls.append(Call(function, tuple(_callers_of(frame))))


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # the store's thread has no event loop
        return None


def _function_of(frame: FrameType) -> Function | None:
    code = frame.f_code
    if not code.co_filename.startswith(PACKAGE):
        return None
    return Function(code.co_filename.removeprefix(PACKAGE), code.co_qualname)


def _callers_of(frame: FrameType) -> Iterator[Function]:
    caller = frame.f_back
    while caller is not None:
        if (function := _function_of(caller)) is not None:
            yield function
        caller = caller.f_back


@pytest.fixture
async def calls(tmp_path: Path) -> list[Call]:
    """Return the calls of one submission to an engine on a new store."""

    async def step(context: StepContext) -> Outcome:
        await is_recorded.wait()
        return Succeeded()

    is_recorded, recorder = asyncio.Event(), Recorder()
    operation = Operation("op", (Stage("step", StageKind.NORMAL, step),))
    store = SqliteStore(tmp_path / "store.sqlite")
    with recorder.watch_new_threads():
        async with Engine(store=store, operations=[operation]) as engine:
            with recorder.record():
                detail = await engine.submit(Submission("op"))
            is_recorded.set()
            await engine.wait(detail.dag.dag_id)
    return recorder.calls


def test_submission_makes_the_listed_calls_only(calls: list[Call]) -> None:
    assert find_faults(listed_calls(), calls) == []


def test_list_from_submit_to_commit_is_short() -> None:
    listed = listed_calls()
    assert listed[0] == Function("engine/engine.py", "Engine.submit")
    assert Function("store/sqlite/writes.py", "write_batch") in listed
    assert len(listed) <= MAX_CALLS


def test_find_faults_without_a_listed_call_names_it(calls: list[Call]) -> None:
    for missing in listed_calls():
        rest = [call for call in calls if call.function != missing]
        assert find_faults(listed_calls(), rest) == [f"{missing.name} is not called"]


def test_find_faults_in_another_order_reports_it(calls: list[Call]) -> None:
    listed = listed_calls()
    assert find_faults([listed[1], listed[0], *listed[2:]], calls)


@pytest.mark.parametrize("name", ["Scheduler.ensure_running", "begin", "SqliteStore.commit"])
def test_find_faults_with_an_unlisted_hop_names_it(calls: list[Call], name: str) -> None:
    listed = [function for function in listed_calls() if function.name != name]
    assert f"{name} is not listed" in find_faults(listed, calls)


@pytest.mark.parametrize("name", ["Registry.instantiate", "Writer.commit", "write_batch"])
def test_find_faults_with_a_wrapper_names_it(calls: list[Call], name: str) -> None:
    wrapper = Function("store/wrapper.py", "Wrapper.commit")
    wrapped = [
        replace(call, callers=(wrapper, *call.callers)) if call.function.name == name else call
        for call in calls
    ]
    assert f"{name} is called through Wrapper.commit" in find_faults(listed_calls(), wrapped)

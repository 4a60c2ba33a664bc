"""Real homes of the real seekdb, and a real controller: no loss of data, no wrong process ended.

The slow tests start and stop each layout once, and apply every action to the layouts that older
versions handled wrongly. `make soak-data` applies every action to every layout.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from dagengine.testing import eventually
from tests.acceptance.conftest import ClusterTestbed, make_testbed
from tests.layouts.database import boot_with_row
from tests.layouts.expected import EXPECTED
from tests.layouts.layouts import LAYOUTS
from tests.layouts.real_actions import ACTIONS, Action, Site, choose_port, start_and_stop
from tests.layouts.real_layout import LayoutStore
from tests.layouts.real_seekdb import SIZES, RealSeekdb

PASSWORD = "password of root"
WORD = "written at the first boot"

# Each of them lost data, or was reported as stopped while it ran.
ONCE_WRONG = (
    *("redo_named_later", "data_named_later", "both_named_later", "one_level_off"),
    *("by_hand_relative", "no_base_dir", "behind_changed_link"),
)
# 2 GB of zeros are slow to write and to copy.
START_OPTIONS = SIZES | {"datafile_size": "64M"}


@dataclass(frozen=True, slots=True)
class LayoutSetup:
    """A testbed with one host, and the layouts on it."""

    testbed: ClusterTestbed
    store: LayoutStore


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def layout_setup() -> AsyncIterator[LayoutSetup]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RealSeekdb, "wait_until_booted", boot_with_row(PASSWORD, WORD))
        patch.setitem(SIZES, "datafile_size", START_OPTIONS["datafile_size"])
        async with make_testbed(1) as testbed:
            store = LayoutStore(testbed.hosts.hosts[0].directory, PASSWORD)
            for home in store.homes:
                testbed.hosts.guard.watch_home(home)
            _prepare(testbed)
            await testbed.start_controller()
            yield LayoutSetup(testbed, store)


@pytest.fixture
def sleep() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "3600"], cwd="/") as process:
        yield process
        process.kill()


def _prepare(testbed: ClusterTestbed) -> None:
    """Store the password in a file, which can change while the controller runs."""
    file = testbed.cluster.directory / "root_password"
    file.touch(mode=0o600)
    file.write_text(PASSWORD)
    testbed.cluster.password = PASSWORD
    entries = testbed.cluster.entries
    entries.pop("root_password_env")
    entries["root_password_file"] = str(file)
    entries["defaults"]["start_options"] = dict(START_OPTIONS)
    testbed.cluster.write()


def _list_cases() -> Iterator[object]:
    """Yield each layout with each action; those of one function are consecutive."""
    actions: dict[str, Action] = {"start_and_stop": start_and_stop, **ACTIONS}
    for i, name in enumerate(sorted(LAYOUTS, key=lambda name: LAYOUTS[name].make.__name__)):
        was_wrong = name in ONCE_WRONG
        for j, (action_name, action) in enumerate(actions.items()):
            is_pair = action is start_and_stop
            if is_pair and was_wrong:  # already covered by its single actions
                continue
            marks = [pytest.mark.slow] if is_pair or was_wrong else []
            marks += [] if is_pair else [pytest.mark.soak]
            if not is_pair and (i + j) % 2:  # CI applies every second action to a layout
                marks.append(pytest.mark.outside_sample)
            yield pytest.param(name, action, id=f"{name}-{action_name}", marks=marks)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("name", "action"), tuple(_list_cases()))
async def test_action_on_real_layout_keeps_data(
    layout_setup: LayoutSetup, sleep: subprocess.Popen[bytes], name: str, action: Action
) -> None:
    layout = LAYOUTS[name]
    if os.geteuid() != 0 and (layout.in_small_disk or layout.is_read_only):
        pytest.skip("mounting needs root")
    with layout_setup.store.restored(layout) as real:
        real.name_in_pid_file(sleep.pid)
        site = Site(
            layout_setup.testbed, real, EXPECTED[name], PASSWORD, WORD, sleep, choose_port(real)
        )
        site.configure()
        try:
            await action(site)
            assert sleep.poll() is None
        finally:
            site.configure()
            await _end_dags(layout_setup.testbed)


def test_expectations_cover_every_layout() -> None:
    assert EXPECTED.keys() == LAYOUTS.keys()


async def _end_dags(testbed: ClusterTestbed) -> None:
    """Cancel the DAGs of a failed test, which would keep the lock of the cluster."""
    async with testbed.client() as client:
        for dag in await client.list_unfinished():
            await client.operate_dag(dag["id"], "CANCEL")

        async def is_quiet() -> bool:
            return not await client.list_unfinished()

        await eventually(is_quiet, timeout_s=60)

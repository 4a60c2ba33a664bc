"""The demo's hosts report whether everything is removed."""

from __future__ import annotations

import shutil

import psutil

from tasks.demo.hosts import ASYNCSSH, DemoHosts


async def test_demo_hosts_report_complete_removal() -> None:
    async with DemoHosts(0, kind=ASYNCSSH) as hosts:
        assert not hosts.is_removed
    assert hosts.is_removed
    assert not hosts.directory.exists()


async def test_demo_hosts_report_removal_that_failed() -> None:
    async with DemoHosts(0, kind=ASYNCSSH) as hosts:
        (reaper,) = (
            child
            for child in psutil.Process().children()
            if str(hosts.directory) in child.cmdline()
        )
        reaper.kill()
    assert not hosts.is_removed
    assert hosts.directory.exists()
    shutil.rmtree(hosts.directory)


def test_demo_hosts_never_started_left_nothing() -> None:
    assert DemoHosts(3).is_removed

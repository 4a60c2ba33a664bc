"""Commands on hosts: the contract of a runner, and its implementation over SSH."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagengine.runtime.lazy_exports import lazy_exports

# The contract.
__all__ = [
    "Command",
    "CommandResult",
    "HostAddress",
    "LineStream",
    "Runner",
    "RunnerPool",
    "Secret",
    "join_ends",
    "script",
]

# SSH.
__all__ += [
    "HostKey",
    "HostKeys",
    "SshPool",
    "Trust",
    "find_skipped_lines",
    "known_hosts_file",
]

# The module that defines each name. The block for type checkers has the same names.
_SOURCES = {
    "dagengine.lines": "join_ends",
    "dagengine.remote.command": "Command Secret script",
    "dagengine.remote.runner": "CommandResult HostAddress LineStream Runner RunnerPool",
    "dagengine.remote.ssh.host_keys": "HostKey HostKeys Trust",
    "dagengine.remote.ssh.known_hosts": "find_skipped_lines known_hosts_file",
    "dagengine.remote.ssh.pool": "SshPool",
}

if TYPE_CHECKING:
    from dagengine.lines import join_ends
    from dagengine.remote.command import Command, Secret, script
    from dagengine.remote.runner import (
        CommandResult,
        HostAddress,
        LineStream,
        Runner,
        RunnerPool,
    )
    from dagengine.remote.ssh.host_keys import HostKey, HostKeys, Trust
    from dagengine.remote.ssh.known_hosts import find_skipped_lines, known_hosts_file
    from dagengine.remote.ssh.pool import SshPool
else:
    __getattr__, __dir__ = lazy_exports(__name__, _SOURCES)

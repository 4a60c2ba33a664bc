"""Events of the watch of a host, and whether a host can be watched. Pure.

Parses the output of `watch.sh`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from dagengine.errors import MessageText
from dagengine.remote import HostAddress
from tasks.hosts import messages

_SESSIONS_NEEDED = 2  # one for the watch, one for all other commands


class ProcessState(StrEnum):
    """Whether the server of a home runs."""

    RUNNING = "running"
    MISSING = "none"
    UNKNOWN = "unknown"  # the host does not answer, or a process could not be examined


@dataclass(frozen=True, slots=True)
class ProcessChanged:
    """A server's process started or ended, or its state was reported first.

    Attributes:
        index: of the server, in the order of the command.
        state: the new state.
    """

    index: int
    state: ProcessState


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """The watch checked all servers; what it reported before still applies."""


WatchEvent: TypeAlias = ProcessChanged | SignOfLife


def parse_event(line: str, server_count: int) -> WatchEvent | None:
    """Return the event in a line; None if the line has none."""
    name, _, value = line.partition("=")
    if name == "life":
        return SignOfLife()
    number, _, text = value.partition(" ")
    if name != "server" or not (number.isascii() and number.isdecimal() and len(number) < 10):
        return None
    if int(number) >= server_count:
        return None
    is_running = text not in (ProcessState.MISSING, ProcessState.UNKNOWN)
    state = ProcessState.RUNNING if is_running else ProcessState(text)
    return ProcessChanged(int(number), state)


def refuse_watch(address: HostAddress) -> MessageText | None:
    """Return why a host cannot be watched; None if it can."""
    if address.command_sessions < _SESSIONS_NEEDED:
        return messages.TOO_FEW_SESSIONS(address=address, count=address.max_sessions)
    return None

"""Expected result of each layout's start, and whether a server can run in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Start(StrEnum):
    """Expected result of a start of a layout."""

    SERVES = "serves"  # a later start, with the same database
    FIRST = "first"  # a first start
    REFUSED = "refused"  # by a check, before any change
    FAILS = "fails"  # a later start: the program exits, or root cannot log in


class Running(StrEnum):
    """Expected result for a server that was started by hand in a layout."""

    NEVER = "never"  # the server cannot run
    SERVER = "server"
    DOUBTED = "doubted"  # its base directory is the home, but its working directory is not


@dataclass(frozen=True, slots=True)
class Expected:
    """Expectations of one layout; a refusal contains all the words.

    Attributes:
        freezes: False if a stop that makes the server write its memory to disk first is refused.
    """

    start: Start
    words: tuple[str, ...] = ()
    running: Running = Running.NEVER
    special_launch: bool = False
    freezes: bool = True


_SERVES = Expected(Start.SERVES, running=Running.SERVER)
_SERVES_SPECIAL = Expected(Start.SERVES, running=Running.SERVER, special_launch=True)
_FAILS = Expected(Start.FAILS)
# A disk that is not mounted looks like a first boot that wrote no log.
_NOT_MOUNTED = Expected(Start.REFUSED, ("its redo in", "is empty", "mount its file system"))


def _misnamed(*words: str) -> Expected:
    return Expected(Start.REFUSED, words, running=Running.SERVER)


EXPECTED: Mapping[str, Expected] = {
    "completed_boot_obd": _SERVES,
    "by_hand_absolute": _SERVES,
    "by_hand_relative": _SERVES_SPECIAL,
    "no_base_dir": _SERVES_SPECIAL,
    "log_removed": _SERVES,
    "moved_home": _SERVES,
    "moved_home_link": replace(_SERVES_SPECIAL, freezes=False),
    "behind_changed_link": Expected(
        Start.REFUSED, ("link/bin/seekdb",), running=Running.DOUBTED, special_launch=True
    ),
    "data_elsewhere": _SERVES,
    "redo_elsewhere": _SERVES,
    "data_and_redo_elsewhere_silent": _SERVES,
    "wrong_directories": _misnamed("data", "/disk/data", "/other/data", "data_dir"),
    "one_level_off": _misnamed("data", "/disk/data", "data_dir"),
    "data_named_later": _misnamed("data", "/home/store", "/disk/data", "data_dir"),
    "redo_named_later": _misnamed("redo", "/home/store/redo", "/disk/redo", "redo_dir"),
    "both_named_later": _misnamed("data", "/home/store", "/disk/data", "data_dir"),
    "data_not_mounted": _NOT_MOUNTED,
    "store_link_empty": _NOT_MOUNTED,
    "store_link_dangling": Expected(Start.REFUSED, ("store", "does not exist", "mount")),
    "half_initialised": _FAILS,
    "half_initialised_restarted": _FAILS,
    "killed_early": Expected(Start.REFUSED),  # for a different reason at each moment
    "failed_log_disk": _NOT_MOUNTED,
    "failed_port_taken": _FAILS,
    "failed_disk_full": _NOT_MOUNTED,
    "other_flavour": Expected(Start.REFUSED, ("another flavour", "correct `flavour`")),
    "restored_from_backup": _SERVES,
    "read_only": Expected(Start.REFUSED, ("not writable", "permissions")),
    "foreign_files": Expected(Start.REFUSED, ("no record", "by hand")),
    "older_version": _FAILS,
    "never_started": Expected(Start.FIRST),
}

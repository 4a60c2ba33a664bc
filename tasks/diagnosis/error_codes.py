"""Error codes of servers that do not come up, with causes and remedies for operators.

Source of codes and names: the server's public list, src/share/ob_errno.def in the repository
oceanbase/oceanbase. Those marked HERE were provoked with the real seekdb 1.4: a log disk below
2G (-4736), a taken port, a removed redo log and a damaged block file (-4016, -4015), a full disk
(-4184), damaged redo (-4070) and meta log (-4052). -4109 is omitted: a healthy seekdb writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LIST = "oceanbase/oceanbase: src/share/ob_errno.def"
HERE = "provoked with seekdb 1.4"

_RESTORE = "put a backup of the home in its place"
_MEMORY = "free memory on the host, or give the server another memory_limit"
_DISK = "examine the disk and at the kernel's log"
_SPACE = "free disk space for the home"


@dataclass(frozen=True, slots=True)
class KnownError:
    """An error code.

    Attributes:
        name: as in the server's list.
        cause, remedy: sentences for operators, shown in the last log line.
        source: origin of this information.
        is_general: whether it only says that something failed, so that any other code is more
            specific.
    """

    name: str
    cause: str
    remedy: str
    source: str = LIST
    is_general: bool = False


@dataclass(frozen=True, slots=True)
class ErrorPattern:
    """A log text that identifies the cause of an error code shared by many problems."""

    code: int
    text: str
    cause: str
    remedy: str
    source: str = HERE


KNOWN_ERRORS: Mapping[int, KnownError] = {
    -4002: KnownError(
        "OB_INVALID_ARGUMENT",
        "something was given a value that it cannot take",
        "examine the options, and at the line of its log that has this code first",
        is_general=True,
    ),
    -4004: KnownError(
        "OB_SERVER_LISTEN_ERROR",
        "it cannot listen on its port",
        "free the port or set another one",
    ),
    -4009: KnownError("OB_IO_ERROR", "reading or writing a file failed", _DISK),
    -4012: KnownError(
        "OB_TIMEOUT",
        "something did not answer in time",
        "look whether the disk is slow and the other servers are there",
        is_general=True,
    ),
    -4013: KnownError("OB_ALLOCATE_MEMORY_FAILED", "there is not enough memory", _MEMORY),
    -4015: KnownError(
        "OB_ERR_SYS",
        "the server found its files or its system in disorder",
        "read its log; is the home from a failed start?",
        HERE,
        is_general=True,
    ),
    -4016: KnownError(
        "OB_ERR_UNEXPECTED",
        "the server met something that it did not expect",
        "the first line with this code in its log says what",
        HERE,
        is_general=True,
    ),
    -4027: KnownError("OB_FILE_NOT_EXIST", "a file of the home is missing", _RESTORE),
    -4030: KnownError("OB_TENANT_OUT_OF_MEM", "a tenant has used up its memory", _MEMORY),
    -4034: KnownError(
        "OB_DESERIALIZE_ERROR",
        "a file of the home cannot be read: it is damaged, or of another version",
        _RESTORE,
    ),
    -4035: KnownError(
        "OB_AIO_TIMEOUT", "asynchronous reading or writing failed", f"raise fs.aio-max-nr; {_DISK}"
    ),
    -4052: KnownError("OB_LAST_LOG_RUINNED", "a log file below store/ is damaged", _RESTORE, HERE),
    -4066: KnownError("OB_DIR_NOT_EXIST", "a directory of the home is missing", _RESTORE),
    -4070: KnownError("OB_INVALID_DATA", "data below store/ is damaged", _RESTORE, HERE),
    -4080: KnownError("OB_EXCEED_MEM_LIMIT", "it reached its memory limit", _MEMORY),
    -4103: KnownError(
        "OB_CHECKSUM_ERROR", "a checksum does not match: a file of the home is damaged", _RESTORE
    ),
    -4104: KnownError(
        "OB_INIT_FAIL",
        "a part of the server could not be set up",
        "the lines before this code in its log say which",
        is_general=True,
    ),
    -4106: KnownError(
        "OB_NOT_ENOUGH_STORE", "the disk has too little space for its redo log", _SPACE
    ),
    -4108: KnownError(
        "OB_PHYSIC_CHECKSUM_ERROR", "a block of data is damaged on the disk", f"{_RESTORE}; {_DISK}"
    ),
    -4144: KnownError(
        "OB_BAD_ADDRESS",
        "an address is wrong",
        "compare the ip of the server with the addresses of its host",
    ),
    -4147: KnownError(
        "OB_INVALID_CONFIG",
        "a parameter has a value that the server does not take",
        "correct it in start_options, or in the server's own configuration",
    ),
    -4153: KnownError(
        "OB_RESOURCE_OUT",
        "a resource of the host is used up",
        "examine open files, threads and memory there",
    ),
    -4184: KnownError("OB_SERVER_OUTOF_DISK_SPACE", "the disk is full", _SPACE, HERE),
    -4264: KnownError("OB_LOG_OUTOF_DISK_SPACE", "the disk of its redo log is full", _SPACE),
    -4265: KnownError(
        "OB_RPC_CONNECT_ERROR",
        "it cannot reach another server",
        "examine the network and at the rpc ports of the other servers",
        is_general=True,
    ),
    -4290: KnownError(
        "OB_ALLOCATE_DISK_SPACE_FAILED",
        "the disk space that it was configured for cannot be had",
        f"{_SPACE}, or give it a smaller size",
    ),
    -4337: KnownError(
        "OB_STORE_DIR_ERROR",
        "the directories below store/ are not as the server left them",
        "examine them, and at what their links lead to",
    ),
    -4345: KnownError(
        "OB_DIR_NOT_EMPTY",
        "a directory that must be empty is not",
        "look below store/: is it from an earlier start?",
    ),
    -4375: KnownError("OB_DISK_ERROR", "its disk has errors", _DISK),
    -4388: KnownError(
        "OB_UNEXPECT_INTERNAL_ERROR",
        "an internal error",
        "the line with this code in its log holds another one",
        is_general=True,
    ),
    -4392: KnownError("OB_DISK_HUNG", "its disk does not answer", _DISK),
    -4393: KnownError(
        "OB_ERR_OBSERVER_START",
        "its start failed",
        "the lines before this code in its log say why",
        is_general=True,
    ),
    -4403: KnownError(
        "OB_IMPROPER_OS_PARAM",
        "the host's settings are not as the server needs them",
        "correct the setting that its log names (ulimit, sysctl)",
    ),
    -4404: KnownError("OB_IO_TIMEOUT", "the disk did not answer in time", _DISK),
    -4631: KnownError(
        "OB_SERVER_ZONE_NOT_MATCH",
        "it belongs to another zone than it says",
        "compare the zone in its configuration with that of the cluster",
    ),
    -4666: KnownError(
        "OB_CLUSTER_NO_MATCH",
        "it belongs to a cluster of another name",
        "is `home` in the cluster file that of this cluster?",
    ),
    -4700: KnownError(
        "OB_CLUSTER_ID_NO_MATCH",
        "it belongs to a cluster with another id",
        "is `home` in the cluster file that of this cluster?",
    ),
    -4736: KnownError(
        "OB_RESOURCE_UNIT_VALUE_INVALID",
        "a resource option is too small",
        "give log_disk_size at least 2G",
        HERE,
    ),
}

SIGNS: tuple[ErrorPattern, ...] = (
    ErrorPattern(
        -4016,
        "fail to start net frame",
        "a port is taken",
        "free the port or set another sql_port",
    ),
    ErrorPattern(
        -4016,
        "the last block may be deleted by human",
        "files of its redo log below store/ are missing",
        _RESTORE,
    ),
    ErrorPattern(
        -4015, "version or magic not match", "its block file below store/ is damaged", _RESTORE
    ),
)
"""Patterns checked before the codes; the first one that matches a line is used."""

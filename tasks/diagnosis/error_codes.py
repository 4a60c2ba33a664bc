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

_RESTORE = "restore the home from a backup"
_MEMORY = "free memory on the host, or change memory_limit"
_DISK = "check the disk and the kernel's log"
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
        names_port: whether a port of the server is in use.
    """

    name: str
    cause: str
    remedy: str
    source: str = LIST
    is_general: bool = False
    names_port: bool = False


@dataclass(frozen=True, slots=True)
class ErrorPattern:
    """A log text that identifies the cause of an error code shared by many problems.

    Attributes:
        names_port: whether a port of the server is in use.
    """

    code: int
    text: str
    cause: str
    remedy: str
    source: str = HERE
    names_port: bool = False


KNOWN_ERRORS: Mapping[int, KnownError] = {
    -4002: KnownError(
        "OB_INVALID_ARGUMENT",
        "an argument has an invalid value",
        "check the start options and the first line of its log with this code",
        is_general=True,
    ),
    -4004: KnownError(
        "OB_SERVER_LISTEN_ERROR",
        "it cannot listen on its port",
        "free the port or set another one",
        names_port=True,
    ),
    -4009: KnownError("OB_IO_ERROR", "reading or writing a file failed", _DISK),
    -4012: KnownError(
        "OB_TIMEOUT",
        "an operation timed out",
        "check whether the disk is slow and the other servers are reachable",
        is_general=True,
    ),
    -4013: KnownError("OB_ALLOCATE_MEMORY_FAILED", "there is not enough memory", _MEMORY),
    -4015: KnownError(
        "OB_ERR_SYS",
        "the files of the server or its system are not as expected",
        "read its log, and check whether the home is from a failed start",
        HERE,
        is_general=True,
    ),
    -4016: KnownError(
        "OB_ERR_UNEXPECTED",
        "an unexpected internal state",
        "read the first line with this code in its log",
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
        "a component of the server could not be initialised",
        "read the lines before this code in its log",
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
        "a parameter has a value that the server rejects",
        "correct it in start_options, or in the server's own configuration",
    ),
    -4153: KnownError(
        "OB_RESOURCE_OUT",
        "a resource of the host is used up",
        "check open files, threads and memory on the host",
    ),
    -4184: KnownError("OB_SERVER_OUTOF_DISK_SPACE", "the disk is full", _SPACE, HERE),
    -4264: KnownError("OB_LOG_OUTOF_DISK_SPACE", "the disk of its redo log is full", _SPACE),
    -4265: KnownError(
        "OB_RPC_CONNECT_ERROR",
        "it cannot reach another server",
        "check the network and the RPC ports of the other servers",
        is_general=True,
    ),
    -4290: KnownError(
        "OB_ALLOCATE_DISK_SPACE_FAILED",
        "the configured disk space is not available",
        f"{_SPACE}, or configure a smaller size",
    ),
    -4337: KnownError(
        "OB_STORE_DIR_ERROR",
        "the directories below store/ are not as the server left them",
        "check these directories and the targets of their links",
    ),
    -4345: KnownError(
        "OB_DIR_NOT_EMPTY",
        "a directory that must be empty is not",
        "check whether store/ is from an earlier start",
    ),
    -4375: KnownError("OB_DISK_ERROR", "its disk has errors", _DISK),
    -4388: KnownError(
        "OB_UNEXPECT_INTERNAL_ERROR",
        "an internal error",
        "read the other code in the line of its log with this code",
        is_general=True,
    ),
    -4392: KnownError("OB_DISK_HUNG", "its disk does not answer", _DISK),
    -4393: KnownError(
        "OB_ERR_OBSERVER_START",
        "its start failed",
        "read the lines before this code in its log",
        is_general=True,
    ),
    -4403: KnownError(
        "OB_IMPROPER_OS_PARAM",
        "a setting of the host does not meet the needs of the server",
        "correct the setting that its log names (ulimit, sysctl)",
    ),
    -4404: KnownError("OB_IO_TIMEOUT", "the disk did not answer in time", _DISK),
    -4631: KnownError(
        "OB_SERVER_ZONE_NOT_MATCH",
        "it belongs to another zone than configured",
        "compare the zone in its configuration with that of the cluster",
    ),
    -4666: KnownError(
        "OB_CLUSTER_NO_MATCH",
        "it belongs to a cluster of another name",
        "check that `home` in the cluster file belongs to this cluster",
    ),
    -4700: KnownError(
        "OB_CLUSTER_ID_NO_MATCH",
        "it belongs to a cluster with another id",
        "check that `home` in the cluster file belongs to this cluster",
    ),
    -4736: KnownError(
        "OB_RESOURCE_UNIT_VALUE_INVALID",
        "a resource option is too small",
        "set log_disk_size to at least 2G",
        HERE,
    ),
}

ERROR_PATTERNS: tuple[ErrorPattern, ...] = (
    ErrorPattern(
        -4016,
        "fail to start net frame",
        "a port is taken",
        "free the port or set another sql_port",
        names_port=True,
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

"""Messages of `dagengine.store`."""

from __future__ import annotations

from dagengine.errors import Message

# --- Opening ---------------------------------------------------------------------

SOURCE_MISSING = Message("store.source_missing", "the store {path} does not exist")
NAME_ENGINE_FILE = Message("store.name_engine_file", "name the engine file of the store with -c")
NOT_A_STORE = Message("store.not_a_store", "{path} is not a store of dagengine")
FOREIGN_DATABASE = Message("store.foreign_database", "{path} is a database of another program")
NAME_OTHER_STORE = Message("store.name_other_store", "name another path for the store")
SCHEMA_TOO_NEW = Message(
    "store.schema_too_new",
    "the store {path} has schema {version}: this program supports at most {newest}",
)
USE_NEWER_PROGRAM = Message("store.use_newer_program", "use the newer program that wrote it")
SCHEMA_TOO_OLD = Message(
    "store.schema_too_old",
    "the store {path} has schema {version}, which was never released: this program upgrades "
    "schema {oldest} and later",
)
REPLACE_OLD_STORE = Message(
    "store.replace_old_store",
    "move it away together with its -wal and -shm (it was not changed); the next start creates a "
    "new store",
)
STORE_DAMAGED = Message("store.store_damaged", "the store {path} is damaged: {reason}")
RESTORE_BACKUP = Message(
    "store.restore_backup",
    "move it away together with its -wal and -shm (it was not changed), and put a backup in its "
    "place",
)
STORE_UNUSABLE = Message("store.store_unusable", "the store {path} cannot be used: {reason}")
STORE_UNCHANGED = Message("store.store_unchanged", "the store was not changed: {remedy}")
ORPHANED_LOG = Message(
    "store.orphaned_log",
    "the store {path} is missing or empty, but its log {log} is not",
)
RESTORE_LOG_OWNER = Message(
    "store.restore_log_owner",
    "put back the file to which this log belongs, or move the log away",
)
CREATE_FAILED = Message("store.create_failed", "cannot create the store {path}: {reason}")
FILE_FORBIDDEN = Message(
    "store.file_forbidden",
    "the store {path} cannot be used: this user may not read and write {file}",
)
CORRECT_FILE_MODE = Message(
    "store.correct_file_mode",
    "correct its owner and mode (`chmod 600`), or name another store",
)
DIRECTORY_FAILED = Message("store.directory_failed", "cannot create {path}: {reason}")
IN_USE = Message("store.in_use", "the store is in use by {owner} (lock file {path})")
OWNER_UNKNOWN = Message("store.owner_unknown", "an unknown process")
STOP_OWNER = Message(
    "store.stop_owner",
    "stop that controller first; a store serves one controller",
)
LOCK_FILE_NOT_OPENED = Message("store.lock_file_not_opened", "cannot open {path}: {reason}")
LOCK_FILE_NOT_WRITTEN = Message("store.lock_file_not_written", "cannot write {path}: {reason}")

# --- Reading and writing ---------------------------------------------------------

UNREADABLE = Message("store.unreadable", "the store {path} cannot be read: {reason}")
CLOSED = Message("store.closed", "the store {path} is closed")
FILE_REPLACED = Message(
    "store.file_replaced",
    "the store {path} was removed or replaced while the controller was running",
)
RESTORE_FILE = Message(
    "store.restore_file",
    "put the same file back if it was moved; otherwise stop the controller, put a backup in its "
    "place and start it again",
)
UNWRITABLE = Message("store.unwritable", "the store {path} cannot be written: {reason}")
NOT_SERIALIZABLE = Message(
    "store.not_serializable",
    "a {change} of DAG {dag_id} cannot be stored: {error}: {reason}",
)
LOCK_TOKEN_LOST = Message(
    "store.lock_token_lost",
    "DAG {dag_id} no longer has lock token {lock_token}",
)

# --- Guarded writes ---------------------------------------------------------------

ROW_CHANGED = Message(
    "store.row_changed", "the {change} of DAG {dag_id} was not written: {row} has changed"
)

# --- Backup ----------------------------------------------------------------------

TARGET_EXISTS = Message("store.target_exists", "{path} already exists")
NAME_NEW_FILE = Message("store.name_new_file", "name a new file, or move that one away")
COPY_FAILED = Message("store.copy_failed", "{source} cannot be copied to {target}: {reason}")
COPY_DAMAGED = Message("store.copy_damaged", "the copy of {source} is damaged: {reason}")
KEEP_LAST_BACKUP = Message(
    "store.keep_last_backup",
    "keep the last good backup: the store is probably damaged, too",
)

# --- Remedies for errors of SQLite and the operating system ----------------------

MAKE_ROOM = Message("store.make_room", "free space on the disk, or raise the quota")
GRANT_ACCESS = Message(
    "store.grant_access",
    "let this user write the file and in its directory, or name another path",
)
CHECK_DISK = Message(
    "store.check_disk",
    "check the disk: its free space, and the kernel's log (`dmesg`)",
)
END_HOLDER = Message(
    "store.end_holder",
    "end the process that holds {path} (`fuser -v {quoted}` shows it; perhaps a shell or a "
    "copying program), or wait until it has finished",
)
REPLACE_DAMAGED = Message(
    "store.replace_damaged",
    "check the path: {path} is damaged or not a store; if the path is right, move the file away "
    "together with its -wal and -shm, and put a backup in its place",
)
CHECK_DISK_AND_FILE = Message(
    "store.check_disk_and_file",
    "check the free space of the disk and the permissions of the file",
)

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
OTHER_SCHEMA = Message(
    "store.other_schema",
    "the store {path} has schema {version}: this command needs schema {newest}",
)
START_CONTROLLER_ONCE = Message(
    "store.start_controller_once",
    "start the controller of this version first, which creates or upgrades the store",
)
LINK_TO_NOTHING = Message(
    "store.link_to_nothing",
    "{path} is a symbolic link to a file that does not exist",
)
LINK_BESIDE_STORE = Message(
    "store.link_beside_store",
    "the store {path} cannot be used: {file} is a symbolic link",
)
REMOVE_LINK = Message(
    "store.remove_link",
    "find out who created the link {path}, and remove it, or name another path",
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
CREDENTIAL_NOT_STORABLE = Message(
    "store.credential_not_storable",
    "a token or session cannot be stored: {error}: {reason}",
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
NAME_CREATABLE = Message(
    "store.name_creatable",
    "set store.path to a file in a directory that this user can create, or correct its parents",
)
CHECK_DISK_AND_FILE = Message(
    "store.check_disk_and_file",
    "check the free space of the disk and the permissions of the file",
)

# --- A shared store in a database ---------------------------------------------------

URL_INVALID = Message("store.url_invalid", "the address of the store is invalid")
WRITE_URL = Message("store.write_url", "write mysql://USER@HOST:PORT/DATABASE")
URL_HAS_PASSWORD = Message("store.url_has_password", "the address of the store contains a password")
USE_PASSWORD_FILE = Message(
    "store.use_password_file", "write the password to a file and name it as password_file"
)
TLS_MISSING = Message(
    "store.tls_missing",
    "the store at {host} is beyond this machine: its connection would not be encrypted",
)
USE_TLS = Message(
    "store.use_tls",
    "connect with TLS, or name an address of this machine, for example of an encrypted tunnel",
)
CA_FILE_UNUSABLE = Message(
    "store.ca_file_unusable", "the file with the CA of the store {path} cannot be used: {reason}"
)
NAME_CA_FILE = Message(
    "store.name_ca_file",
    "name a readable PEM file with the CA certificates as store.tls_ca_file (for commands that "
    "take the address: --tls-ca-file)",
)
OFFER_TLS = Message(
    "store.offer_tls",
    "configure TLS on the database server; if it is configured, find out what removes the offer on "
    "the way, because a connection in plain text is not made",
)
TRUST_CA = Message(
    "store.trust_ca",
    "name the CA that signed the certificate as store.tls_ca_file (for commands that take the "
    "address: --tls-ca-file)",
)
USE_CERTIFIED_NAME = Message(
    "store.use_certified_name",
    "write a name in the store's address that the certificate contains, or issue a certificate for "
    "{host}",
)
RENEW_CERTIFICATE = Message(
    "store.renew_certificate",
    "check the clock of this machine; if it is right, renew the certificate of the database server",
)
CHECK_TLS = Message(
    "store.check_tls",
    "check that the database server supports TLS 1.2 or newer, and that nothing on the way changes "
    "the connection",
)
PASSWORD_EMPTY = Message("store.password_empty", "the first line of {path} is empty")
WRITE_PASSWORD = Message(
    "store.write_password", "write the password of the store's user to its first line"
)
DATABASE_UNUSABLE = Message("store.database_unusable", "the store {store} is unusable: {reason}")
CHECK_ACCOUNT = Message("store.check_account", "check the user and the password file of the store")
CREATE_DATABASE = Message(
    "store.create_database", "create the database {database} and grant the user all rights on it"
)
CHECK_DATABASE = Message("store.check_database", "check that the database runs and is reachable")
DATABASE_UNSUPPORTED = Message(
    "store.database_unsupported", "the store {store} is a database of an unknown kind ({version})"
)
USE_OCEANBASE = Message("store.use_oceanbase", "use a MySQL-mode tenant of OceanBase")
VARIABLE_DIFFERS = Message(
    "store.variable_differs",
    "the store {store} does not accept a session variable: {name} remains {value}",
)
ALLOW_VARIABLE = Message(
    "store.allow_variable", "let the store's user set {name}, or correct its global value"
)
DATABASE_TOO_OLD = Message(
    "store.database_too_old",
    "the store {store} has schema {version}: this program needs schema {newest}",
)
MIGRATE_DATABASE = Message("store.migrate_database", "run `dagengine store migrate {store}`")
DATABASE_TOO_NEW = Message(
    "store.database_too_new",
    "the store {store} has schema {version}, for programs with schema {lowest} and later: this "
    "program has schema {own}",
)
EXPAND_REFUSED = Message(
    "store.expand_refused",
    "the store {store} was not upgraded: step {step} of the schema does not permit controllers "
    "that run: {controllers}",
)
UPGRADE_IN_BETWEEN = Message(
    "store.upgrade_in_between",
    "upgrade these controllers to a version with schema {lowest} first, or stop all controllers; "
    "one that ended without leaving is declared dead by a running one",
)
MIGRATION_RUNNING = Message("store.migration_running", "another process migrates the store {store}")
WAIT_FOR_MIGRATION = Message("store.wait_for_migration", "wait until it has finished")
OWNERSHIP_LOST = Message(
    "store.ownership_lost",
    "controller {owner} no longer owns cluster {cluster} in epoch {epoch}",
)
RESULT_UNKNOWN = Message(
    "store.result_unknown",
    "the result of the last commit of cluster {cluster} is unknown: {reason}",
)
COMMITS_DIFFER = Message(
    "store.commits_differ",
    "cluster {cluster} has a commit after number {number} that this controller did not make",
)
CLUSTER_CLOSED = Message("store.cluster_closed", "the store of cluster {cluster} is closed")
PACKET_REFUSED = Message("store.packet_refused", "the database rejects a commit: {reason}")
TOO_LARGE = Message("store.too_large", "it is too large for one packet of the database")
VALUE_TAKEN = Message("store.value_taken", "a row with this UNIQUE key exists (error {number})")
VALUE_TOO_LONG = Message("store.value_too_long", "a text is too long (error {number})")
VALUE_OUT_OF_RANGE = Message("store.value_out_of_range", "a number is too large (error {number})")
VALUE_REJECTED = Message("store.value_rejected", "the database rejects a value (error {number})")
DATABASE_CLOSED = Message("store.database_closed", "the store {store} is closed")
CLUSTER_UNKNOWN = Message("store.cluster_unknown", "the store has no cluster {cluster}")
SERVER_DIFFERS = Message(
    "store.server_differs", "the store {store} was created on another database server"
)
RESTORE_SERVER = Message(
    "store.restore_server",
    "correct the address; if the database was restored on a new server, run "
    "`dagengine store new-epoch -c FILE`",
)
CONTROLLERS_LIVE = Message(
    "store.controllers_live", "the store {store} is in use by {count} controllers"
)
STOP_CONTROLLERS = Message("store.stop_controllers", "stop all controllers of the store first")
CLUSTER_EXISTS = Message("store.cluster_exists", "the store already has a cluster {cluster}")
NAME_OTHER_CLUSTER = Message(
    "store.name_other_cluster", "name another cluster, or remove this one with `fleet forget`"
)


# --- The controllers of a shared store ----------------------------------------------

LEASE_DIFFERS = Message(
    "store.lease_differs",
    "this controller has a lease of {own} s, but the others of the store {store} have {pinned} s",
)
CORRECT_LEASE = Message("store.correct_lease", "set store.lease_s to {pinned} in the engine file")
KEY_DIFFERS = Message(
    "store.key_differs",
    "this controller has the RSA key {own}…, but the others of the store {store} have {pinned}…",
)
COPY_KEY = Message(
    "store.copy_key", "copy the key file of another controller, and name it as api.key_file"
)
CHECK_CLUSTER_NAME = Message(
    "store.check_cluster_name", "run `dagengine fleet`, which lists the clusters"
)
CLUSTER_UNFINISHED = Message(
    "store.cluster_unfinished", "the cluster {name} has unfinished DAGs: {count}"
)
FINISH_DAGS = Message("store.finish_dags", "cancel them or wait until they have ended")
CLUSTER_SERVED = Message(
    "store.cluster_served", "the cluster {name} is served by running controllers: {controllers}"
)
REMOVE_FROM_FILES = Message(
    "store.remove_from_files",
    "remove the cluster from their engine files and reload or restart them",
)

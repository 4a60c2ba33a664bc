"""Messages of `dagengine.server`."""

from __future__ import annotations

from dagengine.errors import Message

# --- Engine file -----------------------------------------------------------------

ENGINE_FILE_UNREADABLE = Message(
    "server.engine_file_unreadable",
    "cannot read the engine file {path}: {reason}",
)
ENGINE_FILE_MISSING = Message(
    "server.engine_file_missing",
    "no engine file was named, and there is none at {first} or {second}",
)
NAME_OR_WRITE_ENGINE_FILE = Message(
    "server.name_or_write_engine_file",
    "name it with -c FILE, or write one with `dagengine init`",
)
NAME_ENGINE_FILE = Message(
    "server.name_engine_file",
    "name an existing one with -c",
)
WRITE_KEYS = Message(
    "server.write_keys", "write lines `key: value`, such as `cluster: cluster.yaml`"
)
ENGINE_FILE_NOT_MAPPING = Message(
    "server.engine_file_not_mapping",
    "cannot use the engine file {path}: it is not a mapping of keys to values",
)
KEY_IN_FILE = Message("server.key_in_file", "{path}: key {key}")
SECTION_KEY_IN_FILE = Message("server.section_key_in_file", "{path}: key {section}.{key}")
VARIABLE = Message("server.variable", "environment variable {name}")
UNKNOWN_KEY = Message("server.unknown_key", "{subject} is not known")
USE_NEAREST_KEY = Message("server.use_nearest_key", "did you mean {nearest}? known: {known}")
SECTION_NOT_MAPPING = Message(
    "server.section_not_mapping",
    "{path}: key {name} has the value {value}: it must be a mapping of keys to values",
)
KEYS_OF_SECTION = Message("server.keys_of_section", "use the known keys of {name}: {known}")
KEY_MISSING = Message("server.key_missing", "{path}: key {key} is missing")
ADD_KEY = Message("server.add_key", "add it: `{key}: …`")
FILE_AND_LINE = Message("server.file_and_line", "{path}, line {line}")
VALUE_HIDDEN = Message("server.value_hidden", "(not shown)")
A_LIST = Message("server.a_list", "(a list)")
A_MAPPING = Message("server.a_mapping", "(a mapping)")
WRITE_WHOLE_NUMBER = Message("server.write_whole_number", "write digits only, such as 2886")
WRITE_NUMBER = Message("server.write_number", "write a number, such as 30 or 0.5")
WRITE_BOOLEAN = Message("server.write_boolean", "write true or false")
WRITE_TEXT = Message("server.write_text", "write text; quote it if it looks like a number")
WRITE_LIST = Message("server.write_list", "write a list: each item begins with `- `")
WRITE_MAPPING = Message("server.write_mapping", "write lines `key: value` below it, indented")
WRITE_IN_RANGE = Message("server.write_in_range", "write a value of {bound}")
WRITE_CHARACTERS = Message("server.write_characters", "write at least one character")
WRITE_ONE = Message("server.write_one", "write at least one value")
WRITE_ONE_OF = Message("server.write_one_of", "write {known}")
NOT_IP = Message("server.not_ip", "it is not an IP address")
WRITE_IP = Message("server.write_ip", "write an IP address, such as 192.0.2.10")
SET_KEY = Message("server.set_key", "set it there or as {variable}")
VALUE_INVALID = Message(
    "server.value_invalid",
    "{where}: key {key} has the value {value}: {reason}",
)
CORRECT_VALUE = Message("server.correct_value", "correct {key}")
TLS_PAIR = Message("server.tls_pair", "tls_cert_file and tls_key_file must be set together")
TLS_CA_WITHOUT_PAIR = Message(
    "server.tls_ca_without_pair",
    "tls_client_ca_file needs tls_cert_file and tls_key_file",
)
PORT_RANGE = Message("server.port_range", "the port is not between 1 and 65535")
NOT_HOST_NAME = Message(
    "server.not_host_name",
    "{name!r} is not a host name; write it without scheme, port and path",
)
LEADING_ZERO_BYTE = Message(
    "server.leading_zero_byte",
    "{ip} begins with a zero byte; ids that contain it cannot be decoded",
)
HOST_NOT_IN_IDS = Message(
    "server.host_not_in_ids",
    "the host {host!r} cannot be part of an id: {reason}",
)
SET_ADVERTISE = Message(
    "server.set_advertise",
    "set advertise, beside it, to the ip:port at which clients reach this controller",
)

# --- Several clusters ------------------------------------------------------------

IN_ENGINE_FILE = Message("server.in_engine_file", "{path}: {problem}")
CLUSTER_AND_CLUSTERS = Message(
    "server.cluster_and_clusters", "{path}: the keys cluster and clusters are both set; keep one"
)
STORE_PLACES = Message("server.store_places", "{first} and {second} are both set; keep one of them")
STORE_URL_PAIR = Message("server.store_url_pair", "url and password_file must be set together")
STORE_CA_WITHOUT_URL = Message("server.store_ca_without_url", "tls_ca_file needs url")
STORE_URL_FORM = Message(
    "server.store_url_form", "it does not have the form mysql://USER@HOST:PORT/DATABASE"
)
STORE_URL_WITH_PASSWORD = Message(
    "server.store_url_with_password",
    "it contains a password; write that to the file of store.password_file",
)

# --- Service ----------------------------------------------------------------------


# --- Exposure and listening ------------------------------------------------------

SET_ROOT_PASSWORD = Message(
    "server.set_root_password",
    "set a password for root@sys, and name it in the cluster file",
)
EXPOSED_WITHOUT_PASSWORD = Message(
    "server.exposed_without_password",
    "api.host {host} is reachable from other machines, but root@sys has an empty password: "
    "anybody could start servers",
)
SET_PASSWORD_OR_CONSENT = Message(
    "server.set_password_or_consent",
    "set a password for root@sys and name it in the cluster file, or listen on 127.0.0.1, or "
    "write api.without_password: {consent}",
)
EXPOSED_WITHOUT_TLS = Message(
    "server.exposed_without_tls",
    "api.host {host} is reachable from other machines, but TLS is not configured: anybody on the "
    "network path can read the requests and use them to sign in",
)
SET_TLS_OR_CONSENT = Message(
    "server.set_tls_or_consent",
    "set api.tls_cert_file and api.tls_key_file, or listen on 127.0.0.1, or write "
    "api.without_tls: {consent}",
)
LISTEN_FAILED = Message("server.listen_failed", "cannot listen on {url}: {reason}")
PORT_HELD = Message("server.port_held", "{reason} by pid {pid} ({program})")
RAISE_DESCRIPTOR_LIMIT = Message(
    "server.raise_descriptor_limit",
    "raise the limit on open files to {wanted} (LimitNOFILE= of the systemd unit, ulimit -n), or "
    "set a lower api.max_connections",
)
FREE_PORT = Message(
    "server.free_port",
    "stop the process that listens there, or set another api.port",
)
SOCKET_FAILED = Message("server.socket_failed", "cannot listen on api.socket {path}: {reason}")
NAME_OTHER_SOCKET = Message(
    "server.name_other_socket",
    "name another path of at most 107 bytes in a directory where this user may write",
)
NAME_SOCKET_OR_NONE = Message(
    "server.name_socket_or_none",
    "set api.socket in the engine file to another path, or to `none`",
)
NOT_A_SOCKET = Message("server.not_a_socket", "it exists and is not a socket")
SOCKET_IN_USE = Message("server.socket_in_use", "another process listens there")
HEADERS_TOO_LONG = Message("server.headers_too_long", "the headers of the request are too long")
SEND_SHORTER_HEADERS = Message("server.send_shorter_headers", "send shorter headers")
METHOD_UNKNOWN = Message("server.method_unknown", "Element not found: the method does not exist")
REQUEST_MALFORMED = Message("server.request_malformed", "the request is not valid HTTP")
SEND_HTTP = Message(
    "server.send_http",
    "send HTTP/1.1; use https:// only if the engine file sets api.tls_cert_file",
)
REQUEST_FAILED = Message("server.request_failed", "Unexpected error")
SEE_CONTROLLER_LOG = Message("server.see_controller_log", "see the log of the controller")

# --- TLS -------------------------------------------------------------------------

CLIENT_CA_UNUSABLE = Message(
    "server.client_ca_unusable",
    "cannot use api.tls_client_ca_file {path}: {reason}",
)
CERTIFICATE_UNUSABLE = Message(
    "server.certificate_unusable",
    "cannot use api.tls_cert_file {certificate} with api.tls_key_file {key}: {reason}",
)
USE_MATCHING_PEM = Message(
    "server.use_matching_pem",
    "use PEM files that belong together, and a key without a passphrase",
)
KEY_HAS_PASSPHRASE = Message("server.key_has_passphrase", "the key has a passphrase")
NOT_PEM = Message("server.not_pem", "it is not PEM, or the two do not belong together")

# --- Commands on the controller's machine ----------------------------------------

LOCAL_CALLER = Message("server.local_caller", "{user} on {host}")

# --- Plugins ---------------------------------------------------------------------

TASKS_NAME_TAKEN = Message(
    "server.tasks_name_taken",
    "the package {package} registers the extension {extension}, but the module name {module} "
    "belongs to dagengine",
)
UNINSTALL_OR_RENAME = Message(
    "server.uninstall_or_rename",
    "uninstall {package}, or have its module renamed",
)
FOREIGN_TASKS_IMPORTED = Message(
    "server.foreign_tasks_imported",
    "a foreign module {module} ({place}) is already imported; dagengine needs its own ({own})",
)
IMPORT_OWN_FIRST = Message(
    "server.import_own_first",
    "import the module of dagengine first, or use a separate process",
)
FILE_MISSING = Message("server.file_missing", "{path} is missing")
REINSTALL = Message("server.reinstall", "reinstall dagengine")
FOREIGN_TASKS_IGNORED = Message(
    "server.foreign_tasks_ignored",
    "the foreign module {module} at {foreign} was not loaded; dagengine uses {own}",
)
EXTENSION_FAILED = Message(
    "server.extension_failed",
    "the extension {name} ({entry}) cannot be loaded: {reason}",
)
UPDATE_OR_UNINSTALL = Message(
    "server.update_or_uninstall",
    "update or uninstall the package that registers it",
)
NOT_A_PLUGIN = Message("server.not_a_plugin", "the extension {name} ({entry}) is not a Plugin")

# --- Backup ----------------------------------------------------------------------

BACKUP_KEY_EXISTS = Message(
    "server.backup_key_exists",
    "{path} already exists: the key of this backup would be written there",
)
NAME_OTHER_BACKUP = Message(
    "server.name_other_backup",
    "choose another file name, or move that key away",
)
KEY_NOT_COPIED = Message(
    "server.key_not_copied",
    "the key {key} cannot be copied to {copy}, and the backup was removed: {reason}",
)
CHECK_SPACE_AND_ACCESS = Message(
    "server.check_space_and_access",
    "check the free space and the permissions of both",
)

# --- systemd ---------------------------------------------------------------------

SERVING = Message("server.serving", "STATUS=serving {url}")
STOPPING = Message(
    "server.stopping",
    "STATUS=stopping; unfinished work continues at the next start",
)
WRITER_STUCK = Message("server.writer_stuck", "the writer of the store is stuck")

# --- Self-check ------------------------------------------------------------------

ENGINE_FILE_READABLE = Message("server.engine_file_readable", "readable; ids hold {address}")
FILE_UNREADABLE = Message("server.file_unreadable", "cannot be read: {reason}")
GRANT_READ = Message("server.grant_read", "let this user read it, or name another file")
FILE_READABLE_BY_OTHERS = Message(
    "server.file_readable_by_others",
    "other users may read it: mode {mode:04o}",
)
FILE_WRITABLE_BY_OTHERS = Message(
    "server.file_writable_by_others",
    "other users may write it: mode {mode:04o}",
)
CHMOD_PRIVATE = Message("server.chmod_private", "chmod 600 {path}")
CHMOD_NO_WRITE = Message("server.chmod_no_write", "chmod go-w {path}")
FILE_READABLE = Message("server.file_readable", "readable, mode {mode:04o}")
STORE_IN_USE = Message("server.store_in_use", "in use by the controller with pid {pid}")
STORE_LOG_ORPHANED = Message(
    "server.store_log_orphaned",
    "missing or empty, but its log {log} is not: a controller does not start on it",
)
RESTORE_LOG_OWNER = Message(
    "server.restore_log_owner",
    "put back the file to which the log belongs, or move the log away",
)
STORE_FORBIDDEN = Message(
    "server.store_forbidden",
    "this user may not write to it or to {directory}; it belongs to uid {uid}",
)
RUN_AS_OWNER = Message(
    "server.run_as_owner",
    "run the controller as its owner, or make this user its owner",
)
STORE_NOT_CLOSED = Message(
    "server.store_not_closed",
    "not closed properly: the next start reads its log first",
)
STORE_EMPTY = Message("server.store_empty", "empty: the first start fills it")
STORE_FOREIGN = Message("server.store_foreign", "is not a store of dagengine")
NAME_OTHER_STORE = Message(
    "server.name_other_store",
    "name another store.path, or put a backup in its place",
)
STORE_TOO_NEW = Message(
    "server.store_too_new",
    "has schema {version}: this program supports at most {newest}",
)
USE_NEWER_PROGRAM = Message("server.use_newer_program", "use the newer program")
STORE_TOO_OLD = Message(
    "server.store_too_old",
    "has schema {version}, which was never released and cannot be upgraded",
)
REPLACE_OLD_STORE = Message(
    "server.replace_old_store",
    "move it away together with its -wal and -shm; the next start creates a new store",
)
STORE_UNUSED = Message("server.store_unused", "not in use; schema {version} of {newest}")
STORE_UPGRADES = Message(
    "server.store_upgrades",
    "not in use; schema {version} of {newest}: the next start upgrades it",
)
STORE_MISSING = Message("server.store_missing", "does not exist yet: the first start creates it")
STORE_NOT_CREATABLE = Message(
    "server.store_not_creatable",
    "does not exist, and this user may not create it in {directory}",
)
GRANT_WRITE = Message("server.grant_write", "let this user write there, or name another store.path")
PORT_TAKEN = Message(
    "server.port_taken",
    "something listens there, and it is not the controller of this store",
)
FREE_API_PORT = Message("server.free_api_port", "stop it, or set another api.port")
CONTROLLER_SILENT = Message(
    "server.controller_silent",
    "the controller with pid {pid} does not respond there",
)
SEE_LOG = Message("server.see_log", "see its log")
CONTROLLER_RESPONDS = Message("server.controller_responds", "the controller responds")
PORT_FREE = Message("server.port_free", "free for a controller")

# --- Shared store ----------------------------------------------------------------

KEY_FILE_MISSING = Message(
    "server.key_file_missing", "the shared store in store.url needs api.key_file, which is not set"
)
NAME_KEY_FILE = Message(
    "server.name_key_file",
    "set api.key_file to a path; the first controller creates the key there, and you copy it to "
    "the others",
)
HOST_NOT_CALLABLE = Message(
    "server.host_not_callable",
    "api.host is {host}, which other controllers of the shared store cannot call",
)
NAME_OWN_ADDRESS = Message(
    "server.name_own_address", "set it to the address of this machine that they reach"
)
SHARED_WITHOUT_TLS = Message(
    "server.shared_without_tls",
    "{host} has no TLS, which a shared store requires beyond loopback",
)
SET_TLS = Message("server.set_tls", "set api.tls_cert_file and api.tls_key_file")
CONTROLLERS_CA_UNUSABLE = Message(
    "server.controllers_ca_unusable",
    "api.controllers_ca_file {path} or the certificate of this controller cannot be used: {reason}",
)

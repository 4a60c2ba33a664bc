"""Messages of `tasks.cluster`. Texts that OBShell's clients know are kept literally."""

from __future__ import annotations

from dagengine.errors import Message

# --- Scope of a request ----------------------------------------------------------

SCOPE_INVALID = Message("tasks.cluster.scope_invalid", "Scope '{scope}' is invalid")
SEND_SCOPE = Message("tasks.cluster.send_scope", "send GLOBAL, ZONE or SERVER")
TARGET_EMPTY = Message(
    "tasks.cluster.target_empty",
    "The input parameter 'target' is illegal: target is empty",
)
ZONE_UNKNOWN = Message("tasks.cluster.zone_unknown", "Zone '{zone}' does not exist")
SERVER_UNKNOWN = Message("tasks.cluster.server_unknown", "Server '{server}' does not exist")
NAME_KNOWN = Message("tasks.cluster.name_known", "the cluster has {names}")
WRITE_ADDRESS = Message(
    "tasks.cluster.write_address", "write IP:PORT instead of {address!r}; the cluster has {names}"
)
ADDRESS_INVALID = Message("tasks.cluster.address_invalid", "'{address}' is not a valid address")
IP_INVALID = Message("tasks.cluster.ip_invalid", "'{ip}' is not a valid IP address")
PORT_INVALID = Message(
    "tasks.cluster.port_invalid",
    "The port '{port}' is invalid, must be in [1025, 65535]",
)

# --- Cluster file ----------------------------------------------------------------

FILE_UNREADABLE = Message(
    "tasks.cluster.file_unreadable",
    "cannot read the cluster file {path}: {reason}",
)
FILE_NOT_MAPPING = Message(
    "tasks.cluster.file_not_mapping",
    "cannot use the cluster file {path}: it is not a mapping of keys to values",
)
WRITE_CLUSTER_KEYS = Message(
    "tasks.cluster.write_cluster_keys", "write lines `key: value`, beginning with `name: …`"
)
CORRECT_CLUSTER_PATH = Message(
    "tasks.cluster.correct_cluster_path", "correct `cluster` in the engine file, or create the file"
)
CORRECT_CLUSTER_VARIABLE = Message(
    "tasks.cluster.correct_cluster_variable", "correct {variable}, or create the file"
)
USE_IP_AND_HOST = Message(
    "tasks.cluster.use_ip_and_host",
    "write the IP address of the server; a host name to log in to is `ssh: {{host: NAME}}`",
)
WRITE_ZONES = Message(
    "tasks.cluster.write_zones", "write `ZONE:` below zones, and its servers below that as a list"
)
ZONE_NAME_EMPTY = Message("tasks.cluster.zone_name_empty", "{path}: the name of a zone is empty")
NAME_ZONE = Message("tasks.cluster.name_zone", "write a name, such as zone1")
ZONE_NAME_INVALID = Message(
    "tasks.cluster.zone_name_invalid",
    "{path}: the zone name {name!r} has a comma, a semicolon, a quote, a backslash or a control "
    "character",
)
ZONE_NAME_NOT_TEXT = Message(
    "tasks.cluster.zone_name_not_text", "{path}: the zone name {name} is not text"
)
QUOTE_ZONE = Message("tasks.cluster.quote_zone", "quote it, or write a name such as zone1")
RENAME_ZONE = Message("tasks.cluster.rename_zone", "write a name such as zone1")
SERVER_TWICE = Message("tasks.cluster.server_twice", "{path}: the server {server} occurs twice")
SET_AGENT_PORT = Message(
    "tasks.cluster.set_agent_port", "set a different agent_port for one of them, or remove one"
)
SET_HOME = Message("tasks.cluster.set_home", "set a different home for one of them")
PORTS_EQUAL = Message(
    "tasks.cluster.ports_equal", "{path}: sql_port and rpc_port of {server} are both {port}"
)
SET_RPC_PORT = Message("tasks.cluster.set_rpc_port", "set a different rpc_port")
HOME_NOT_SET = Message("tasks.cluster.home_not_set", "{path}: server {ip} has no `home`")
ADD_HOME = Message("tasks.cluster.add_home", "write `home: /…` below defaults, or for this server")
SET_SQL_PORT = Message("tasks.cluster.set_sql_port", "set a different sql_port for one of them")
WRITE_ABSOLUTE_PATH = Message("tasks.cluster.write_absolute_path", "write the path from / on")
SERVER_REMOVED = Message(
    "tasks.cluster.server_removed",
    "the cluster file {path} no longer contains the server {name}",
)
RESTORE_SERVER = Message("tasks.cluster.restore_server", "put it back, or start another scope")
PATH_NOT_ABSOLUTE = Message(
    "tasks.cluster.path_not_absolute",
    "{path}: server {ip} needs an absolute `{key}`, not {value!r}",
)
PATH_CHARACTERS = Message(
    "tasks.cluster.path_characters",
    "{path}: `{key}` of server {ip} has a backslash or a control character: {value!r}",
)
RENAME_DIRECTORY = Message("tasks.cluster.rename_directory", "rename the directory on the host")
SERVERS_COLLIDE = Message(
    "tasks.cluster.servers_collide",
    "{path}: {first} and {second} have the same {key}",
)
HOME = Message("tasks.cluster.home", "home {home}")
SQL_PORT = Message("tasks.cluster.sql_port", "sql_port {port}")
KEY_UNKNOWN = Message("tasks.cluster.key_unknown", "{path}: unknown key {key}")
DID_YOU_MEAN = Message("tasks.cluster.did_you_mean", "did you mean {name}?")
KNOWN_KEYS = Message("tasks.cluster.known_keys", "known here: {names}")

# --- SSH section -----------------------------------------------------------------

SUDO_USER_INVALID = Message(
    "tasks.cluster.sudo_user_invalid",
    "not the name of a user to become, such as root, or none: {value!r}",
)
PASSPHRASE_TWICE = Message(
    "tasks.cluster.passphrase_twice",
    "give key_passphrase_env or key_passphrase_file, not both",
)
JUMP_WITHOUT_HOST = Message(
    "tasks.cluster.jump_without_host",
    "jump needs a host (or the text user@host:port)",
)
JUMP_WITH_SUDO = Message(
    "tasks.cluster.jump_with_sudo",
    "jump does not support sudo: commands do not run on a bastion",
)
JUMP_INVALID = Message("tasks.cluster.jump_invalid", "not user@host:port: {text!r}")

# --- obd's format ----------------------------------------------------------------

OBD_FILE_INVALID = Message(
    "tasks.cluster.obd_file_invalid",
    "the obd cluster file {path}: {reason}",
)
INCLUDE_IGNORED = Message(
    "tasks.cluster.include_ignored",
    "{key} is not supported; write its content into this file",
)
SECTIONS_IGNORED = Message(
    "tasks.cluster.sections_ignored",
    "these sections are ignored: {sections}",
)
COMPONENTS_AMBIGUOUS = Message(
    "tasks.cluster.components_ambiguous",
    "it has {components}; one database component is permitted",
)
COMPONENT_MISSING = Message(
    "tasks.cluster.component_missing",
    "a section for a database component is missing; {sections}; {hint}",
)
SECTIONS_FOUND = Message("tasks.cluster.sections_found", "it has {sections}")
SECTIONS_MISSING = Message("tasks.cluster.sections_missing", "it is empty")
WRITE_COMPONENT = Message("tasks.cluster.write_component", "write {components}")
COMPONENT_EMPTY = Message(
    "tasks.cluster.component_empty",
    "{component} is empty; write servers and global below it",
)
STYLE_UNKNOWN = Message(
    "tasks.cluster.style_unknown",
    "{key} has the value {style!r}; write default or cluster",
)
ZONES_MISSING = Message("tasks.cluster.zones_missing", "{component}.zones does not contain a zone")
NOT_SERVER_LIST = Message("tasks.cluster.not_server_list", "{key} must be a list of servers")
IP_MISSING = Message(
    "tasks.cluster.ip_missing",
    "{key}: number {number} needs an ip address, not {ip!r}",
)
NAME_TWICE = Message(
    "tasks.cluster.name_twice",
    "{key}: {name} occurs twice; give each server a different name",
)
NUMERIC_SECTION = Message(
    "tasks.cluster.numeric_section",
    "{key}.{name} is not applied, as in obd: its key is a number; quote it",
)
HOME_MISSING = Message(
    "tasks.cluster.home_missing",
    "{key}: home_path is missing, there and in {component}.global",
)
NOT_PORT = Message("tasks.cluster.not_port", "{key}: {name} is not a port: {port}")
NOT_INTEGER = Message("tasks.cluster.not_integer", "{key} is not an integer: {value:.40}")
PASSWORDS_DIFFER = Message(
    "tasks.cluster.passwords_differ",
    "{component}: servers have different values of root_password; give all servers the same one",
)
TIMEOUT_REDUCED = Message(
    "tasks.cluster.timeout_reduced",
    "user.timeout is {timeout_s} s; this program waits at most {limit_s} s for a connection",
)
USER_PASSWORD_IGNORED = Message(
    "tasks.cluster.user_password_ignored",
    "user.password is not used: this program logs in with keys only",
)
NOT_MAPPING = Message("tasks.cluster.not_mapping", "{key} must be a mapping of keys to values")
KEY_TWICE = Message("tasks.cluster.key_twice", "a key occurs twice")
KEY_TWICE_AT = Message(
    "tasks.cluster.key_twice_at",
    "a key occurs twice in line {line}, column {column}",
)
NOT_YAML = Message("tasks.cluster.not_yaml", "it is not YAML")
NOT_YAML_AT = Message("tasks.cluster.not_yaml_at", "it is not YAML in line {line}, column {column}")
FILE_REFUSED = Message(
    "tasks.cluster.file_refused",
    "{name} is refused ({reason}); the version of {time} is used",
)
LOGIN_REFUSED = Message(
    "tasks.cluster.login_refused",
    "{servers}: the last SQL login with the configured password of root@sys was refused (error "
    "1045); correct the password in {source}",
)
AND_MORE = Message("tasks.cluster.and_more", "{names} and {count} more")
NOT_YAML_LINE = Message("tasks.cluster.not_yaml_line", "it is not YAML in line {line}")
VALUE_MALFORMED = Message("tasks.cluster.value_malformed", "a value does not match its form or tag")
VALUE_MALFORMED_AT = Message(
    "tasks.cluster.value_malformed_at",
    "a value does not match its form or tag in line {line}, column {column}",
)

# --- Password of root@sys --------------------------------------------------------

PASSWORD_ENCRYPTED_NOTICE = Message(
    "tasks.cluster.password_encrypted_notice",
    "root_password is encrypted by obd: the variable {variable} is needed",
)
PASSWORD_CLEAR_NOTICE = Message(
    "tasks.cluster.password_clear_notice",
    "root_password is in this file in clear: it is used unless the variable {variable} is set",
)
PASSWORD_IN_FILE = Message(
    "tasks.cluster.password_in_file",
    "{path}: root_password must not be in this file, except as `root_password: {none}` if root "
    "has an empty password",
)
NAME_PASSWORD_SOURCE = Message(
    "tasks.cluster.name_password_source",
    "name a variable (root_password_env) or a file (root_password_file)",
)
PASSWORD_KEYS_CONFLICT = Message(
    "tasks.cluster.password_keys_conflict",
    "{path}: {keys} contradict each other",
)
KEEP_ONE_KEY = Message("tasks.cluster.keep_one_key", "keep one of them")
NAME_PASSWORD_OR_NONE = Message(
    "tasks.cluster.name_password_or_none",
    "name a variable with root_password_env or a file with root_password_file; if root has an "
    "empty password, write `root_password: {none}`",
)
PASSWORD_NOT_NAMED = Message(
    "tasks.cluster.password_not_named",
    "{path} does not name a password of root@sys: root_password_env, root_password_file and "
    "root_password are missing",
)
PASSWORD_FILE_EMPTY = Message(
    "tasks.cluster.password_file_empty",
    "{path}: the first line of root_password_file {file} is empty",
)
WRITE_PASSWORD = Message(
    "tasks.cluster.write_password",
    "write the password there, or name a variable with root_password_env; if root has an empty "
    "password, write `root_password: {none}` instead of that key",
)
PASSWORD_VARIABLE_UNUSABLE = Message(
    "tasks.cluster.password_variable_unusable",
    "{path}: root_password_env names the variable {variable}, which is {state}",
)
SET_PASSWORD_VARIABLE = Message(
    "tasks.cluster.set_password_variable",
    "set {variable} in the environment of the controller, or name a file with "
    "root_password_file; if root has an empty password, write `root_password: {none}` instead of "
    "that key",
)
OBD_PASSWORD_CONFLICT = Message(
    "tasks.cluster.obd_password_conflict",
    "{variable}=yes declares that root has an empty password, but {other} contains one",
)
REMOVE_ONE = Message("tasks.cluster.remove_one", "remove one of the two")
PASSWORD_KEY_OF = Message("tasks.cluster.password_key_of", "root_password of {path}")
OBD_VARIABLE_UNUSABLE = Message(
    "tasks.cluster.obd_variable_unusable",
    "{path}: the variable {variable}, which has priority over root_password, is {state}",
)
SET_OR_UNSET_OBD_VARIABLE = Message(
    "tasks.cluster.set_or_unset_obd_variable",
    "set {variable} to the password, or unset it and write root_password into the file; if root "
    "has an empty password, set {declaration}=yes",
)
OBD_PASSWORD_MISSING = Message(
    "tasks.cluster.obd_password_missing",
    "{path}: root_password is missing, and the variable {variable} is not set",
)
SET_OBD_VARIABLE = Message(
    "tasks.cluster.set_obd_variable",
    "set {variable} in the environment of the controller, or write root_password into the file; "
    "if root has an empty password, set {declaration}=yes",
)
OBD_DECLARATION_INVALID = Message(
    "tasks.cluster.obd_declaration_invalid",
    "the variable {variable} has the value {value!r}",
)
WRITE_YES_OR_UNSET = Message(
    "tasks.cluster.write_yes_or_unset",
    "write yes if root has an empty password, otherwise unset it",
)
PASSWORD_IS_CIPHERTEXT = Message(
    "tasks.cluster.password_is_ciphertext",
    "{path}: root_password is the output of `obd pwd encrypt`, not the password",
)
SET_OR_DECRYPT = Message(
    "tasks.cluster.set_or_decrypt",
    "set {variable} to the password, or decrypt the file with `obd pwd encrypt disable`",
)
VARIABLE_UNSET = Message("tasks.cluster.variable_unset", "not set")
VARIABLE_BLANK = Message("tasks.cluster.variable_blank", "only white space")
VARIABLE_EMPTY = Message("tasks.cluster.variable_empty", "empty")

# --- Start options ---------------------------------------------------------------

OPTION_MALFORMED = Message("tasks.cluster.option_malformed", "{option} {value!r} is not {form}")
OPTION_BELOW_MINIMUM = Message(
    "tasks.cluster.option_below_minimum",
    "{option} {value!r} is less than the minimum, {minimum}",
)
OPTION_ABOVE_MAXIMUM = Message(
    "tasks.cluster.option_above_maximum",
    "{option} {value!r} is more than the maximum, {maximum}",
)
OPTION_UNKNOWN_VALUE = Message(
    "tasks.cluster.option_unknown_value", "{option} {value!r} is none of its values: {names}"
)
FORM_BOOL = Message("tasks.cluster.form_bool", "`true` or `false`")
FORM_CAPACITY = Message(
    "tasks.cluster.form_capacity", "a whole number with a unit (K, M, G, T), such as 1536M"
)
FORM_DOUBLE = Message("tasks.cluster.form_double", "a number")
FORM_INT = Message("tasks.cluster.form_int", "a whole number")
FORM_MOMENT = Message("tasks.cluster.form_moment", "a time of day such as 02:00, or `disable`")
FORM_TIME = Message(
    "tasks.cluster.form_time", "a whole number with a unit (us, ms, s, m, h, d), such as 30s"
)

# --- Majority --------------------------------------------------------------------

MAJORITY_MISSING = Message(
    "tasks.cluster.majority_missing",
    "a majority of the cluster does not respond: servers of {needed} of its {zones} zones are "
    "needed, and this task received responses from servers of {count} ({reached})",
)
MAJORITY_MISSING_SERVERS = Message(
    "tasks.cluster.majority_missing_servers",
    "{majority}; missing: {servers}",
)
START_MORE_ZONES = Message(
    "tasks.cluster.start_more_zones",
    "start the servers of {count} more zones, then RETRY",
)
START_MORE_ZONE = Message(
    "tasks.cluster.start_more_zone",
    "start the servers of 1 more zone, then RETRY",
)
START_REST = Message(
    "tasks.cluster.start_rest",
    "start those as well, or wait for an election, then RETRY",
)
SERVERS_DOWN = Message("tasks.cluster.servers_down", "{servers} (not up)")
SERVERS_OUT_OF_SCOPE = Message(
    "tasks.cluster.servers_out_of_scope",
    "{servers} (out of this task's scope, state unknown)",
)

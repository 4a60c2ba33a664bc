"""Messages of `dagengine.runtime`."""

from __future__ import annotations

from dagengine.errors import Message

# --- YAML ------------------------------------------------------------------------

KEY_NOT_TEXT = Message("runtime.key_not_text", "a key is not plain text in {place}")
KEY_TWICE = Message("runtime.key_twice", "the key '{key}' occurs twice in {place}")
REMOVE_ONE = Message("runtime.remove_one", "remove one")
NOT_YAML = Message("runtime.not_yaml", "it is not YAML")
NOT_YAML_AT = Message("runtime.not_yaml_at", "it is not YAML in {place}")
NESTED_TOO_DEEPLY = Message(
    "runtime.nested_too_deeply",
    "it is nested too deeply, above {levels} levels, in {place}",
)
FLATTEN = Message("runtime.flatten", "flatten it")
TOO_MANY_VALUES = Message(
    "runtime.too_many_values",
    "it has more than {limit:,} values, as far as {place}, with aliases written out",
)
USE_FEWER_ALIASES = Message("runtime.use_fewer_aliases", "use fewer aliases")
ALIAS_OF_ITSELF = Message(
    "runtime.alias_of_itself", "an alias refers to what contains it in {place}"
)
TAG_UNSUPPORTED = Message("runtime.tag_unsupported", "a tag is not supported in {place}")
REMOVE_TAG = Message("runtime.remove_tag", "remove the tag")
NUMBER_TOO_LONG = Message(
    "runtime.number_too_long",
    "a number has more than {digits} digits in {place}",
)
CHARACTER_INVALID = Message(
    "runtime.character_invalid",
    "it contains the character {code} in line {line}, which YAML does not allow",
)
CONTROL_CHARACTER = Message(
    "runtime.control_character",
    "a value has the control character {code} in {place}",
)
REMOVE_CHARACTER = Message("runtime.remove_character", "remove it")
REMOVE_IT = Message("runtime.remove_it", "remove it, and save the file as UTF-8")
REPLACE_TABS = Message("runtime.replace_tabs", "replace the tabs by spaces")
FILE_TOO_LARGE = Message("runtime.file_too_large", "it is larger than {limit_bytes:,} bytes")
SHORTEN = Message("runtime.shorten", "shorten it")
NOT_UTF8 = Message("runtime.not_utf8", "it is not UTF-8 in line {line}")
SAVE_AS_UTF8 = Message("runtime.save_as_utf8", "save it as UTF-8")
VALUE_MALFORMED = Message("runtime.value_malformed", "a value does not match its form or tag")
VALUE_MALFORMED_AT = Message(
    "runtime.value_malformed_at",
    "a value does not match its form or tag in {place}",
)
VALUE_AMBIGUOUS = Message(
    "runtime.value_ambiguous",
    "{key} in line {line} has {value}, which YAML 1.1 and YAML 1.2 read differently",
)
SECRET_VALUE = Message("runtime.secret_value", "a value")
SHOWN_VALUE = Message("runtime.shown_value", "the value {value}")
QUOTE = Message("runtime.quote", "quote it")
QUOTE_OR_BOOLEAN = Message("runtime.quote_or_boolean", "quote it, or write true or false")
CORRECT_FILE = Message("runtime.correct_file", "correct the file there")
PLACE = Message("runtime.place", "line {line}, column {column}")

# --- Addresses -------------------------------------------------------------------

NOT_ADDRESS = Message(
    "runtime.not_address",
    "not ip:port, such as 192.0.2.10:2886 or [2001:db8::1]:2886",
)
IPV6_WITHOUT_BRACKETS = Message(
    "runtime.ipv6_without_brackets",
    "an IPv6 address needs brackets: [ip]:port",
)

# --- New files -------------------------------------------------------------------

IS_LINK = Message("runtime.is_link", "it is a symbolic link")
NOT_REGULAR_FILE = Message("runtime.not_regular_file", "it is not a regular file")
LINK_TO_NOTHING = Message(
    "runtime.link_to_nothing",
    "it is a symbolic link to a file that does not exist",
)

# --- Password files --------------------------------------------------------------

FILE_UNREADABLE = Message("runtime.file_unreadable", "cannot read {key} {path}: {reason}")
FILE_NOT_UTF8 = Message("runtime.file_not_utf8", "cannot read {key} {path}: it is not UTF-8")
GRANT_READ = Message("runtime.grant_read", "let this user read it, or name another file")
AGENT_PASSWORD_EMPTY = Message(
    "runtime.agent_password_empty",
    "the first line of api.agent_password_file {path} is empty",
)
WRITE_AGENT_PASSWORD = Message(
    "runtime.write_agent_password",
    "write the agent password there, or remove the key; only root@sys can then sign in",
)

"""Messages of `dagengine.runtime`."""

from __future__ import annotations

from dagengine.errors import Message

# --- YAML ------------------------------------------------------------------------

KEY_NOT_TEXT = Message("runtime.key_not_text", "a key is not plain text in {place}")
KEY_TWICE = Message("runtime.key_twice", "the key '{key}' occurs twice in {place}")
REMOVE_ONE = Message("runtime.remove_one", "remove one")
NOT_YAML = Message("runtime.not_yaml", "it is not YAML")
NOT_YAML_AT = Message("runtime.not_yaml_at", "it is not YAML in {place}")
NESTED_TOO_DEEPLY = Message("runtime.nested_too_deeply", "it is nested too deeply")
FLATTEN = Message("runtime.flatten", "flatten it")
VALUE_MALFORMED = Message("runtime.value_malformed", "a value does not match its form or tag")
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

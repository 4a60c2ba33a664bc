"""Messages of `dagengine.security`. Texts that OBShell's clients know are kept literally."""

from __future__ import annotations

from dagengine.errors import Message

# --- Decryption ------------------------------------------------------------------

HEADER_DECRYPT_FAILED = Message("security.header_decrypt_failed", "Decrypt http header failed")
FETCH_PUBLIC_KEY = Message(
    "security.fetch_public_key",
    "fetch the current public key from /api/v1/secret",
)
BODY_KEYS_INVALID = Message("security.body_keys_invalid", "Unauthorized: AES key and IV size error")
BODY_LENGTH_INVALID = Message(
    "security.body_length_invalid",
    "Unauthorized: the body is not a multiple of the AES block size",
)
BODY_UNREADABLE = Message(
    "security.body_unreadable",
    "the body is not encrypted with the keys of the header",
)
BODY_NOT_READ = Message(
    "security.body_not_read",
    "the body did not arrive completely within the time limit",
)
SEND_AGAIN = Message("security.send_again", "send it again")

# --- Authentication --------------------------------------------------------------

HEADER_MISSING = Message(
    "security.header_missing",
    "X-OCS-Agent-Header or X-OCS-Header not found in http request header",
)
SOCKET_DENIED = Message("security.socket_denied", "{peer} may not use this socket")
CALL_AS_OWNER = Message(
    "security.call_as_owner",
    "call as root or as the controller's own user, or use TCP with the password",
)
URI_MISMATCH = Message("security.uri_mismatch", "URI mismatch")
SIGN_TARGET = Message("security.sign_target", "sign the request target exactly as it is sent")
TIMESTAMP_INVALID = Message(
    "security.timestamp_invalid",
    "Unauthorized: ts is not a number of seconds since the epoch",
)
HEADER_EXPIRED = Message("security.header_expired", "Unauthorized: the header has expired")
COMPARE_CLOCKS = Message("security.compare_clocks", "compare the clocks of both machines")
HEADER_TOO_FAR_AHEAD = Message(
    "security.header_too_far_ahead",
    "Unauthorized: ts is more than {max_ahead_s} s in the future",
)
SIGN_FOR_A_MINUTE = Message(
    "security.sign_for_a_minute",
    "sign for a minute; compare the clocks of both machines",
)
HEADER_REPLAYED = Message(
    "security.header_replayed",
    "Unauthorized: this signed request was used before",
)
SIGN_EACH_REQUEST = Message(
    "security.sign_each_request",
    "sign each request separately, with its own AES key and IV",
)
TOO_MANY_FAILURES = Message(
    "security.too_many_failures",
    "too many failed logins from this address",
)
CORRECT_PASSWORD = Message(
    "security.correct_password",
    "correct the password that is used there, and try again in {retry_after_s} s",
)
TRY_AGAIN = Message("security.try_again", "try again in a minute")
TOO_MANY_REQUESTS = Message(
    "security.too_many_requests",
    "too many requests are stored for replay protection until they expire",
)
PASSWORD_UNAVAILABLE = Message(
    "security.password_unavailable",
    "the controller cannot read its password",
)
SEE_LOG = Message("security.see_log", "see its log")
ROOT_PASSWORD_INCORRECT = Message(
    "security.root_password_incorrect",
    "Unauthorized: OceanBase password is incorrect",
)
AGENT_PASSWORD_INCORRECT = Message(
    "security.agent_password_incorrect",
    "Unauthorized: agent password is incorrect",
)
AGENT_PASSWORD_UNSET = Message(
    "security.agent_password_unset",
    "Unauthorized: an agent password is not configured",
)
USE_ROOT_PASSWORD = Message(
    "security.use_root_password",
    "sign in with the password of root@sys (X-OCS-Header)",
)
ID_NEEDS_UNSET_PASSWORD = Message(
    "security.id_needs_unset_password",
    "Unauthorized: this id needs the agent password, which is not configured",
)
ID_NEEDS_AGENT_PASSWORD = Message(
    "security.id_needs_agent_password",
    "Unauthorized: this id needs the agent password (X-OCS-Agent-Header)",
)

# --- Key file --------------------------------------------------------------------

KEY_FILE_UNUSABLE = Message(
    "security.key_file_unusable",
    "cannot use the key file {path}: {reason}",
)
CORRECT_KEY_FILE = Message(
    "security.correct_key_file",
    "correct its permissions, or move it away; clients then fetch a new key",
)
KEY_FILE_NOT_RSA = Message(
    "security.key_file_not_rsa",
    "cannot use the key file {path}: it does not contain an RSA key",
)
MOVE_KEY_FILE = Message("security.move_key_file", "move it away; clients then fetch a new key")

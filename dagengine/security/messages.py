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
RIGHT_MISSING = Message("security.right_missing", "{caller} may not change anything")
CALL_WITH_RIGHT = Message(
    "security.call_with_right",
    "call with credentials that permit changes",
)
HOST_NOT_ALLOWED = Message(
    "security.host_not_allowed",
    "the header Host names {host!r}, which is not a name of this controller",
)
ALLOW_HOST = Message(
    "security.allow_host",
    "call it by its IP address, or add the name to api.allowed_hosts in the engine file",
)
ORIGIN_NOT_ALLOWED = Message(
    "security.origin_not_allowed",
    "a web page of {origin!r}, which is not an origin of this controller, sent the request",
)
ALLOW_ORIGIN = Message(
    "security.allow_origin",
    "close that page; if it belongs to the controller, add its host to api.allowed_hosts in the "
    "engine file",
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
HEADER_NOT_NEWER = Message(
    "security.header_not_newer",
    "Unauthorized: ts is not later than that of requests which were used and are no longer "
    "remembered: the controller's clock was set back",
)
CORRECT_CLOCK = Message(
    "security.correct_clock",
    "correct the controller's clock; if it was ahead before, wait until it reaches that time "
    "again, or restart the controller without its key file; clients then fetch a new key",
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

# --- Tokens ----------------------------------------------------------------------

TOKEN_INVALID = Message(
    "security.token_invalid",
    "Unauthorized: the token is unknown or was revoked",
)
LIST_TOKENS = Message(
    "security.list_tokens",
    "list the tokens with `dagengine token list`, or create one with `dagengine token create`",
)
TOKEN_EXPIRED = Message("security.token_expired", "Unauthorized: token {name!r} expired at {at}")
CREATE_TOKEN = Message(
    "security.create_token", "create a token with `dagengine token create --name NAME`"
)
TOKEN_OF_OTHER = Message(
    "security.token_of_other",
    "Unauthorized: the token is for {presented}, but this is {own}",
)
USE_OWN_TOKEN = Message("security.use_own_token", "use a token of {own}")
CLUSTER_OF_TOKEN = Message("security.cluster_of_token", "cluster {cluster}")
SERVICE_OF_TOKEN = Message("security.service_of_token", "the service")
TOKEN_EXPOSED = Message(
    "security.token_exposed",
    "a token was sent over plain HTTP from another machine, so that others may have read it",
)
REVOKE_AND_USE_TLS = Message(
    "security.revoke_and_use_tls",
    "revoke it with `dagengine token revoke`, and use https:// (api.tls_cert_file in the engine "
    "file), the unix socket or loopback",
)
RESPONSE_EXPOSED = Message(
    "security.response_exposed",
    "the new token would be sent over plain HTTP to another machine",
)
USE_TLS = Message(
    "security.use_tls",
    "use https:// (api.tls_cert_file in the engine file), the unix socket or loopback",
)
TOKEN_IN_URL = Message(
    "security.token_in_url", "the URL contains a token, which logs and histories keep"
)
REVOKE_AND_SEND_HEADER = Message(
    "security.revoke_and_send_header",
    "revoke it with `dagengine token revoke`, and send another one in the header "
    "`Authorization: Bearer`",
)
CALLER_NOT_ACCEPTED = Message(
    "security.caller_not_accepted", "{caller} may not create, list or revoke tokens"
)
USE_ROOT_OR_SOCKET = Message(
    "security.use_root_or_socket",
    "use the password of root@sys, or the unix socket as root or as the user that runs the "
    "controller",
)
EMPTY_PASSWORD_NOT_ACCEPTED = Message(
    "security.empty_password_not_accepted",
    "root@sys has no password, so that anyone on this machine could create a token that remains "
    "valid",
)
SET_PASSWORD_OR_USE_SOCKET = Message(
    "security.set_password_or_use_socket",
    "set a password, or use the unix socket as root or as the user that runs the controller",
)

# --- Pages and sessions ------------------------------------------------------------

LOGIN_REQUIRED = Message("security.login_required", "this page needs a login")
LOG_IN = Message("security.log_in", "log in")
SESSION_ENDED = Message("security.session_ended", "the session has ended")
FORM_NOT_OWN = Message(
    "security.form_not_own", "the form was not sent from a page of this controller and session"
)
RELOAD_PAGE = Message("security.reload_page", "reload the page, and send the form again")
PAGES_NEED_TLS = Message(
    "security.pages_need_tls",
    "pages are served over TLS, loopback and the unix socket only, and this is plain HTTP from "
    "another machine",
)
SET_UP_TLS = Message(
    "security.set_up_tls",
    "set api.tls_cert_file and api.tls_key_file in the engine file, or forward a local port with "
    "`ssh -L 8886:SOCKET HOST` and open http://localhost:8886",
)
ROOT_PASSWORD_UNSET = Message("security.root_password_unset", "root@sys has no password")
SET_ROOT_PASSWORD = Message(
    "security.set_root_password",
    "set one (root_password_env or root_password_file in the cluster file) or create a token "
    "(dagengine token create)",
)
CREDENTIALS_MISSING = Message("security.credentials_missing", "the form has no password or token")
FILL_IN = Message("security.fill_in", "enter a password or a token")
ENTRY_NOT_OFFERED = Message(
    "security.entry_not_offered", "this listener does not accept a login of the kind {entry!r}"
)
USE_OFFERED_ENTRY = Message("security.use_offered_entry", "use a login that the page offers")

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

# --- Requests of other controllers -------------------------------------------------

FORWARDED_NOT_AUTHENTIC = Message(
    "security.forwarded_not_authentic",
    "the header Dagengine-Forwarded was not made for this request by a controller of this service",
)
FORWARDED_AT_OTHER_TIME = Message(
    "security.forwarded_at_other_time",
    "the request was forwarded {seconds} s away from this controller's clock",
)
SYNCHRONISE_CLOCKS = Message(
    "security.synchronise_clocks",
    "synchronise the clocks of the controllers",
)
FORWARDED_BEFORE = Message(
    "security.forwarded_before",
    "this forwarded request has already been accepted",
)

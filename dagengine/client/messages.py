"""Messages of `dagengine.client`."""

from __future__ import annotations

from dagengine.errors import Message

# --- Connection ------------------------------------------------------------------

NOT_OPEN = Message("client.not_open", "the client is not open")
USE_ASYNC_WITH = Message("client.use_async_with", "use `async with`")
UNREACHABLE = Message("client.unreachable", "the controller at {url} does not respond: {reason}")
CHECK_SERVE_AND_URL = Message(
    "client.check_serve_and_url",
    "check that `dagengine serve` runs there and that --url is right",
)
RESPONSE_NOT_OBJECT = Message("client.response_not_object", "its response is not a JSON object")
HTTP_STATUS = Message("client.http_status", "HTTP status {status}")
KEY_UNREADABLE = Message(
    "client.key_unreadable",
    "the key of the controller cannot be read: {reason}",
)
KEY_NOT_RSA = Message("client.key_not_rsa", "the key of the controller is not an RSA key")
TLS_FILES_UNUSABLE = Message(
    "client.tls_files_unusable",
    "cannot use the TLS files {files}: {reason}",
)
NAME_PEM_FILES = Message(
    "client.name_pem_files",
    "name PEM files in DAGENGINE_CA_FILE, DAGENGINE_CERT_FILE, DAGENGINE_KEY_FILE",
)

# --- Arguments -------------------------------------------------------------------

ID_CHARACTERS = Message("client.id_characters", "an id consists of letters and digits")

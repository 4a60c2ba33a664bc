"""Messages of `dagengine.client`."""

from __future__ import annotations

from dagengine.errors import Message

# --- Connection ------------------------------------------------------------------

NOT_OPEN = Message("client.not_open", "the client is not open")
USE_ASYNC_WITH = Message("client.use_async_with", "use `async with`")
UNREACHABLE = Message("client.unreachable", "the controller at {url} does not respond: {reason}")
NOTHING_LISTENS = Message("client.nothing_listens", "nothing listens there")
SOCKET_MISSING = Message("client.socket_missing", "the socket does not exist")
SOCKET_DENIED = Message("client.socket_denied", "this user may not connect to it")
HOST_UNREACHABLE = Message("client.host_unreachable", "the host cannot be reached")
HOST_NAME_UNKNOWN = Message("client.host_name_unknown", "its host name is not known")
TIMED_OUT = Message("client.timed_out", "it did not answer in time")
CONNECTION_CLOSED = Message("client.connection_closed", "it closed the connection")
CERTIFICATE_INVALID = Message("client.certificate_invalid", "it is not valid")
CERTIFICATE_NOT_TRUSTED = Message(
    "client.certificate_not_trusted", "its certificate is not trusted ({detail})"
)
NOT_TLS = Message("client.not_tls", "it does not accept TLS")
NOT_HTTP = Message("client.not_http", "it does not speak HTTP")
URL_MALFORMED = Message("client.url_malformed", "the URL is not valid")
WRITE_URL = Message(
    "client.write_url", "write --url as http://HOST:PORT, https://HOST:PORT or unix:PATH"
)
PORT_INVALID = Message("client.port_invalid", "the port of the URL is not valid")
WRITE_PORT = Message("client.write_port", "write a port from 1 to 65535 in --url")
RESPONSE_NOT_JSON = Message("client.response_not_json", "its response is not JSON")
NAME_CA_FILE = Message(
    "client.name_ca_file", "name the file of the CA that signed it in DAGENGINE_CA_FILE"
)
CHECK_SCHEME = Message(
    "client.check_scheme", "check scheme and port of --url: http://, or https:// with TLS"
)
CHECK_SERVE_AND_URL = Message(
    "client.check_serve_and_url",
    "check that `dagengine serve` runs there and that --url is right",
)
RESPONSE_NOT_OBJECT = Message("client.response_not_object", "its response is not a JSON object")
HTTP_STATUS = Message("client.http_status", "HTTP status {status}")
KEY_UNREADABLE = Message(
    "client.key_unreadable",
    "the server at the URL has sent a key that cannot be read",
)
KEY_NOT_RSA = Message("client.key_not_rsa", "the server at the URL has sent a key that is not RSA")
CHECK_CONTROLLER_URL = Message(
    "client.check_controller_url", "check that --url is the address of a controller"
)
TLS_FILES_UNUSABLE = Message(
    "client.tls_files_unusable",
    "cannot use the TLS files {files}: {reason}",
)
NAME_PEM_FILES = Message(
    "client.name_pem_files",
    "name PEM files in DAGENGINE_CA_FILE, DAGENGINE_CERT_FILE, DAGENGINE_KEY_FILE",
)
RESPONSE_UNEXPECTED = Message(
    "client.response_unexpected",
    "the response of {url} does not have the form of a controller's: {difference}",
)
MEMBER_MISSING = Message("client.member_missing", "{path} is missing")
MEMBER_DIFFERS = Message("client.member_differs", "{path} is {value}, not {expected}")
CHECK_URL_AND_VERSION = Message(
    "client.check_url_and_version",
    "check that --url is the address of a controller of this version",
)

# --- Arguments -------------------------------------------------------------------

ID_CHARACTERS = Message("client.id_characters", "an id consists of letters and digits")
TOKEN_NEEDS_TLS = Message(
    "client.token_needs_tls",
    "the token would be sent over plain HTTP to another machine: {url}",
)
USE_HTTPS_URL = Message("client.use_https_url", "use an https:// URL, or unset the token")

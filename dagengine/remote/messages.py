"""Messages of `dagengine.remote`."""

from __future__ import annotations

from dagengine.errors import Message

# --- Connecting ------------------------------------------------------------------

ADDRESS_VIA = Message("remote.address_via", "{address} (through the bastion {bastion})")
LOGIN_TIMED_OUT = Message(
    "remote.login_timed_out",
    "{host} did not complete an SSH login within {timeout_s:g} s",
)
CHECK_HOST_AND_FIREWALL = Message(
    "remote.check_host_and_firewall",
    "check that the host is up, that no firewall drops packets, and that sshd responds",
)
HOST_NAME_UNKNOWN = Message("remote.host_name_unknown", "the host name {name} is not known")
CONNECT_TIMED_OUT = Message("remote.connect_timed_out", "it did not answer in time")
UNREACHABLE = Message("remote.unreachable", "{host} cannot be reached over SSH: {reason}")
NO_DESCRIPTOR = Message(
    "remote.no_descriptor",
    "this controller has no free file descriptor for a connection to {host}: {reason}",
)
RAISE_DESCRIPTOR_LIMIT = Message(
    "remote.raise_descriptor_limit",
    "raise its limit on open files (LimitNOFILE= of the systemd unit, ulimit -n)",
)
USER_WITHOUT_NAME = Message(
    "remote.user_without_name",
    "cannot connect to {host}: the user of this program, uid {uid}, has no name",
)
SET_USER = Message(
    "remote.set_user", "set USER in the environment of this program, or add the user to /etc/passwd"
)
CHECK_HOST_AND_PORT = Message(
    "remote.check_host_and_port",
    "check that the host is up and that sshd listens on this address and port",
)
CHECK_SSHD_LOG = Message(
    "remote.check_sshd_log",
    "check that the host is up and read the log of its sshd, which closed the connection: it may "
    "have been ended, HostKeyAlgorithms of its sshd_config may share no algorithm with this "
    "controller, or MaxStartups may be too low",
)
NO_COMMON_ALGORITHM = Message(
    "remote.no_common_algorithm",
    "{host} and this controller do not share an algorithm for {subject}: sshd offers {offered}",
)
ALLOW_ALGORITHM = Message(
    "remote.allow_algorithm",
    "add one of {supported} to {keyword} in its sshd_config",
)
KEY_EXCHANGE = Message("remote.key_exchange", "the key exchange")
ENCRYPTION = Message("remote.encryption", "encryption")
AUTHENTICATION_CODES = Message("remote.authentication_codes", "message authentication codes")
HOST_KEYS = Message("remote.host_keys", "host keys")
NO_ALGORITHM = Message("remote.no_algorithm", "none")
ADDRESS_MISSING = Message("remote.address_missing", "{host} does not have an address")
LOGIN_REJECTED = Message("remote.login_rejected", "{user}@{address} was rejected with {key}")
AUTHORIZE_KEY = Message(
    "remote.authorize_key",
    "add its public key to the authorized_keys of {user} there, or correct ssh.user and "
    "ssh.key_file; a certificate may have expired or name other principals (ssh-keygen -L -f "
    "shows it), and PubkeyAcceptedAlgorithms or RequiredRSASize of its sshd_config may exclude the "
    "key",
)
DEFAULT_KEYS = Message("remote.default_keys", "the default keys in ~/.ssh")
ANY_AGENT_KEY = Message("remote.any_agent_key", "any key of the ssh agent")
AGENT_KEY = Message("remote.agent_key", "{key} of the ssh agent")
KEY_AND_CERTIFICATE = Message(
    "remote.key_and_certificate",
    "{key} and the certificate {certificate}",
)
FORWARDING_PROHIBITED = Message(
    "remote.forwarding_prohibited",
    "the bastion {bastion} does not forward connections to {address}: {reason}",
)
ALLOW_FORWARDING = Message(
    "remote.allow_forwarding",
    "check AllowTcpForwarding and PermitOpen in its sshd_config",
)
HOST_PROHIBITS_FORWARDING = Message(
    "remote.host_prohibits_forwarding",
    "the sshd of {address} does not permit connections to {destination}",
)
PERMIT_FORWARDING = Message(
    "remote.permit_forwarding",
    "permit {destination}: AllowTcpForwarding, PermitOpen and DisableForwarding in its "
    "sshd_config; restrict, no-port-forwarding and permitopen in the authorized_keys of {user}",
)
PERMIT_IN_SSHD_CONFIG = Message(
    "remote.permit_in_sshd_config",
    "permit {destination} in its sshd_config: AllowTcpForwarding, PermitOpen, DisableForwarding",
)
PERMIT_OPEN = Message(
    "remote.permit_open",
    "add {destination} to permitopen in {line} there, or to PermitOpen in its sshd_config",
)
DROP_RESTRICT = Message(
    "remote.drop_restrict",
    "remove restrict or no-port-forwarding from {line} there, or add port-forwarding to it",
)
FORWARDING_FAILED = Message(
    "remote.forwarding_failed",
    "the bastion {bastion} cannot connect to {address}: {reason}",
)
CHECK_HOST_AND_ROUTE = Message(
    "remote.check_host_and_route",
    "check that the host is up, and that the bastion reaches its address and port",
)
CONNECTION_CLOSED = Message(
    "remote.connection_closed",
    "the connection to {address} was closed permanently",
)
BASTION_UNUSABLE = Message(
    "remote.bastion_unusable",
    "the bastion of {address} cannot be used: {reason}",
)
BASTION_SILENT = Message(
    "remote.bastion_silent",
    "the bastion {bastion} of {address} no longer responds",
)
CHECK_BASTION = Message(
    "remote.check_bastion",
    "check that it is up; the next attempt opens a new connection to it",
)

# --- Host keys -------------------------------------------------------------------

KNOWN_HOSTS_UNREADABLE = Message(
    "remote.known_hosts_unreadable",
    "the trusted host keys of {address} cannot be read: {file}: {reason}",
)
KNOWN_HOSTS_LINE_SKIPPED = Message(
    "remote.known_hosts_line_skipped",
    "line {number} of {file} is skipped: {reason}",
)
LINE_HAS_ZEROES = Message("remote.line_has_zeroes", "it consists of zero bytes")
LINE_MARKER_UNKNOWN = Message("remote.line_marker_unknown", "its marker is unknown")
LINE_INCOMPLETE = Message("remote.line_incomplete", "it does not consist of names, type and key")
LINE_KEY_UNREADABLE = Message("remote.line_key_unreadable", "its key cannot be read")
LINE_NAME_UNREADABLE = Message("remote.line_name_unreadable", "its hashed name cannot be read")
CORRECT_KNOWN_HOSTS = Message(
    "remote.correct_known_hosts",
    "correct the file, or name another one in ssh.known_hosts",
)
HOST_KEY_REVOKED = Message(
    "remote.host_key_revoked",
    "the host key of {address} is marked @revoked in {file}",
)
REPLACE_REVOKED_KEY = Message(
    "remote.replace_revoked_key",
    "give the host a new key, then pin it: dagengine hosts trust",
)
HOST_KEY_CHANGED = Message(
    "remote.host_key_changed",
    "the host key of {address} is not the one in {file}",
)
REPLACE_CHANGED_KEY = Message(
    "remote.replace_changed_key",
    "check whether the host was reinstalled, as the connection may be intercepted; only if it "
    "was, replace the key: dagengine hosts trust --replace '{address}'",
)
HOST_KEY_NOT_CERTIFIED = Message(
    "remote.host_key_not_certified",
    "the host key of {address} is not certified by the authority in {file}: {reason}",
)
CERTIFY_OR_PIN = Message(
    "remote.certify_or_pin",
    "have the host's certificate signed again for this name (ssh-keygen -L shows it), or pin its "
    "key: dagengine hosts trust",
)
HOST_KEY_UNKNOWN = Message(
    "remote.host_key_unknown",
    "the host key of {address} is unknown: {file} does not contain it",
)
HOST_KEY_UNKNOWN_WITHOUT_FILE = Message(
    "remote.host_key_unknown_without_file",
    "the host key of {address} is unknown: {file} does not exist",
)
HOST_KEY_OF_OTHER_TYPE = Message(
    "remote.host_key_of_other_type",
    "the host key of {address} is not the one in {file}: sshd offers {offered}, and the file has "
    "{pinned}",
)
REPLACE_KEY_OR_ALLOW_TYPE = Message(
    "remote.replace_key_or_allow_type",
    "allow the type of the pinned key in HostKeyAlgorithms and HostKey of its sshd_config; only if "
    "the host was reinstalled, replace the key: dagengine hosts trust --replace '{address}'",
)
HOST_CERTIFICATE_UNUSABLE = Message(
    "remote.host_certificate_unusable",
    "the certificate of {address} cannot be used: {reason}; its pinned key is used",
)
PIN_KEY = Message("remote.pin_key", "pin it: dagengine hosts trust shows its fingerprint and asks")
HOST_KEY_MISSING = Message("remote.host_key_missing", "{address} does not present a host key")
PIN_FAILED = Message("remote.pin_failed", "cannot pin the key of {address} in {file}: {reason}")

# --- Keys and agents -------------------------------------------------------------

PASSPHRASE_MISSING = Message(
    "remote.passphrase_missing",
    "the passphrase of the key file {key_file} for {user}@{address} is not available: {reason}",
)
PROVIDE_PASSPHRASE = Message(
    "remote.provide_passphrase",
    "put it there, or correct ssh.key_passphrase_env or ssh.key_passphrase_file",
)
VARIABLE_UNSET = Message("remote.variable_unset", "the variable {variable} is not set or empty")
FILE_NOT_UTF8 = Message("remote.file_not_utf8", "the file {file} is not UTF-8")
FILE_UNREADABLE = Message("remote.file_unreadable", "cannot read {file}: {reason}")
FIRST_LINE_EMPTY = Message("remote.first_line_empty", "the first line of {file} is empty")
AGENT_SILENT = Message(
    "remote.agent_silent",
    "the ssh agent at {place} does not respond for {user}@{address}: {reason}",
)
START_AGENT = Message(
    "remote.start_agent",
    "start it (ssh-agent), or correct ssh.agent or SSH_AUTH_SOCK",
)
AGENT_LISTING_FAILED = Message(
    "remote.agent_listing_failed",
    "the ssh agent at {place} does not list its keys: {reason}",
)
LIST_AGENT_KEYS = Message("remote.list_agent_keys", "check it with ssh-add -l")
AGENT_EMPTY = Message(
    "remote.agent_empty",
    "the ssh agent at {place} does not hold a key for {user}@{address}",
)
AGENT_WITHOUT_KEY = Message(
    "remote.agent_without_key",
    "the ssh agent at {place} does not hold the key {key_file} for {user}@{address}",
)
LOAD_KEY = Message(
    "remote.load_key",
    "load it with ssh-add; ssh-add -l lists the keys that the agent holds",
)
AGENT_VARIABLE_UNSET = Message(
    "remote.agent_variable_unset",
    "ssh.agent is set for {user}@{address}, but {variable} is not set",
)
SET_AGENT_VARIABLE = Message(
    "remote.set_agent_variable",
    "set {variable} for the controller, or name the socket in ssh.agent",
)
PASSPHRASE_WRONG = Message(
    "remote.passphrase_wrong",
    "the passphrase for the key file {file} of {user} is wrong",
)
CORRECT_PASSPHRASE = Message(
    "remote.correct_passphrase",
    "correct the value that ssh.key_passphrase_env or ssh.key_passphrase_file names",
)
KEY_LOCKED = Message(
    "remote.key_locked",
    "the key file {file} for {user} is locked with a passphrase",
)
NAME_PASSPHRASE = Message(
    "remote.name_passphrase",
    "name its source in ssh.key_passphrase_env or ssh.key_passphrase_file, or load the key into "
    "an agent and set ssh.agent",
)
KEY_UNUSABLE = Message(
    "remote.key_unusable",
    "{file} for {user} is not a usable private key: {reason}",
)
NAME_PRIVATE_KEY = Message("remote.name_private_key", "name a private key in ssh.key_file")
AGENT_KEY_AMBIGUOUS = Message(
    "remote.agent_key_ambiguous",
    "the key of the agent for {user}@{address} cannot be determined: neither {file} nor "
    "{file}.pub is a public key",
)
PUT_PUBLIC_KEY = Message(
    "remote.put_public_key",
    "put the public key there, or omit ssh.key_file to try all keys of the agent",
)
CERTIFICATE_UNUSABLE = Message(
    "remote.certificate_unusable",
    "the certificate {certificate} for {user}@{address} cannot be used: {reason}",
)
RENEW_CERTIFICATE = Message("remote.renew_certificate", "have it signed again, or remove it")
KEY_UNREADABLE = Message(
    "remote.key_unreadable",
    "the key file {file} for {user}@{address} cannot be read",
)
PUT_PRIVATE_KEY = Message(
    "remote.put_private_key",
    "put the private key there, or name another one in ssh.key_file",
)

# --- Commands --------------------------------------------------------------------

SESSION_REJECTED = Message("remote.session_rejected", "{address} does not open a session: {reason}")
SET_MAX_SESSIONS = Message(
    "remote.set_max_sessions",
    "set ssh.max_sessions to MaxSessions of its sshd_config",
)
COMMAND_TIMED_OUT = Message(
    "remote.command_timed_out",
    "{command} on {host} ran longer than {timeout_s:g} s",
)
COMMAND_TIMED_OUT_MAY_RUN = Message(
    "remote.command_timed_out_may_run",
    "{command} on {host} ran longer than {timeout_s:g} s, and may still run there",
)
SESSIONS_BUSY = Message(
    "remote.sessions_busy",
    "{command} was not sent to {host}: a session did not become free within {timeout_s:g} s",
)
HOST_SILENT = Message(
    "remote.host_silent",
    "{command} was not sent: {host} did not respond within {timeout_s:g} s",
)
CHECK_HOST = Message("remote.check_host", "check that the host is up and that sshd responds")
CONNECTION_LOST = Message(
    "remote.connection_lost",
    "the connection to {address} broke while {command} ran there",
)
CHECK_BEFORE_REPEATING = Message(
    "remote.check_before_repeating",
    "check the host before repeating it; whether it completed is unknown",
)
SHELL_DID_NOT_RUN = Message(
    "remote.shell_did_not_run",
    "the login shell of {user}@{address} did not run {command}: exit status {status}, output "
    "{output!r}",
)
CORRECT_LOGIN_SHELL = Message(
    "remote.correct_login_shell",
    "give {user} a login shell that runs commands, such as /bin/sh, without a forced command; its "
    "start-up files must not exit",
)
SHELL_HUNG = Message(
    "remote.shell_hung",
    "the login shell of {user}@{address} did not reach {command} within {timeout_s:g} s",
)
SHELL_OR_SUDO_HUNG = Message(
    "remote.shell_or_sudo_hung",
    "neither the login shell of {user}@{address} nor sudo reached {command} within {timeout_s:g} s",
)
CHECK_START_UP_FILES = Message(
    "remote.check_start_up_files",
    "check the start-up files of {user} there, such as ~/.bashrc, ~/.profile and /etc/profile: "
    "they must not wait for anything",
)
ARGUMENT_HAS_NUL = Message("remote.argument_has_nul", "{command!r} contains a NUL")

# --- sudo ------------------------------------------------------------------------

SUDO_MISSING = Message(
    "remote.sudo_missing",
    "sudo is not installed on {address}, or not in the PATH of {login}",
)
INSTALL_SUDO = Message(
    "remote.install_sudo",
    "install it there, or log in as {user} and omit ssh.sudo",
)
SUDO_USER_UNKNOWN = Message(
    "remote.sudo_user_unknown",
    "the user {user} of ssh.sudo does not exist on {address}",
)
ADD_USER = Message("remote.add_user", "add the user there, or correct ssh.sudo")
SUDO_PASSWORD = Message(
    "remote.sudo_password",
    "sudo on {address} needs a password to let {login} become {user}",
)
SUDO_NOT_ALLOWED = Message(
    "remote.sudo_not_allowed",
    "sudo on {address} does not allow {login} to run {shell} as {user}: {reason}",
)
ADD_SUDO_RULE = Message(
    "remote.add_sudo_rule",
    "add a file to /etc/sudoers.d there (visudo -f /etc/sudoers.d/dagengine) with the line "
    "`{login} ALL=({user}) NOPASSWD: {shell}`",
)
SUDO_TERMINAL = Message("remote.sudo_terminal", "sudo on {address} requires a terminal for {login}")
DROP_REQUIRETTY = Message(
    "remote.drop_requiretty",
    "add to its sudoers (visudo): `Defaults:{login} !requiretty`",
)
SUDO_FAILED = Message(
    "remote.sudo_failed",
    "sudo on {address} did not let {login} become {user}: {reason}",
)
TRY_SUDO = Message(
    "remote.try_sudo",
    "try it there as {login}: sudo -n -H -u {user} -- {shell} -c id",
)

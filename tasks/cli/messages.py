"""Messages of `tasks.cli`. Names of checks are part of the JSON output, and thus not messages."""

from __future__ import annotations

from dagengine.errors import Message

# --- Errors ----------------------------------------------------------------------

HOST_UNKNOWN = Message(
    "tasks.cli.host_unknown",
    "--replace {name}: the cluster file does not contain this host",
)
NAME_HOST = Message("tasks.cli.name_host", "name one of {hosts}")

# --- Explanations ----------------------------------------------------------------

CODE_UNKNOWN = Message("tasks.cli.code_unknown", "the code {code!r} is not known")
NEAREST_CODES = Message("tasks.cli.nearest_codes", "use one of the nearest: {codes}")
SEE_ERROR_CODES = Message(
    "tasks.cli.see_error_codes", "copy the code from the brackets in a message or log line"
)
EXPLAINED_CAUSE = Message("tasks.cli.explained_cause", "  cause:      {cause}")
EXPLAINED_REMEDY = Message("tasks.cli.explained_remedy", "  what to do: {remedy}")
CAUSE_WITH_TEXT = Message("tasks.cli.cause_with_text", "{cause} (its log contains {text!r})")
CHECK_EXAMINES = Message("tasks.cli.check_examines", "this check did not pass: {examined}")

# --- Configuration files ---------------------------------------------------------

FILE_WRITTEN = Message("tasks.cli.file_written", "{path}: written")
EDIT_SERVERS = Message("tasks.cli.edit_servers", "next: replace the example servers in {path}")
NEXT_CONFIG_CHECK = Message("tasks.cli.next_config_check", "next: dagengine config check -c {path}")
NEXT_TRUST = Message("tasks.cli.next_trust", "      dagengine hosts trust -c {path}")
NEXT_DOCTOR = Message("tasks.cli.next_doctor", "      dagengine doctor -c {path}")
NEXT_SERVE = Message("tasks.cli.next_serve", "      dagengine serve -c {path}")
FLAVOUR_UNKNOWN = Message("tasks.cli.flavour_unknown", "--flavour {name!r} is not {known}")
OPTION_NOT_IP = Message(
    "tasks.cli.option_not_ip",
    "--server {server!r} is not an IP address; a host name for SSH belongs in the cluster file, "
    "as `ssh: {{host: NAME}}`",
)
OPTION_TWICE = Message("tasks.cli.option_twice", "--server {server!r} occurs twice; name it once")
OPTION_NOT_TEXT = Message(
    "tasks.cli.option_not_text",
    "{option} {value!r} is empty or has a control character; write a name",
)
OPTION_NOT_PATH = Message(
    "tasks.cli.option_not_path",
    "--home {value!r} is not a directory's path from / on, without backslashes and control "
    "characters",
)
FILE_EXISTS = Message("tasks.cli.file_exists", "{path} exists already, and is not changed")
FILE_UNWRITABLE = Message("tasks.cli.file_unwritable", "{path} cannot be written: {reason}")
NAME_DIRECTORY = Message(
    "tasks.cli.name_directory", "name another directory: dagengine init DIRECTORY"
)
ENGINE_FILE_VALID = Message("tasks.cli.engine_file_valid", "{path}: valid; API at {address}")
CLUSTER_FILE_VALID = Message(
    "tasks.cli.cluster_file_valid",
    "{path}: valid; cluster {name}, {servers} {flavour} servers in {zones} zones",
)

# --- Claim -----------------------------------------------------------------------

SERVER_FOR_CLAIM = Message(
    "tasks.cli.server_for_claim", "name the server: `hosts claim SERVER`; `hosts trust` takes none"
)
CLAIM_NEEDS_CONFIG = Message(
    "tasks.cli.claim_needs_config", "`hosts claim` needs -c, and neither --cluster nor --replace"
)
SERVER_UNKNOWN = Message(
    "tasks.cli.server_unknown", "the cluster file {path} does not contain the server {name}"
)
NAME_SERVER = Message("tasks.cli.name_server", "name one of {servers}")
CLAIM_UNNECESSARY = Message(
    "tasks.cli.claim_unnecessary", "{server}: no other store controls {home}; nothing to claim"
)
CLAIM_SERVER_RUNS = Message("tasks.cli.claim_server_runs", "{server}: {cause}; its server runs")
CLAIM_SERVER_STOPPED = Message("tasks.cli.claim_server_stopped", "{server}: {cause}")
CLAIM_STALE = Message("tasks.cli.claim_stale", "{server}: {cause}; {remedy}")
CLAIM_FUTURE_EPOCH = Message(
    "tasks.cli.claim_future_epoch",
    "{server}: the recorded epoch lies in the future: a clock was wrong, or the file is damaged; "
    "claim the home only if no other controller uses a copy of this store",
)
CLAIM_IT = Message(
    "tasks.cli.claim_it",
    "Claim it for the store of this controller? The other controller can no longer start or stop "
    "this server. [y/N] ",
)
CLAIM_DECLINED = Message("tasks.cli.claim_declined", "{server}: not claimed")
CLAIM_AUDIT = Message("tasks.cli.claim_audit", "{server}, {home}: {cause}")
CLAIM_AUDIT_REASON = Message("tasks.cli.claim_audit_reason", "{action}; {reason}")
CLAIMED = Message("tasks.cli.claimed", "{server}: claimed {home}")
CLAIM_CHANGED = Message(
    "tasks.cli.claim_changed",
    "{server}: not claimed: another controller has acted in {home} in the meantime; run the "
    "command again",
)
CLAIM_FAILED = Message(
    "tasks.cli.claim_failed",
    "{server}: not claimed: {file} cannot be written: {reason}; check the disk and the owner of "
    "the home",
)
CLAIM_UNANSWERED = Message(
    "tasks.cli.claim_unanswered",
    "{server}: not claimed: {home} does not respond, or another command holds its lock; check the "
    "host",
)
FACTS_TRUNCATED = Message(
    "tasks.cli.facts_truncated", "{server}: the response of the host was truncated: {output!r}"
)

# --- Doctor ----------------------------------------------------------------------

FIX = Message("tasks.cli.fix", "fix: {remedy}")
CHECKS_COUNTED = Message("tasks.cli.checks_counted", "{count} checked: {counts}")

# --- Host keys -------------------------------------------------------------------

PINNED = Message("tasks.cli.pinned", "{address}: pinned {algorithm} {fingerprint} in {file}")
FILE_CREATED = Message("tasks.cli.file_created", "{file}: created")
TRUST_COUNTED = Message(
    "tasks.cli.trust_counted",
    "{pinned} pinned, {known} trusted before, {rejected} not trusted",
)
NOT_PINNED = Message("tasks.cli.not_pinned", "its key is not pinned: not confirmed")
PATTERN_TRUSTS = Message(
    "tasks.cli.pattern_trusts",
    "{address}: a pattern in known_hosts also trusts {other}",
)
KEY_REVOKED = Message(
    "tasks.cli.key_revoked",
    "its key is marked @revoked; create a new host key",
)
OTHER_KEY_PINNED = Message(
    "tasks.cli.other_key_pinned",
    "its key differs from the pinned one ({pinned}): the connection may be intercepted; if the "
    "host was reinstalled, use --replace '{address}'",
)
PIN_KEY = Message(
    "tasks.cli.pin_key",
    "compare with the hosts' own (ssh-keygen -l). Pin this key? [y/N] ",
)
PIN_KEYS = Message(
    "tasks.cli.pin_keys",
    "compare with the hosts' own (ssh-keygen -l). Pin these {count} keys? [y/N] ",
)

"""Messages of `tasks.flavours`."""

from __future__ import annotations

from dagengine.errors import Message

# --- Minor freeze ----------------------------------------------------------------

FREEZE_UNNECESSARY = Message(
    "tasks.flavours.freeze_unnecessary",
    "skipping the minor freeze: none of the servers of this task is in service",
)
FREEZE_STARTED = Message(
    "tasks.flavours.freeze_started",
    "minor freeze of {servers}; waiting for their checkpoints",
)
CHECKPOINTS = Message("tasks.flavours.checkpoints", "the checkpoints of {servers}")
CHECKPOINTS_GROWN = Message(
    "tasks.flavours.checkpoints_grown",
    "every checkpoint has grown, after {waited_s:.1f} s",
)
FREEZE_TIMED_OUT = Message(
    "tasks.flavours.freeze_timed_out",
    "the minor freeze of {servers} is not complete: their checkpoints have not grown within "
    "{limit_s:g} s",
)
FREEZE_SKIPPED = Message(
    "tasks.flavours.freeze_skipped",
    "WARN: a server is excluded from the minor freeze: {reason}",
)
FREEZE_FAILED = Message(
    "tasks.flavours.freeze_failed",
    "{server}: the minor freeze failed: {reason}",
)
RETRY_OR_PASS_FREEZE = Message(
    "tasks.flavours.retry_or_pass_freeze",
    "RETRY, or PASS this stage to stop the servers without a minor freeze",
)

# --- Start by SQL ----------------------------------------------------------------

CLUSTER_START_UNNECESSARY = Message(
    "tasks.flavours.cluster_start_unnecessary",
    "seekdb does not have START SERVER and START ZONE: nothing to do",
)
CLUSTER_START = Message(
    "tasks.flavours.cluster_start",
    "START SERVER and START ZONE of the cluster",
)
START_ERROR = Message("tasks.flavours.start_error", "ERROR: {reason}")
SERVER_START_SENT = Message(
    "tasks.flavours.server_start_sent",
    "{server}: START SERVER {address}",
)
SERVER_START_REFUSED = Message(
    "tasks.flavours.server_start_refused",
    "{server}: the cluster refused START SERVER: {reason}",
)
ZONE_STARTED = Message("tasks.flavours.zone_started", "zone {zone}: started")
ZONE_ALREADY_ACTIVE = Message("tasks.flavours.zone_already_active", "zone {zone}: ACTIVE already")
ZONE_START_REFUSED = Message(
    "tasks.flavours.zone_start_refused",
    "zone {zone}: the cluster refused START ZONE: {reason}",
)
READ_EVENT_HISTORY = Message(
    "tasks.flavours.read_event_history",
    "read the event history of the cluster",
)

# --- Service ---------------------------------------------------------------------

SERVICE = Message("tasks.flavours.service", "the service of {servers}")
IN_SERVICE = Message(
    "tasks.flavours.in_service",
    "{server}: ACTIVE and in service (read through {reader})",
)
IN_SERVICE_UNCHECKED = Message(
    "tasks.flavours.in_service_unchecked",
    "{server}: ACTIVE and in service (not cross-checked)",
)
SERVER_NOT_IN_CLUSTER = Message(
    "tasks.flavours.server_not_in_cluster",
    "{server}: the cluster does not have a server {address}",
)
CORRECT_ADDRESS = Message(
    "tasks.flavours.correct_address",
    "correct `ip` and `rpc_port` in the cluster file",
)
SERVER_STOPPED = Message(
    "tasks.flavours.server_stopped",
    "{server}: the cluster reports it as {status}, stopped",
)
SERVER_NOT_IN_SERVICE = Message(
    "tasks.flavours.server_not_in_service",
    "{server}: the cluster reports it as {status}, not yet in service",
)
READ_LOG = Message("tasks.flavours.read_log", "read {file}")

# --- Stop by SQL -----------------------------------------------------------------

CLUSTER_STOP = Message("tasks.flavours.cluster_stop", "STOP {scope} of the cluster")
STOP_SENT = Message("tasks.flavours.stop_sent", "through {server}: {statement}")
STOP_CONFIRMATION = Message("tasks.flavours.stop_confirmation", "the stop of {names}")
STOP_UNCONFIRMED = Message(
    "tasks.flavours.stop_unconfirmed",
    "the cluster does not report these as stopped: {names}",
)
OUT_OF_SERVICE = Message(
    "tasks.flavours.out_of_service",
    "out of service by SQL; the processes keep running",
)
STOP_BY_SQL_UNSUPPORTED = Message(
    "tasks.flavours.stop_by_sql_unsupported",
    "seekdb does not have STOP SERVER and STOP ZONE",
)
STOP_PROCESS = Message("tasks.flavours.stop_process", "stop it with --terminate or --force")

# --- Checks of a stop request ----------------------------------------------------

PLAIN_STOP_UNSUPPORTED = Message(
    "tasks.flavours.plain_stop_unsupported",
    "seekdb cannot be taken out of service by SQL, as a {scope} stop without terminate and force "
    "requires",
)
SEND_TERMINATE_OR_FORCE = Message(
    "tasks.flavours.send_terminate_or_force",
    "stop it with --terminate (its data is written first) or --force",
)
SERVERS_UNREACHABLE = Message(
    "tasks.flavours.servers_unreachable",
    "none of the servers answers SQL, so their data cannot be written first",
)
SEND_FORCE = Message("tasks.flavours.send_force", "stop them with --force instead of --terminate")
DATABASE_UNREACHABLE = Message(
    "tasks.flavours.database_unreachable",
    "the database does not answer: {reason}",
)
START_MISSING_OR_FORCE = Message(
    "tasks.flavours.start_missing_or_force",
    "start the missing servers, or stop single servers with force",
)
SEVERAL_ZONES = Message(
    "tasks.flavours.several_zones",
    "the servers are in more than one zone: {zones}",
)
STOP_ONE_ZONE = Message(
    "tasks.flavours.stop_one_zone",
    "stop one zone, or servers of one zone",
)
OTHER_ZONE_STOPPED = Message(
    "tasks.flavours.other_zone_stopped",
    "zone {zones} is stopped, or has a stopped server",
)
START_OTHER_ZONE = Message(
    "tasks.flavours.start_other_zone",
    "start it first: only one zone may be out of service at a time",
)
MAJORITY_LOST = Message(
    "tasks.flavours.majority_lost",
    "without zone {zone} these tenants would lose their majority: {tenants}",
)
TENANT_STREAMS = Message("tasks.flavours.tenant_streams", "{tenant} (log stream {streams})")
TENANT_NUMBER = Message("tasks.flavours.tenant_number", "tenant {number}")
START_OTHER_ZONES = Message(
    "tasks.flavours.start_other_zones",
    "start the servers of the other zones first",
)

# --- Failed statements -----------------------------------------------------------

CORRECT_PASSWORD = Message("tasks.flavours.correct_password", "correct the configured password")
CHECK_CLUSTER = Message("tasks.flavours.check_cluster", "check the state of the cluster")
MAJORITY_AND_ERROR = Message(
    "tasks.flavours.majority_and_error",
    "{majority}; last error: {reason}",
)
REMEDIES = Message("tasks.flavours.remedies", "{first}; {second}")
OR_STOP_WITH_FORCE = Message("tasks.flavours.or_stop_with_force", "{remedy}; or stop with force")

"""Messages of `dagengine.server.shared`."""

from __future__ import annotations

from dagengine.errors import Message

SINGLE_SERVER = Message(
    "server.shared.single_server",
    "the store is a single seekdb server, for development only: while it does not run, no "
    "controller acts; use an OceanBase cluster with three zones",
)
UNTESTED = Message(
    "server.shared.untested",
    "OceanBase with several nodes, a change of its leader, obproxy and MySQL 8 are not tested",
)
STORE_MANAGED = Message(
    "server.shared.store_managed",
    "the store {store} is on a server of the cluster {cluster}, which this controller manages: it "
    "could not start the cluster that it needs for that",
)
USE_META_CLUSTER = Message(
    "server.shared.use_meta_cluster",
    "put the store on a cluster of its own, which a controller with SQLite manages",
)

# --- doctor --------------------------------------------------------------------------------------

SCHEMA_CURRENT = Message("server.shared.schema_current", "the schema has version {version}")
SCHEMA_NEWER = Message(
    "server.shared.schema_newer",
    "the schema has version {version}, for programs with schema {lowest} and later: this program "
    "has schema {own}",
)
STEPS_POSTPONED = Message(
    "server.shared.steps_postponed",
    "the schema has version {version}; not yet done: step {steps}",
)
RUN_MIGRATE = Message(
    "server.shared.run_migrate",
    "when all controllers have the same version, run `dagengine store migrate {store}`",
)
SERVER_SAME = Message("server.shared.server_same", "the server on which the store was created")
SERVER_OTHER = Message(
    "server.shared.server_other",
    "not the server on which the store was created, which was {address}",
)
CORRECT_OR_RENEW = Message(
    "server.shared.correct_or_renew",
    "correct store.url; if the database was restored on a new server, stop all controllers and run "
    "`dagengine store new-epoch -c FILE`",
)
STORE_ELSEWHERE = Message(
    "server.shared.store_elsewhere", "the store is on none of the {count} servers that answer SQL"
)
LEASE_EQUAL = Message("server.shared.lease_equal", "{lease_s} s")
LEASE_OTHER = Message(
    "server.shared.lease_other", "{own} s here, {pinned} s in the store: this controller is refused"
)
SET_LEASE = Message("server.shared.set_lease", "set store.lease_s to {pinned}")
KEY_NOT_NAMED = Message("server.shared.key_not_named", "not set, but a shared store needs it")
KEY_CREATED_LATER = Message(
    "server.shared.key_created_later", "missing; the first start creates it"
)
KEY_ABSENT = Message("server.shared.key_absent", "missing, but other controllers have a key")
KEY_OTHER = Message(
    "server.shared.key_other", "not the key of the other controllers: this controller is refused"
)
COPY_KEY = Message("server.shared.copy_key", "copy api.key_file from another controller")
CONTROLLERS = Message("server.shared.controllers", "{count} running: {controllers}")
FINISH_UPGRADE = Message(
    "server.shared.finish_upgrade", "complete the upgrade: all controllers need one version"
)
SERVED_BY_NONE = Message("server.shared.served_by_none", "no running controller can serve it")
SERVED_BY_ONE = Message("server.shared.served_by_one", "only {controller} can serve it")
SERVED_BY = Message("server.shared.served_by", "can be served by {controllers}")
ADD_CLUSTER_FILE = Message(
    "server.shared.add_cluster_file",
    "add it to the engine files of other controllers, or run `dagengine fleet forget NAME`",
)
FILES_DIFFER = Message(
    "server.shared.files_differ", "the controllers have different cluster files: {groups}"
)
COPY_CLUSTER_FILE = Message(
    "server.shared.copy_cluster_file", "copy one file to all controllers and send SIGHUP"
)

# --- commands on a local store -------------------------------------------------------------------

NOT_ON_SHARED_STORE = Message(
    "server.shared.not_on_shared_store",
    "`{command}` needs the SQLite store of the cluster {cluster}, which is in the shared store "
    "{store}, where only the owner may write its audit; {owner}",
)
OWNER_IS = Message("server.shared.owner_is", "its owner is the controller {controller} at {url}")
OWNER_NONE = Message("server.shared.owner_none", "no controller owns it now")
OWNER_NEVER = Message("server.shared.owner_never", "no controller has ever owned it")
OWNER_UNREADABLE = Message(
    "server.shared.owner_unreadable", "its owner cannot be determined: {reason}"
)
USE_COPY_OF_STORE = Message(
    "server.shared.use_copy_of_store",
    "stop all controllers, copy the cluster with `dagengine store copy … {cluster}.sqlite` and use "
    'an engine file for the copy: "Claim a home for a shared store" in docs/operations/runbook.md',
)

# --- fleet ---------------------------------------------------------------------------------------

SERVED_ELSEWHERE = Message(
    "server.shared.served_elsewhere", "this controller has no file of it; served by {controllers}"
)
SERVED_NOWHERE = Message("server.shared.served_nowhere", "no running controller can serve it")

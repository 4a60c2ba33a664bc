"""Messages of `dagengine.server.fleet`."""

from __future__ import annotations

from dagengine.errors import Message

ACTION_UNKNOWN = Message(
    "server.fleet.action_unknown", "the cluster {cluster} has no action {action!r}"
)
CLUSTER_CONFIGURED = Message(
    "server.fleet.cluster_configured", "the cluster {cluster} is configured, so its data is kept"
)
CLUSTER_OPENING = Message("server.fleet.cluster_opening", "it is being opened or closed")
CLUSTER_UNFINISHED = Message(
    "server.fleet.cluster_unfinished", "the cluster {cluster} has {count} unfinished tasks"
)
CREATE_SERVICE_TOKEN = Message(
    "server.fleet.create_service_token",
    "nothing could log in there: set service.tls_client_ca_file, or run `dagengine token create "
    "--service --name NAME -c FILE` and send SIGHUP",
)
END_TASKS = Message(
    "server.fleet.end_tasks",
    "configure the cluster again and end the tasks, or delete {path} yourself",
)
ONLY_STORE_LEFT = Message(
    "server.fleet.only_store_left", "the engine file does not contain it; {path} is left"
)
REMOVE_CLUSTER = Message(
    "server.fleet.remove_cluster", "remove it from the engine file, and restart the controller"
)
SERVICE_EXPOSED = Message(
    "server.fleet.service_exposed",
    "service.host {host} is reachable from other machines, but TLS is not configured",
)
SET_SERVICE_TLS = Message(
    "server.fleet.set_service_tls",
    "set service.tls_cert_file and service.tls_key_file, or listen on 127.0.0.1",
)

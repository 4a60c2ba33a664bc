"""Messages of `dagengine.server.config` about several clusters."""

from __future__ import annotations

from dagengine.errors import Message

ADDRESSES_COLLIDE = Message(
    "server.config.addresses_collide", "{first} and {second} have the same value {value}"
)
CLUSTER_NAME_DIFFERS = Message(
    "server.config.cluster_name_differs", "{section}: the cluster file {path} has the name {name}"
)
CLUSTER_NAME_INVALID = Message(
    "server.config.cluster_name_invalid", "the cluster name {name!r} cannot be used"
)
CLUSTER_NOT_CHOSEN = Message(
    "server.config.cluster_not_chosen",
    "the engine file has several clusters; name one with --cluster: {known}",
)
CLUSTER_UNKNOWN = Message(
    "server.config.cluster_unknown", "the engine file does not contain the cluster {name!r}"
)
CLUSTER_UNNAMED = Message(
    "server.config.cluster_unnamed",
    "the engine file has one cluster without a name; omit --cluster {name}",
)
COPY_OLD_STORE = Message(
    "server.config.copy_old_store",
    "convert it: dagengine store copy {path} {directory}",
)
COPY_STORE = Message(
    "server.config.copy_store",
    "set store.directory instead; if {path} exists, convert it: dagengine store copy",
)
DIRECTORY_WITHOUT_NAMES = Message(
    "server.config.directory_without_names",
    "store.directory holds one store for each cluster, but the key cluster does not name it",
)
KNOWN = Message("server.config.known", "name one of these: {known}")
NAME_CLUSTERS = Message(
    "server.config.name_clusters", "write `clusters: {{NAME: {{file: {path}}}}}` instead of cluster"
)
OLD_STORE_LEFT = Message(
    "server.config.old_store_left",
    "store.directory {directory} has no store of a configured cluster, but contains {path}, "
    "whose tasks would be left out",
)
PATH_FOR_CLUSTERS = Message(
    "server.config.path_for_clusters", "store.path is for one cluster, but there are {count}"
)
SET_OTHER_ADDRESS = Message("server.config.set_other_address", "set another value for {second}")
USE_CLUSTER_NAME = Message(
    "server.config.use_cluster_name",
    "use 1 to 32 of the characters a-z, 0-9 and -, but not the name `service`",
)
USE_ONE_CLUSTER_NAME = Message(
    "server.config.use_one_cluster_name",
    "write clusters.{name}, or change the name in the cluster file",
)

"""The cluster file: its servers and how to reach them (docs/reference/cluster_file.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from dagengine.errors import ConfigError
from dagengine.extension import ObservedState, WatchedFile, expand_home, find_user_name
from tasks.cluster import messages
from tasks.cluster.build_cluster import build_cluster
from tasks.cluster.flavour import Flavour
from tasks.cluster.observation import (
    AVAILABLE,
    NOT_RUNNING,
    UNKNOWN_STATUS,
    ClusterSummary,
    Observation,
    TableRow,
    summarize,
)
from tasks.cluster.read_cluster import read_cluster, unreadable_error
from tasks.cluster.root_password import PasswordSource, RootLogins, RootPassword
from tasks.cluster.schema import check_file
from tasks.cluster.servers import Cluster, Server


class ClusterFile:
    """The current cluster and its last observed state; implements dagengine's ClusterView.

    Attributes:
        path: the file.
        current: the cluster in use.
        on_change: called after the observed state of a server has changed.
        logins: the results of the last SQL logins as root.
    """

    def __init__(self, path: Path, flavours: Iterable[Flavour]) -> None:
        """Load the file.

        Args:
            path: the file.
            flavours: the flavours that the file may name.

        Raises:
            ConfigError: the file cannot be used.
        """
        self.path = path
        self._observations: dict[str, Observation] = {}
        self.on_change: Callable[[], None] = lambda: None
        self._seen: dict[str, datetime] = {}
        self._unknown_since: dict[str, datetime] = {}
        self._rows: Mapping[tuple[str, int], TableRow] = {}
        self._password = RootPassword()
        self.logins = RootLogins(self._report_change)
        self._flavours = tuple(flavours)
        self._file = WatchedFile(path, self._load)
        (self.current, self._digest), self._modified_at = self._read()
        self._checked_version: object = None
        self._refusal: ConfigError | None = None
        self._known_summary: ClusterSummary | None = None

    @property
    def name(self) -> str:
        return self.current.name

    @property
    def flavour(self) -> str:
        return self.current.flavour.name

    @property
    def cluster_id(self) -> int:
        return self.current.cluster_id

    @property
    def servers(self) -> Sequence[Server]:
        return self.current.servers

    @property
    def version(self) -> str:
        """Version of the server program last reported by a server; empty if not known yet."""
        return self._summary.version

    @property
    def ob_state(self) -> int:
        """Best of the servers' last observed states: 3 while at least one answers SQL."""
        return self._summary.state.ob_state

    def state_at(self, name: str) -> ObservedState:
        """Return the state of the server of this name; without one, that of the cluster."""
        if not any(server.name == name for server in self.servers):
            return self._summary.state
        seen = self._observations.get(name)
        if seen is None:
            return ObservedState(NOT_RUNNING, None, is_known=False)
        return ObservedState(seen.ob_state, seen.observed_at, seen.is_known)

    @property
    def file_digest(self) -> str:
        """SHA-256 of the file that is in use."""
        return self._digest

    def observation(self, name: str) -> Observation | None:
        """Return the last observation of a server; None before the first."""
        return self._observations.get(name)

    def row(self, server: Server) -> TableRow | None:
        """Return the server's last row in the cluster's own table; None if it was never read.

        While no server answers SQL, the table cannot be read, so ACTIVE in it is outdated.
        """
        row = self._rows.get((server.ip, server.rpc_port))
        if row is not None and row.status == "ACTIVE" and self.ob_state != AVAILABLE:
            return replace(row, status=UNKNOWN_STATUS)
        return row

    def record_observation(self, name: str, observation: Observation) -> None:
        """Store an observation of a server."""
        before = self._observations.get(name)
        self._observations[name] = observation
        if observation.is_known:
            self.record_seen(name, observation.observed_at)
        else:
            self._unknown_since.setdefault(name, observation.observed_at)
        self._known_summary = None
        if before is None or _is_change(before, observation):
            self.on_change()

    def forget_observations(self) -> None:
        """Forget the states of all servers, because nothing observes them from now on."""
        self._observations.clear()
        self._seen.clear()
        self._unknown_since.clear()
        self._rows = {}
        self.logins.forget()
        self._known_summary = None

    def record_seen(self, name: str, at: datetime) -> None:
        """Record that the observed state of a server still applied at this instant."""
        self._seen[name] = at
        self._unknown_since.pop(name, None)

    def seen_at(self, name: str) -> datetime | None:
        """Return when the state of a server was last known; None if never."""
        return self._seen.get(name)

    def unknown_since(self, name: str) -> datetime | None:
        """Return since when the state of a server is not known; None if it is known."""
        return self._unknown_since.get(name)

    def record_table(self, rows: Mapping[tuple[str, int], TableRow]) -> None:
        """Store the rows of the cluster's own table, by ip and rpc port."""
        self._rows = rows

    def reload(self) -> None:
        """Read the file again if it changed; if it cannot be used, keep the current cluster.

        Raises:
            ConfigError: the new file, or the password it refers to, cannot be used.
        """
        try:
            (cluster, digest), modified_at = self._read()
            if cluster is not self.current:
                self._password.read(cluster.root_password)
        except ConfigError as exc:
            self._refusal = exc
            raise
        finally:
            with suppress(OSError):
                self._checked_version = self._file.find_version()
        self._refusal = None
        if cluster is not self.current:
            self.current, self._digest, self._modified_at = cluster, digest, modified_at
            self._known_summary = None

    def find_notices(self) -> Sequence[str]:
        """Return that the file as it is now is refused, or servers refuse the root password."""
        self._check()
        notices: list[str] = []
        if self._refusal is not None:
            time = self._modified_at.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
            name = self.path.name
            notices.append(messages.FILE_REFUSED(name=name, reason=self._refusal, time=time))
        source = self.current.root_password
        with suppress(ConfigError):  # the API reports an unusable password
            names = [server.name for server in self.servers]
            notices += self.logins.find_notices(names, self.root_password(), source)
        return tuple(notices)

    def server(self, name: str) -> Server:
        """Return the server with this name.

        Raises:
            ConfigError: the cluster file no longer contains it.
        """
        for server in self.current.servers:
            if server.name == name:
                return server
        raise ConfigError(
            messages.SERVER_REMOVED(path=self.path, name=name),
            remedy=messages.RESTORE_SERVER(),
        )

    def root_password(self) -> str:
        """Return the current password of root@sys; empty only if the file declares that.

        Raises:
            ConfigError: the file names no source, or the source is missing or empty.
        """
        return self._password.read(self.current.root_password)

    def _report_change(self) -> None:
        self.on_change()

    def _load(self, path: Path) -> tuple[Cluster, str]:
        """Return the cluster in the file, and the digest of the file.

        If the file changes between the two reads, the next `reload` reads it again, because the
        file is newer than its recorded version.
        """
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return load_cluster(path, self._flavours), digest

    def _read(self) -> tuple[tuple[Cluster, str], datetime]:
        """Return the cluster in the file with its digest, and when the file was modified."""
        try:
            modified_at = self._file.modified_at()
            return self._file.read(), modified_at
        except OSError as exc:
            raise self._unreadable(exc) from exc

    def _unreadable(self, exc: OSError) -> ConfigError:
        return unreadable_error(self.path, exc)

    def _check(self) -> None:
        """Find out whether a changed file is refused, once per change; do not use it yet."""
        try:
            version = self._file.find_version()
            if version == self._checked_version:
                return
            self._checked_version = version
            self._file.check()
            self._refusal = None
        except OSError as exc:
            self._checked_version, self._refusal = None, self._unreadable(exc)
        except ConfigError as exc:
            self._refusal = exc

    @property
    def _summary(self) -> ClusterSummary:
        """What all observations together say; made once after a change of any of them."""
        if self._known_summary is None:
            names = [server.name for server in self.servers]
            observed = [self._observations[name] for name in names if name in self._observations]
            self._known_summary = summarize(observed, is_complete=len(observed) == len(names))
        return self._known_summary


def _is_change(before: Observation, after: Observation) -> bool:
    """Return whether more has changed than the times of two observations."""
    return replace(before, observed_at=after.observed_at, started_at=after.started_at) != after


def load_cluster(path: Path, flavours: Iterable[Flavour]) -> Cluster:
    """Read and validate a cluster file in the format of this project or of obd.

    Args:
        path: the file.
        flavours: the flavours that the file may name.

    Raises:
        ConfigError: the file cannot be used; the message names the file, the key and the reason.
    """
    content = read_cluster(path, login=find_user_name())
    by_name = {flavour.name: flavour for flavour in flavours}
    file = check_file(path, content.values, by_name)
    source = content.password or PasswordSource(
        path,
        env=file.root_password_env,
        file=_resolve(path, file.root_password_file) if file.root_password_file else None,
        is_none=file.root_password is not None,
    )
    cluster = build_cluster(path, file, by_name[file.flavour], source)
    return replace(cluster, notices=content.notices)


def _resolve(path: Path, text: str) -> Path:
    return path.parent / expand_home(Path(text))

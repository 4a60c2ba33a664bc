"""Interpretation of a home's files: empty, a failed first start, or data. Pure.

The facts come from `home_files.sh` and from the server's own parameters (meta_db.py). A home with
data is never mistaken for an empty one: files that match none of the three states block a start,
and no option overrides that. docs/concepts/flavours.md has the measured layouts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from tasks.cluster.flavour import Flavour
from tasks.hosts import messages


class Place(StrEnum):
    """A directory in which a server keeps its files."""

    ETC = "etc"
    STORE = "store"
    DATA = "data"
    REDO = "redo"


class StartKind(StrEnum):
    """Kind of a start; the start script verifies it."""

    FIRST = "first"
    LEFTOVER = "leftover"  # a first start after a failed one
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory as seen on the host.

    Attributes:
        identity: device and inode.
        path: without symbolic links.
        files: the first paths below it that are not directories, at most three.
    """

    identity: str
    path: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredParameters:
    """Parameters that the server itself has recorded.

    Attributes:
        sql_port: None for the default.
        data_dir, redo_dir: may be relative to the home.
        boot_completed: whether the rows exist that a first boot writes last
            (docs/concepts/flavours.md). Their absence proves nothing.
    """

    sql_port: int | None = None
    data_dir: str | None = None
    redo_dir: str | None = None
    boot_completed: bool = False


@dataclass(frozen=True, slots=True)
class HomeFiles:
    """Facts about the files of a home.

    Attributes:
        places: directories that exist; DATA and REDO as named in the cluster file.
        links: those of etc/ and store/ that cannot be moved: symbolic links, mount points, and
            directories with a mount point below them.
        configuration: files that hold a server's configuration, relative to the home.
        has_telemetry: whether run/telemetry.json exists.
        first_start: id of the DAG that last tried a first start here without confirmed success.
        boot_completed: whether the log shows a completed boot since that attempt.
        older_files: files in etc/ or store/ that existed before that attempt.
        parameters: the server's own, if it has a readable record of them.
        parameters_problem: why the record cannot be read.
        is_record_empty: whether it is unreadable because a boot ended before writing it.
        stored_places: DATA and REDO as named in the server's own parameters, if they exist.
    """

    places: Mapping[Place, Directory] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    configuration: tuple[str, ...] = ()
    has_telemetry: bool = False
    first_start: str = ""
    boot_completed: bool = False
    older_files: tuple[str, ...] = ()
    parameters: StoredParameters | None = None
    parameters_problem: str = ""
    is_record_empty: bool = False
    stored_places: Mapping[Place, Directory] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """The first files of every place."""
        return tuple(path for place in self.places.values() for path in place.files)

    @property
    def may_be_leftover(self) -> bool:
        """Whether a first start was tried and nothing shows a completed boot or unknown data."""
        parameters = self.parameters
        is_known = not self.parameters_problem or self.is_record_empty
        is_other = any(name in self.configuration for name in _OLDER_RECORDS)
        store = self.places.get(Place.STORE)
        if store is not None and store.files and _RECORD not in self.configuration:
            is_other = True  # files of a store without the record that a first start makes first
        is_booted = self.boot_completed or (parameters is not None and parameters.boot_completed)
        if is_other or is_booted or self.has_telemetry:
            return False
        return bool(self.first_start) and is_known


@dataclass(frozen=True, slots=True)
class Empty:
    """State of a home in which no server has ever written."""


@dataclass(frozen=True, slots=True)
class FailedFirstStart:
    """State of a home with nothing but files of a failed first start; `dag` is its DAG's id."""

    dag: str


@dataclass(frozen=True, slots=True)
class HasData:
    """State of a home with a database; `parameters` are the recorded ones, if readable."""

    parameters: StoredParameters | None = None


@dataclass(frozen=True, slots=True)
class Contradictory:
    """State of a home whose files match no other state; a start is not allowed.

    Attributes:
        cause: the contradiction.
        remedy: the remedy, in the imperative.
    """

    cause: str
    remedy: str


HomeState: TypeAlias = Empty | FailedFirstStart | HasData | Contradictory

_RECORD = "store/sstable/meta.db"
_OLDER_RECORDS = ("etc/seekdb.config.bin", "etc/meta.db")


def describe_kind(kind: StartKind) -> str:
    """Return the state of the home in words, for users."""
    match kind:
        case StartKind.FIRST:
            return messages.NEVER_STARTED()
        case StartKind.LEFTOVER:
            return messages.FIRST_START_FAILED()
        case StartKind.LATER:
            return messages.STARTED_BEFORE()


def decide_home(
    files: HomeFiles, flavour: Flavour, *, data_dir: str | None = None, redo_dir: str | None = None
) -> HomeState:
    """Decide what a home holds.

    Args:
        files: facts about the home.
        flavour: of the server in the cluster file.
        data_dir: as in the cluster file; None if not set there.
        redo_dir: likewise.
    """
    if not flavour.can_initialise:
        return _decide_bootstrapped(files)
    foreign = [name for name in files.configuration if "observer" in name]
    if foreign:
        return Contradictory(
            messages.OTHER_FLAVOUR(file=foreign[0]), messages.CORRECT_FLAVOUR_OR_HOME()
        )
    for name in files.links:
        if Place(name) not in files.places:
            return Contradictory(
                messages.LINK_TARGET_MISSING(name=name), messages.MOUNT_TARGET_OR_REMOVE_LINK()
            )
    if not files.files and not files.has_telemetry:
        return Empty()
    if files.may_be_leftover:
        return _decide_leftover(files)
    return _decide_data(files, data_dir, redo_dir)


def _decide_bootstrapped(files: HomeFiles) -> HomeState:
    """Decide for an observer: it is bootstrapped elsewhere, so its home needs a configuration."""
    seekdb = [name for name in files.configuration if "observer" not in name]
    if seekdb:
        return Contradictory(
            messages.OTHER_FLAVOUR(file=seekdb[0]), messages.CORRECT_FLAVOUR_OR_HOME()
        )
    if "etc/observer.config.bin" in files.configuration:
        return HasData()
    if files.configuration or (Place.STORE in files.places and files.places[Place.STORE].files):
        evidence = [*files.configuration, *files.files][0]
        return Contradictory(
            messages.CONFIGURATION_MISSING(file=evidence), messages.RESTORE_CONFIGURATION()
        )
    return Empty()


def _decide_leftover(files: HomeFiles) -> HomeState:
    """Decide for leftovers: files are moved unless older, behind a link or outside the home."""
    outside = [
        path
        for place in (Place.DATA, Place.REDO)
        if (directory := files.places.get(place)) is not None
        and not _is_below_store(files, directory)
        for path in directory.files
    ]
    if files.older_files:
        cause = messages.FILE_OLDER(dag=files.first_start, file=files.older_files[0])
        return Contradictory(cause, messages.MOVE_HOME_OR_RESTORE())
    fixed = [files.places[Place(name)] for name in files.links if Place(name) in files.places]
    outside = [*(path for directory in fixed for path in directory.files), *outside]
    if outside:
        return Contradictory(
            messages.FILES_NOT_MOVED(dag=files.first_start, files=", ".join(outside[:3])),
            messages.EMPTY_DIRECTORIES(),
        )
    return FailedFirstStart(files.first_start)


def _is_below_store(files: HomeFiles, directory: Directory) -> bool:
    store = files.places.get(Place.STORE)
    if store is None:
        return False
    return directory.path == store.path or directory.path.startswith(f"{store.path}/")


def _decide_data(files: HomeFiles, data_dir: str | None, redo_dir: str | None) -> HomeState:
    store = files.places.get(Place.STORE)
    if files.parameters_problem:
        return Contradictory(files.parameters_problem, messages.MOVE_HOME_OR_RESTORE())
    if files.parameters is None and not any(n in files.configuration for n in _OLDER_RECORDS):
        return Contradictory(_describe_unknown(files, store), messages.MOVE_HOME_OR_RESTORE())
    if store is None:
        return Contradictory(messages.STORE_MISSING(), messages.MOUNT_OR_RESTORE())
    if not store.files:
        return Contradictory(messages.STORE_EMPTY(path=store.path), messages.MOUNT_OR_RESTORE())
    named = files.parameters or StoredParameters()
    data = _find_stored(files, Place.DATA, named.data_dir, store)
    redo = _find_stored(files, Place.REDO, named.redo_dir, None)
    for place, stored, recorded_path, configured_path in (
        (Place.DATA, data, named.data_dir, data_dir),
        (Place.REDO, redo, named.redo_dir, redo_dir),
    ):
        problem = _compare(files, place, stored, recorded_path, configured_path)
        if problem is not None:
            return problem
    return HasData(files.parameters)


def _find_stored(
    files: HomeFiles, place: Place, named: str | None, otherwise: Directory | None
) -> Directory | None:
    return files.stored_places.get(place) if named is not None else otherwise


def _compare(
    files: HomeFiles,
    place: Place,
    stored: Directory | None,
    recorded_path: str | None,
    configured_path: str | None,
) -> Contradictory | None:
    """Check that the server's directory exists, has files, and is the cluster file's directory."""
    key = f"{place}_dir"
    if recorded_path is not None and (stored is None or not stored.files):
        problem = messages.PLACE_MISSING if stored is None else messages.PLACE_EMPTY
        cause = problem(place=place, path=recorded_path)
        if configured_path:
            cause = messages.PLACE_CONFIGURED(problem=cause, path=configured_path)
        return Contradictory(cause, messages.MOUNT_OR_RESTORE())
    if configured_path is None:
        return None
    configured = files.places.get(place)
    if stored is None:  # not recorded: it has to be the configured directory
        if configured is None or not configured.files:
            problem = (
                messages.CONFIGURED_MISSING if configured is None else messages.CONFIGURED_EMPTY
            )
            cause = problem(key=key, path=configured_path)
            return Contradictory(cause, messages.CORRECT_KEY_OR_MOUNT(key=key))
        return None
    if configured is None or configured.identity != stored.identity:
        return Contradictory(
            messages.PLACE_DIFFERS(place=place, path=stored.path, configured=configured_path),
            messages.CORRECT_OR_REMOVE_KEY(key=key),
        )
    return None


def _describe_unknown(files: HomeFiles, store: Directory | None) -> str:
    known = ("run/telemetry.json",) if files.has_telemetry else ()
    evidence = ", ".join((*files.files, *known)[:4])
    if store is not None and not store.files:
        return messages.STORE_EMPTIED(files=evidence, path=store.path)
    return messages.RECORD_MISSING(files=evidence)

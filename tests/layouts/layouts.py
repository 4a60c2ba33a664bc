"""Layouts of homes: a description, a maker, and the cluster file of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.layouts import makers
from tests.layouts.recording import ROOT, ClusterFile

_HOME = f"{ROOT}/home"


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout to record.

    Attributes:
        make: creates the layout in the given directory, with no server running.
        real_home: relative to the directory.
        in_small_disk: the directory is a file system of 300 MB, which needs root.
    """

    name: str
    description: str
    make: Callable[[Path], None]
    cluster_file: ClusterFile = field(default_factory=lambda: ClusterFile(_HOME))
    real_home: str = "home"
    origin: str = "seekdb"
    in_small_disk: bool = False
    is_read_only: bool = False


def _cluster_file(data_dir: str | None = None, redo_dir: str | None = None) -> ClusterFile:
    return ClusterFile(
        _HOME,
        data_dir=data_dir and f"{ROOT}/{data_dir}",
        redo_dir=redo_dir and f"{ROOT}/{redo_dir}",
    )


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "completed_boot_obd",
            "started as obd does: store is a link to the data directory, which is an option too",
            makers.make_obd,
            _cluster_file(data_dir="disk/data"),
        ),
        Layout("by_hand_absolute", "started by hand, absolute base directory", makers.make_by_hand),
        Layout(
            "by_hand_relative",
            "started with a relative base directory",
            makers.make_by_hand_relative,
        ),
        Layout(
            "no_base_dir", "started from the home, by --port alone", makers.make_without_base_dir
        ),
        Layout("log_removed", "booted, and its log/ was removed since", makers.make_without_log),
        Layout("moved_home", "moved after its first boot", makers.make_moved),
        Layout(
            "moved_home_link",
            "moved after its first boot; store is a link, its target was not moved",
            makers.make_moved_with_link,
        ),
        Layout(
            "behind_changed_link",
            "booted through a link that now leads to an empty directory",
            makers.make_changed_link,
            ClusterFile(f"{ROOT}/link"),
        ),
        Layout(
            "data_elsewhere",
            "data directory elsewhere, and the cluster file names it",
            makers.make_data_elsewhere,
            _cluster_file(data_dir="disk/data"),
        ),
        Layout(
            "redo_elsewhere",
            "redo directory elsewhere, and the cluster file names it",
            makers.make_redo_elsewhere,
            _cluster_file(redo_dir="disk/redo"),
        ),
        Layout(
            "data_and_redo_elsewhere_silent",
            "data and redo elsewhere, and the cluster file names neither",
            makers.make_both_elsewhere,
        ),
        Layout(
            "wrong_directories",
            "data and redo elsewhere, and the cluster file names two other, empty directories",
            makers.make_both_and_others,
            _cluster_file("other/data", "other/redo"),
        ),
        Layout(
            "one_level_off",
            "the cluster file names the parent of the data directory and a child of redo",
            makers.make_both_elsewhere,
            _cluster_file("disk", "disk/redo/sys"),
        ),
        Layout(
            "data_named_later",
            "everything below the home; the cluster file names a data directory that is missing",
            makers.make_by_hand,
            _cluster_file(data_dir="disk/data"),
        ),
        Layout(
            "redo_named_later",
            "everything below the home; the cluster file names a redo directory that is missing",
            makers.make_by_hand,
            _cluster_file(redo_dir="disk/redo"),
        ),
        Layout(
            "both_named_later",
            "everything below the home; the cluster file names directories that are missing",
            makers.make_by_hand,
            _cluster_file("disk/data", "disk/redo"),
        ),
        Layout(
            "data_not_mounted",
            "the disk of the data is not mounted, and a later start has written there",
            makers.make_data_not_mounted,
            _cluster_file(data_dir="disk/data"),
        ),
        Layout(
            "store_link_empty",
            "the disk behind the link store is not mounted, and a later start has written there",
            makers.make_store_link_empty,
        ),
        Layout(
            "store_link_dangling", "the link store leads nowhere", makers.make_store_link_dangling
        ),
        Layout(
            "half_initialised",
            "killed during its first boot, before it is of use",
            makers.make_half_initialised,
        ),
        Layout(
            "half_initialised_restarted",
            "half initialised; a later start has written telemetry and never served",
            makers.make_half_then_telemetry,
        ),
        Layout("killed_early", "killed as soon as meta.db existed", makers.make_killed_early),
        Layout(
            "failed_log_disk", "first start failed: log_disk_size 1G", makers.make_failed_log_disk
        ),
        Layout("failed_port_taken", "first start failed: SQL port taken", makers.make_failed_port),
        Layout(
            "failed_disk_full",
            "first start failed: disk full",
            makers.make_failed_disk,
            in_small_disk=True,
        ),
        Layout(
            "other_flavour",
            "the home of an observer, which the cluster file calls seekdb",
            makers.make_observer,
            origin="composed",
        ),
        Layout(
            "restored_from_backup",
            "copied while the server ran: no run/ or log/, most parameters in meta.db-wal only",
            makers.make_restored,
        ),
        Layout(
            "read_only",
            "no permission to write; for root, mount it read-only",
            makers.make_read_only,
            is_read_only=True,
        ),
        Layout(
            "foreign_files",
            "never started, with files of others in etc/ and store/",
            makers.make_foreign,
            origin="composed",
        ),
        Layout(
            "older_version",
            "parameters in etc/seekdb.config.bin, as before 1.4",
            makers.make_older,
            origin="composed",
        ),
        Layout(
            "never_started",
            "program and empty directories only",
            makers.make_never_started,
            origin="composed",
        ),
    )
}

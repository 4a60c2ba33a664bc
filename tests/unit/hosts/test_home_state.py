"""Classification of a home by its files: one case per branch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.cluster.flavour import Flavour
from tasks.flavours.oceanbase import OCEANBASE
from tasks.flavours.seekdb import SEEKDB
from tasks.hosts.home_state import (
    Contradictory,
    Directory,
    Empty,
    FailedFirstStart,
    HasData,
    HomeFiles,
    HomeState,
    Place,
    StartKind,
    StoredParameters,
    decide_home,
    describe_kind,
)

STORE = Directory("1:1", "/h/store", ("/h/store/sstable/meta.db",))
ETC = Directory("1:2", "/h/etc", ("/h/etc/seekdb.data_version.bin",))
DATA = Directory("2:1", "/data", ("/data/sstable/block_file",))
REDO = Directory("3:1", "/redo", ("/redo/sys/log_stream/log/0",))
META = ("store/sstable/meta.db",)
INNER_PARAMETERS = StoredParameters(2881, None, "store/redo")
INNER_REDO = Directory("1:3", "/h/store/redo", ("/h/store/redo/sys/log_stream/log/0",))

LEFTOVER = HomeFiles({Place.STORE: STORE, Place.ETC: ETC}, configuration=META, first_start="77")
BOOTED = HomeFiles(
    {Place.STORE: STORE, Place.ETC: ETC},
    configuration=META,
    has_telemetry=True,
    parameters=INNER_PARAMETERS,
    stored_places={Place.REDO: INNER_REDO},
)
BOTH_ELSEWHERE = replace(
    BOOTED,
    parameters=StoredParameters(2881, "/data", "/redo"),
    stored_places={Place.DATA: DATA, Place.REDO: REDO},
)


def empty(directory: Directory) -> Directory:
    return replace(directory, files=())


def at(files: HomeFiles, **places: Directory) -> HomeFiles:
    return replace(files, places={**files.places, **{Place(k): v for k, v in places.items()}})


@dataclass(frozen=True)
class Case:
    name: str
    files: HomeFiles
    state: type[HomeState]
    cause_parts: tuple[str, ...] = ()
    remedy: str = ""
    flavour: Flavour = SEEKDB
    named_directories: dict[str, str] = field(default_factory=dict)


CASES = [
    Case("nothing", HomeFiles(), Empty),
    Case("empty directories", HomeFiles({p: Directory("1:1", "/x") for p in Place}), Empty),
    Case("marker only", HomeFiles(first_start="77"), Empty),
    Case("data of another", HomeFiles({Place.DATA: DATA}), Contradictory, DATA.files),
    Case("redo of another", HomeFiles({Place.REDO: REDO}), Contradictory, REDO.files),
    Case("telemetry only", HomeFiles(has_telemetry=True), Contradictory, ("telemetry",)),
    Case("unknown files", HomeFiles({Place.ETC: ETC}), Contradictory, ETC.files, "by hand"),
    Case(
        "unknown files and an empty store",
        HomeFiles({Place.ETC: ETC, Place.STORE: empty(STORE)}),
        Contradictory,
        (*ETC.files, "/h/store is empty"),
    ),
    # A failed first start.
    Case("leftover", LEFTOVER, FailedFirstStart),
    Case("leftover, data in store", at(LEFTOVER, data=INNER_REDO), FailedFirstStart),
    Case("leftover, data is store", at(LEFTOVER, data=STORE), FailedFirstStart),
    Case("leftover, empty data", at(LEFTOVER, data=empty(DATA)), FailedFirstStart),
    Case("leftover, data", at(LEFTOVER, data=DATA), Contradictory, ("77", *DATA.files), "by hand"),
    Case("leftover, redo", at(LEFTOVER, redo=REDO), Contradictory, ("77", *REDO.files), "by hand"),
    Case(
        "leftover, data beside store",
        at(LEFTOVER, data=Directory("1:9", "/h/store2", ("/h/store2/a",))),
        Contradictory,
        ("/h/store2/a",),
    ),
    Case(
        "leftover, data without store",
        HomeFiles({Place.DATA: DATA}, first_start="77"),
        Contradictory,
        DATA.files,
    ),
    Case(
        "leftover, link", replace(LEFTOVER, links=("store",)), Contradictory, STORE.files, "by hand"
    ),
    Case(
        "leftover, link to nothing",
        replace(at(LEFTOVER, store=empty(STORE)), links=("store",)),
        FailedFirstStart,
    ),
    Case(
        "leftover, older file",
        replace(LEFTOVER, older_files=("/h/etc/own",)),
        Contradictory,
        ("/h/etc/own", "77"),
        "by hand",
    ),
    Case(
        "leftover, telemetry",
        replace(
            LEFTOVER,
            has_telemetry=True,
            parameters=INNER_PARAMETERS,
            stored_places=BOOTED.stored_places,
        ),
        HasData,
    ),
    Case(
        "leftover, boot completed",
        replace(
            LEFTOVER,
            boot_completed=True,
            parameters=INNER_PARAMETERS,
            stored_places=BOOTED.stored_places,
        ),
        HasData,
    ),
    Case(
        "leftover, last rows of a boot",
        replace(
            LEFTOVER,
            parameters=replace(INNER_PARAMETERS, boot_completed=True),
            stored_places=BOOTED.stored_places,
        ),
        HasData,
    ),
    Case(
        "leftover, unreadable record",
        replace(LEFTOVER, parameters_problem="/h/meta.db has 5,000,000 bytes"),
        Contradictory,
        ("/h/meta.db has",),
        "by hand",
    ),
    Case(
        "leftover, empty record",
        replace(LEFTOVER, parameters_problem="/h/meta.db has no table", is_record_empty=True),
        FailedFirstStart,
    ),
    Case(
        "link that dangles",
        HomeFiles(links=("store",)),
        Contradictory,
        ("store", "does not exist"),
        "mount",
    ),
    # A database.
    Case("booted", BOOTED, HasData),
    Case("booted, no parameters", replace(BOOTED, parameters=StoredParameters()), HasData),
    Case("booted, lost etc", replace(BOOTED, places={Place.STORE: STORE}), HasData),
    Case(
        "older record",
        HomeFiles({Place.ETC: ETC, Place.STORE: STORE}, configuration=("etc/seekdb.config.bin",)),
        HasData,
    ),
    Case(
        "record unreadable",
        replace(BOOTED, parameters=None, parameters_problem="/h/meta.db is damaged"),
        Contradictory,
        ("/h/meta.db is damaged",),
        "by hand",
    ),
    Case(
        "no store",
        HomeFiles({Place.ETC: ETC}, configuration=("etc/seekdb.config.bin",)),
        Contradictory,
        ("store does not exist",),
        "mount",
    ),
    Case(
        "empty store",
        HomeFiles(
            {Place.ETC: ETC, Place.STORE: empty(STORE)}, configuration=("etc/seekdb.config.bin",)
        ),
        Contradictory,
        ("/h/store", "is empty"),
        "mount",
    ),
    Case("elsewhere, silent", BOTH_ELSEWHERE, HasData),
    Case(
        "elsewhere, named",
        at(BOTH_ELSEWHERE, data=DATA, redo=REDO),
        HasData,
        named_directories={"data_dir": "/data", "redo_dir": "/redo"},
    ),
    Case(
        "elsewhere, named by a link",
        at(BOTH_ELSEWHERE, data=replace(DATA, path="/link")),
        HasData,
        named_directories={"data_dir": "/link"},
    ),
    Case(
        "stored data missing",
        replace(BOTH_ELSEWHERE, stored_places={Place.REDO: REDO}),
        Contradictory,
        ("/data", "does not exist"),
        "mount",
    ),
    Case(
        "stored data empty",
        replace(BOTH_ELSEWHERE, stored_places={Place.DATA: empty(DATA), Place.REDO: REDO}),
        Contradictory,
        ("/data", "is empty"),
        "mount",
    ),
    Case(
        "stored redo missing, another named",
        replace(BOTH_ELSEWHERE, stored_places={Place.DATA: DATA}),
        Contradictory,
        ("/redo", "/other", "does not exist"),
        "mount",
        named_directories={"redo_dir": "/other"},
    ),
    Case(
        "data in another directory",
        at(BOTH_ELSEWHERE, data=Directory("9:9", "/other", ("/other/a",))),
        Contradictory,
        ("/data", "/other"),
        "data_dir",
        named_directories={"data_dir": "/other"},
    ),
    Case(
        "named data is missing",
        BOTH_ELSEWHERE,
        Contradictory,
        ("/data", "/other"),
        "data_dir",
        named_directories={"data_dir": "/other"},
    ),
    Case(
        "data in store, another named",
        BOOTED,
        Contradictory,
        ("/h/store", "/other"),
        "data_dir",
        named_directories={"data_dir": "/other"},
    ),
    Case(
        "data in store, store named",
        at(BOOTED, data=STORE),
        HasData,
        named_directories={"data_dir": "/h/store"},
    ),
    Case(
        "redo not recorded, named and missing",
        replace(BOOTED, parameters=StoredParameters(2881)),
        Contradictory,
        ("redo_dir /r", "does not exist"),
        "redo_dir",
        named_directories={"redo_dir": "/r"},
    ),
    Case(
        "redo not recorded, named and empty",
        at(replace(BOOTED, parameters=StoredParameters(2881)), redo=empty(REDO)),
        Contradictory,
        ("redo_dir /redo", "is empty"),
        "redo_dir",
        named_directories={"redo_dir": "/redo"},
    ),
    Case(
        "redo not recorded, named and there",
        at(replace(BOOTED, parameters=StoredParameters(2881)), redo=REDO),
        HasData,
        named_directories={"redo_dir": "/redo"},
    ),
    # Flavours.
    Case(
        "observer's home for seekdb",
        replace(BOOTED, configuration=("etc/observer.config.bin", *META)),
        Contradictory,
        ("etc/observer.config.bin",),
        "flavour",
    ),
    Case(
        "seekdb's home for an observer",
        BOOTED,
        Contradictory,
        META,
        "flavour",
        flavour=OCEANBASE,
    ),
    Case(
        "observer",
        HomeFiles({Place.STORE: STORE}, configuration=("etc/observer.config.bin",)),
        HasData,
        flavour=OCEANBASE,
    ),
    Case("never bootstrapped", HomeFiles({Place.ETC: ETC}), Empty, flavour=OCEANBASE),
    Case(
        "observer lost its configuration",
        HomeFiles({Place.STORE: STORE}),
        Contradictory,
        STORE.files,
        "etc2/",
        flavour=OCEANBASE,
    ),
    Case(
        "observer has a copy of its configuration",
        HomeFiles(configuration=("etc3/observer.conf.bin",)),
        Contradictory,
        ("etc3/observer.conf.bin",),
        "etc3/",
        flavour=OCEANBASE,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decide_home_case_gives_expected_state(case: Case) -> None:
    state = decide_home(case.files, case.flavour, **case.named_directories)
    assert isinstance(state, case.state), state
    if isinstance(state, Contradictory):
        assert [text for text in case.cause_parts if text not in state.cause] == []
        assert state.remedy
        assert case.remedy in state.remedy
    if isinstance(state, FailedFirstStart):
        assert state.dag == "77"


@pytest.mark.parametrize("kind", StartKind)
def test_describe_kind_has_text_for_each_kind(kind: StartKind) -> None:
    assert "started" in describe_kind(kind)


_PATHS = st.lists(st.sampled_from(["/h/a", "/data/b"]), max_size=2).map(tuple)
_DIRECTORIES = st.builds(
    Directory, st.sampled_from(["1:1", "2:2"]), st.sampled_from(["/h/store", "/data"]), _PATHS
)
_PLACES = st.dictionaries(st.sampled_from(Place), _DIRECTORIES)
_FILES = st.builds(
    HomeFiles,
    places=_PLACES,
    links=st.lists(st.sampled_from(["etc", "store"]), max_size=2).map(tuple),
    configuration=st.lists(st.sampled_from([*META, "etc/observer.config.bin"])).map(tuple),
    has_telemetry=st.booleans(),
    first_start=st.sampled_from(["", "77"]),
    boot_completed=st.booleans(),
    older_files=_PATHS,
    parameters=st.none()
    | st.just(INNER_PARAMETERS)
    | st.just(StoredParameters(None, "/data", "/redo")),
    parameters_problem=st.sampled_from(["", "damaged"]),
    is_record_empty=st.booleans(),
    stored_places=_PLACES,
)


@given(_FILES, st.sampled_from([SEEKDB, OCEANBASE]), st.sampled_from([None, "/data"]))
def test_decide_home_any_files_with_data_are_not_empty(
    files: HomeFiles, flavour: Flavour, data_dir: str | None
) -> None:
    state = decide_home(files, flavour, data_dir=data_dir)
    match state:
        case Empty() if flavour is SEEKDB:
            assert all(Place(name) in files.places for name in files.links)
            assert files.files == ()
            assert not files.has_telemetry
        case FailedFirstStart():
            assert files.first_start
            assert not files.has_telemetry
            assert not files.boot_completed
            assert not files.older_files
            assert not files.parameters_problem or files.is_record_empty
        case Contradictory(cause, remedy):
            assert cause
            assert remedy
        case HasData() if flavour is SEEKDB:
            assert files.places[Place.STORE].files
            assert not files.parameters_problem

"""Loading of extensions, safe from other modules named `tasks`.

The operations package is the directory next to the `dagengine` package, both in a checkout and in
an installed wheel. `tasks` is a common name, and `python -m` puts the working directory first on
the path. So `tasks` is never searched on the path: it is loaded from its known location, and a
foreign module of that name is reported and not loaded.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from dagengine.errors import ConfigError
from dagengine.server import messages
from dagengine.server.extension import ENTRY_POINT_GROUP, Plugin

_TASKS = "tasks"
_BUNDLED = EntryPoint("oceanbase", f"{_TASKS}:EXTENSION", ENTRY_POINT_GROUP)
_OWN_DISTRIBUTION = "dagengine"


@dataclass(frozen=True, slots=True)
class LoadedPlugins:
    """The result of loading.

    Attributes:
        points: the extensions, the bundled one first.
        notices: sentences for the user, for example about a foreign module that was not loaded.
    """

    points: tuple[Plugin, ...]
    notices: tuple[str, ...]


def load_extension_points() -> LoadedPlugins:
    """Load every extension registered in the entry point group.

    Raises:
        ConfigError: a foreign `tasks` is already imported, or an extension cannot be loaded.
    """
    home = Path(__file__).resolve().parents[2]
    notices = ensure_own_tasks(home)
    entries = [_BUNDLED]
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.module.partition(".")[0] != _TASKS:
            entries.append(entry)
        elif entry.dist is not None and entry.dist.name != _OWN_DISTRIBUTION:
            raise ConfigError(
                messages.TASKS_NAME_TAKEN(
                    package=entry.dist.name, extension=entry.value, module=_TASKS
                ),
                remedy=messages.UNINSTALL_OR_RENAME(package=entry.dist.name),
            )
    return LoadedPlugins(tuple(_load_point(entry) for entry in entries), notices)


def ensure_own_tasks(home: Path) -> tuple[str, ...]:
    """Make `tasks` refer to the package below `home` for the rest of this process.

    Args:
        home: the resolved directory that contains the packages `dagengine` and `tasks`.

    Returns:
        A notice for each foreign module that would have been loaded instead.

    Raises:
        ConfigError: a foreign `tasks` is already imported, or dagengine's own is missing.
    """
    own = home / _TASKS / "__init__.py"
    present = sys.modules.get(_TASKS)
    if present is not None:
        place = _place_of(present.__spec__) or getattr(present, "__file__", None)
        if place != str(own):
            raise ConfigError(
                messages.FOREIGN_TASKS_IMPORTED(module=_TASKS, place=place, own=own),
                remedy=messages.IMPORT_OWN_FIRST(),
            )
        return ()
    if not own.is_file():
        raise ConfigError(messages.FILE_MISSING(path=own), remedy=messages.REINSTALL())
    foreign = _place_of(importlib.util.find_spec(_TASKS))
    _import_from(own)
    if foreign is None or foreign == str(own):
        return ()
    return (messages.FOREIGN_TASKS_IGNORED(module=_TASKS, foreign=foreign, own=own),)


def _place_of(spec: ModuleSpec | None) -> str | None:
    """Return the resolved location of a module; None if the module does not exist."""
    if spec is None:
        return None
    if spec.origin is not None:
        return str(Path(spec.origin).resolve())
    # A directory without __init__.py has no origin, but can still be imported.
    return str(next(iter(spec.submodule_search_locations or ()), spec.name))


def _import_from(file: Path) -> None:
    spec = importlib.util.spec_from_file_location(
        _TASKS, file, submodule_search_locations=[str(file.parent)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_TASKS] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[_TASKS]
        raise


def _load_point(entry: EntryPoint) -> Plugin:
    try:
        point = entry.load()
    except (ImportError, AttributeError) as exc:
        raise ConfigError(
            messages.EXTENSION_FAILED(name=entry.name, entry=entry.value, reason=exc),
            remedy=messages.UPDATE_OR_UNINSTALL(),
        ) from exc
    if not isinstance(point, Plugin):
        raise ConfigError(messages.NOT_A_PLUGIN(name=entry.name, entry=entry.value))
    return point

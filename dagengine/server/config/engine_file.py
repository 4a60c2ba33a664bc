"""Reading of the engine file and of the variables that override it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from dagengine.errors import ConfigError
from dagengine.local_user import expand_home
from dagengine.runtime.strict_yaml import read_yaml
from dagengine.runtime.yaml_structure import YamlRefused, read_yaml_text
from dagengine.server import messages
from dagengine.server.config.engine_config import EngineConfig, find_structure_fault
from dagengine.server.config.sections import (
    ApiConfig,
    ClusterEntry,
    Section,
    ServiceConfig,
    StoreConfig,
)
from dagengine.server.config.value_errors import locate, render_value, value_error

ENV_PREFIX = "DAGENGINE_"
_SEPARATOR = "__"
_CLUSTERS = "clusters"
_SECTIONS: Mapping[str, type[Section]] = {
    "api": ApiConfig,
    "service": ServiceConfig,
    "store": StoreConfig,
}
# A cluster that only variables configure; `_` stands for `-`, which variables cannot contain.
_CLUSTER_FILE = re.compile(f"{ENV_PREFIX}CLUSTERS{_SEPARATOR}([A-Z0-9_]+){_SEPARATOR}FILE")

S = TypeVar("S", bound=Section)


ENGINE_FILES = (Path("engine.yaml"), Path("/etc/dagengine/engine.yaml"))
"""Engine files of commands that name none; the first that exists is used."""


def find_engine_file() -> Path:
    """Return the engine file for a command that names none.

    Raises:
        ConfigError: none of ENGINE_FILES exists.
    """
    for path in ENGINE_FILES:
        if path.exists():
            return path
    first, second = (path.absolute() for path in ENGINE_FILES)
    raise ConfigError(
        messages.ENGINE_FILE_MISSING(first=first, second=second),
        remedy=messages.NAME_OR_WRITE_ENGINE_FILE(),
    )


def load_config(path: Path, environ: Mapping[str, str]) -> EngineConfig:
    """Read an engine file.

    Args:
        path: the file; relative paths in it (and in variables) are relative to its directory.
        environ: environment variables; those that name a key override the file.

    Raises:
        ConfigError: the file cannot be read, a key or value is invalid, or the clusters do not fit
            together; the message names the file or variable, the key and the value.
    """
    content = _read_yaml(path)
    _check_keys(content, path)
    sources = _apply_environ(content, environ)
    try:
        config = EngineConfig.model_validate(content)
    except ValidationError as exc:
        raise _explain(exc, path, sources) from exc
    if config.cluster is None and not config.clusters:
        missing = messages.KEY_MISSING(path=path, key="cluster")
        raise ConfigError(missing, remedy=messages.SET_KEY(variable=_variable("cluster")))
    if config.cluster is not None and config.clusters:
        raise ConfigError(messages.CLUSTER_AND_CLUSTERS(path=locate(path, (_CLUSTERS,))))
    config = _with_absolute_paths(config, path.absolute().parent)
    for name, entry in config.clusters.items():
        try:
            entry.merge(config.api)
        except ValidationError as exc:
            raise _explain(exc, path, sources, prefix=(_CLUSTERS, name)) from exc
    _check_advertised(config, path, sources)
    if (fault := find_structure_fault(config)) is not None:
        raise _at_key(fault.error, fault.loc, path, sources)
    return config


def _check_advertised(config: EngineConfig, path: Path, sources: Mapping[str, str]) -> None:
    """Check that the address of each cluster can be part of ids."""
    for cluster in config.cluster_configs:
        try:
            _ = cluster.api.advertised
        except ConfigError as exc:
            has_own = cluster.name and config.clusters[cluster.name].host is not None
            section = (_CLUSTERS, cluster.name) if has_own else ("api",)
            raise _at_key(exc, (*section, "host"), path, sources) from exc


def _at_key(
    error: ConfigError, loc: Sequence[str], path: Path, sources: Mapping[str, str]
) -> ConfigError:
    """Return the error with the place of a key: a variable, or the file and the line."""
    if (variable := sources.get(".".join(loc))) is not None:
        place: str = messages.VARIABLE(name=variable)
    else:
        place = locate(path, loc)
    problem = messages.IN_ENGINE_FILE(path=place, problem=error.message)
    return ConfigError(problem, remedy=error.remedy)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(read_yaml_text(path))
    except OSError as exc:
        raise ConfigError(
            messages.ENGINE_FILE_UNREADABLE(path=path, reason=exc.strerror),
            remedy=messages.NAME_ENGINE_FILE(),
        ) from exc
    except YamlRefused as exc:
        raise ConfigError(
            messages.ENGINE_FILE_UNREADABLE(path=path, reason=exc.problem), remedy=exc.remedy
        ) from exc
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(messages.ENGINE_FILE_NOT_MAPPING(path=path), remedy=messages.WRITE_KEYS())
    return content


def _check_keys(content: dict[str, Any], path: Path) -> None:
    """Reject unknown keys (pydantic does not suggest the nearest one); add empty sections."""
    for key in content:
        if key not in EngineConfig.model_fields:
            raise _unknown(
                messages.KEY_IN_FILE(path=locate(path, (key,)), key=key),
                str(key),
                EngineConfig.model_fields,
            )
    for name, section in _SECTIONS.items():
        if name == "service" and name not in content:
            continue  # without the section there is no listener
        content[name] = _section(content.get(name), (name,), section, path)
    clusters = _mapping(content.get(_CLUSTERS), (_CLUSTERS,), "NAME", path)
    content[_CLUSTERS] = {
        str(name): _section(entry, (_CLUSTERS, name), ClusterEntry, path)
        for name, entry in clusters.items()
    }


def _section(
    values: object, loc: tuple[str, ...], section: type[Section], path: Path
) -> dict[str, Any]:
    fields = section.model_fields
    content = _mapping(values, loc, ", ".join(fields), path)
    for key in content:
        if key not in fields:
            where = locate(path, (*loc, key))
            subject = messages.SECTION_KEY_IN_FILE(path=where, section=_dotted(loc), key=key)
            raise _unknown(subject, str(key), fields)
    return content


def _mapping(values: object, loc: tuple[str, ...], known: str, path: Path) -> dict[str, Any]:
    if values is None:
        return {}
    if not isinstance(values, dict):
        name = _dotted(loc)
        raise ConfigError(
            messages.SECTION_NOT_MAPPING(
                path=locate(path, loc), name=name, value=render_value(name, values)
            ),
            remedy=messages.KEYS_OF_SECTION(name=name, known=known),
        )
    return values


def _apply_environ(content: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Override the file's values with variables; return the variable that set each key."""
    clusters: dict[str, Any] = content[_CLUSTERS]
    known = {_variable(f"{_CLUSTERS}.{name}") for name in clusters}
    for name in environ:
        match = _CLUSTER_FILE.fullmatch(name)
        if match is not None and name.removesuffix(f"{_SEPARATOR}FILE") not in known:
            clusters[match[1].lower().replace("_", "-")] = {}
    if "service" not in content and any(_is_of(name, "service") for name in environ):
        content["service"] = {}
    keys = {_variable(".".join(key)): key for key in _all_keys(clusters)}
    sources: dict[str, str] = {}
    for name, value in sorted(environ.items()):
        key = keys.get(name)
        if key is not None:
            section = content
            for part in key[:-1]:
                section = section[part]
            section[key[-1]] = value
            sources[".".join(key)] = name
        elif name.startswith(ENV_PREFIX) and _SEPARATOR in name:
            # Without a separator the variable is unrelated, for example one with a password.
            raise _unknown(messages.VARIABLE(name=name), name, keys)
    return sources


def _all_keys(clusters: Iterable[str]) -> Iterator[tuple[str, ...]]:
    for name, section in _SECTIONS.items():
        yield from ((name, key) for key in section.model_fields)
    for name in clusters:
        yield from ((_CLUSTERS, name, key) for key in ClusterEntry.model_fields)
    yield ("cluster",)


def _variable(key: str) -> str:
    return ENV_PREFIX + key.upper().replace("-", "_").replace(".", _SEPARATOR)


def _is_of(variable: str, section: str) -> bool:
    return variable.startswith(_variable(section) + _SEPARATOR)


def _dotted(loc: Iterable[str | int]) -> str:
    return ".".join(map(str, loc))


def _unknown(subject: str, name: str, known_names: Iterable[str]) -> ConfigError:
    known = list(known_names)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return ConfigError(
        messages.UNKNOWN_KEY(subject=subject),
        remedy=messages.USE_NEAREST_KEY(nearest=nearest[0], known=", ".join(known)),
    )


def _explain(
    exc: ValidationError, path: Path, sources: Mapping[str, str], *, prefix: tuple[str, ...] = ()
) -> ConfigError:
    first = exc.errors(include_url=False)[0]
    first["loc"] = (*prefix, *first["loc"])
    key = _dotted(first["loc"])
    where = messages.VARIABLE(name=sources[key]) if key in sources else ""
    is_missing = first["type"] == "missing"
    remedy = messages.SET_KEY(variable=_variable(key)) if is_missing else ""
    return value_error(path, first, where=where, remedy=remedy)


def _with_absolute_paths(config: EngineConfig, base: Path) -> EngineConfig:
    def absolute(section: S) -> S:
        paths = {
            name: base / expand_home(value)
            for name in type(section).model_fields
            if isinstance(value := getattr(section, name), Path)
        }
        return section.model_copy(update=paths)

    return config.model_copy(
        update={
            "api": absolute(config.api),
            "service": None if config.service is None else absolute(config.service),
            "store": absolute(config.store),
            "cluster": None if config.cluster is None else base / expand_home(config.cluster),
            "clusters": {name: absolute(entry) for name, entry in config.clusters.items()},
        }
    )

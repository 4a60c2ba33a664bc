"""Tables of the keys of both configuration files, from the models that validate them."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dagengine.remote import HostAddress
from dagengine.server.config import (
    ApiConfig,
    ClusterEntry,
    EngineConfig,
    ServiceConfig,
    StoreConfig,
)
from tasks.cluster.schema import (
    DEFAULTS,
    FileSchema,
    HealthSection,
    ServerEntry,
    ServerSettings,
    SqlSection,
    StopSection,
)
from tasks.cluster.ssh_section import SshSection

_HEAD = "| key | required | default | type, unit | meaning |\n|---|---|---|---|---|\n"
_UNITS = {"_s": "seconds", "_days": "days", "_dags": "DAGs"}
_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
# Parts of a docstring that are in another column, or concern callers in Python.
_NOTES_FOR_CODE = re.compile(
    r"; None [^.;]*|(, (in seconds|above 0|at least 1|1\.\.65535|2 to 60))+|absolute (?=path)"
)
_LIMITS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


def render_engine_keys() -> str:
    """Return the tables of the engine file."""
    sections = {
        "": EngineConfig,
        "api": ApiConfig,
        "store": StoreConfig,
        "clusters.NAME": ClusterEntry,
        "service": ServiceConfig,
    }
    return _render(sections)


def render_cluster_keys() -> str:
    """Return the tables of the cluster file; keys of an `ssh` section have one table."""
    sections = {
        "": FileSchema,
        "defaults": ServerSettings,
        "zones.NAME[]": ServerEntry,
        "ssh": SshSection,
        "sql": SqlSection,
        "health": HealthSection,
        "stop": StopSection,
    }
    return _render(sections)


def _render(sections: Mapping[str, type[BaseModel]]) -> str:
    parts = []
    for name, model in sections.items():
        title = f"Section `{name}`" if name else "Top level"
        rows = "".join(_row(key, field, model) for key, field in _own_fields(model).items())
        parts.append(f"### {title}\n\n{_HEAD}{rows}")
    return "\n".join(parts)


def _own_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model; those of `defaults` are not repeated for a server."""
    inherited = ServerSettings.model_fields if model is ServerEntry else {}
    return {key: field for key, field in model.model_fields.items() if key not in inherited}


def _row(key: str, field: FieldInfo, model: type[BaseModel]) -> str:
    required = "yes" if field.is_required() else "no"
    kind = ", ".join([*_types(field.annotation), *_range(field), *_unit(key)])
    cells = (f"`{key}`", required, _default(key, field, model), kind, _meaning(key, model))
    return f"| {' | '.join(cells)} |\n"


def _default(key: str, field: FieldInfo, model: type[BaseModel]) -> str:
    value = field.default
    if model is SshSection:
        value = next((f.default for f in dataclasses.fields(HostAddress) if f.name == key), None)
    elif model is ServerSettings:
        value = getattr(DEFAULTS, key)
    elif isinstance(value, BaseModel):
        return "empty"
    match value:
        case _ if value is PydanticUndefined or value is dataclasses.MISSING or value is None:
            return ""
        case bool():
            return str(value).lower()
        case BaseModel() | {} | ():
            return "empty"
        case float():
            return f"{value:g}"
    return f"`{value}`" if isinstance(value, str | Path) else str(value)


def _types(annotation: Any) -> list[str]:
    """Return the names of the types that a value may have."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _types(arguments[0])
    if origin in (Union, types.UnionType):
        names = [name for part in arguments if part is not type(None) for name in _types(part)]
        return [" or ".join(dict.fromkeys(names))]
    if origin is Literal:
        return [" or ".join(f"`{value}`" for value in arguments)]
    if origin in (tuple, list):
        return [f"list of {_types(arguments[0])[0]}"]
    if origin in (dict, Mapping):
        return ["map"]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return ["section"]
    return [_TYPES[annotation]]


def _range(field: FieldInfo) -> list[str]:
    """Return the limits of a value; those of `Port | None` are in the annotation."""
    limits = list(field.metadata)
    for part in get_args(field.annotation):
        if get_origin(part) is Annotated:
            for entry in get_args(part)[1:]:
                limits += entry.metadata if isinstance(entry, FieldInfo) else [entry]
    return [
        text.format(f"{value:.15g}")
        for limit in limits
        for name, text in _LIMITS.items()
        if (value := getattr(limit, name, None)) is not None
    ]


def _unit(key: str) -> list[str]:
    return [unit for suffix, unit in _UNITS.items() if key.endswith(suffix)]


def _meaning(key: str, model: type[BaseModel]) -> str:
    documented = (model, *model.__bases__, HostAddress)
    for owner in documented:
        if text := _attributes(owner).get(key):
            return _NOTES_FOR_CODE.sub("", text).replace("True", "`true`").rstrip(".")
    raise KeyError(f"the docstring of {model.__name__} does not describe {key}")


def _attributes(owner: type) -> dict[str, str]:
    """Return the section `Attributes:` of a docstring."""
    _, _, section = inspect.cleandoc(owner.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for name, text in entries}

"""The commands `dagengine init` and `dagengine config check`: the two configuration files."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

from dagengine.errors import ConfigError
from dagengine.extension import (
    ClusterConfig,
    EngineFile,
    ExitCode,
    create_file,
    load_config,
    new_app,
    print_lines,
    render_epilog,
    render_host_port,
    write_document,
)
from tasks.cli import messages
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.flavour import Flavour
from tasks.cluster.servers import Cluster
from tasks.flavours.select import FLAVOURS

ENGINE_FILE, CLUSTER_FILE = "engine.yaml", "cluster.yaml"
_EXAMPLE_SERVERS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")

_ENGINE_TEMPLATE = """\
# Settings of one controller; docs/reference/configuration.md describes all keys.
# Paths are relative to this file.
api:
  host: 127.0.0.1   # other addresses need TLS
  port: {port}
  socket: run/dagengine.sock   # root and the controller's user need no password here
store:
  path: var/dagengine.sqlite
cluster: {cluster_file}
"""
_CLUSTER_TEMPLATE = """\
# The servers of one cluster; docs/reference/cluster_file.md describes all keys.
name: {name}
id: 1
flavour: {flavour}
# The password of root@sys is in this variable of the controller. If root has no password, write
# `root_password: none` instead.
root_password_env: DAGENGINE_ROOT_PASSWORD
ssh:
  user: {user}
  key_file: ~/.ssh/id_ed25519
  known_hosts: ~/.ssh/known_hosts   # written by `dagengine hosts trust`
defaults:
  agent_port: 2886   # only part of a server's name, ip:agent_port
  sql_port: 2881
  rpc_port: 2882
  home: {home}   # contains {program}
zones:
{zones}"""

_FLAVOURS_BY_NAME = {flavour.name: flavour for flavour in FLAVOURS}
_DEFAULT_FLAVOUR, _KINDS = next(iter(_FLAVOURS_BY_NAME)), " or ".join(_FLAVOURS_BY_NAME)

init_app, config_app = new_app(), new_app()


@init_app.command(epilog=render_epilog("dagengine init prod --server 10.0.0.1 --server 10.0.0.2"))
def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="It is created if it does not exist.")
    ] = Path(),
    server: Annotated[
        list[str] | None,
        typer.Option(metavar="IP", help="A server, in a zone of its own. Repeat for more."),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the cluster.")] = "demo",
    flavour: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help=f"Kind of the servers: {_KINDS}.",
            autocompletion=lambda: [*_FLAVOURS_BY_NAME],
        ),
    ] = _DEFAULT_FLAVOUR,
    user: Annotated[str, typer.Option(metavar="USER", help="SSH user on the hosts.")] = "admin",
    home: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="Directory of each server; default: FLAVOUR in /home/USER."
        ),
    ] = "",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=1, max=65535, help="Port of the API.")
    ] = 2886,
) -> None:
    """Write an engine file and a cluster file. Existing files are not changed."""
    _check_options(server or (), {"--name": name, "--user": user}, home)
    engine_file, cluster_file = directory / ENGINE_FILE, directory / CLUSTER_FILE
    cluster = render_cluster_file(
        server or _EXAMPLE_SERVERS,
        name=name,
        flavour=flavour,
        user=user,
        home=home or f"/home/{user}/{flavour}",
    )
    engine = _ENGINE_TEMPLATE.format(port=port, cluster_file=CLUSTER_FILE)
    write_files(
        {cluster_file: cluster, engine_file: engine},
        check=lambda: ClusterFile(cluster_file, FLAVOURS),
    )
    lines: list[str] = [messages.FILE_WRITTEN(path=file) for file in (engine_file, cluster_file)]
    if not server:
        lines.append(messages.EDIT_SERVERS(path=cluster_file))
    print_lines(sys.stdout, [*lines, *_next_commands(engine_file)])
    raise typer.Exit(ExitCode.DONE)


@config_app.command(epilog=render_epilog("dagengine config check -c engine.yaml"))
def check(
    action: Annotated[Literal["check"], typer.Argument(help="The only action.")],
    config: EngineFile,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
) -> None:
    """Check the engine file and its cluster files, without contacting a host.

    `dagengine doctor` also examines the store, the ports and the hosts.
    """
    del action  # `check` is the only one
    engine = load_config(config, os.environ)
    engine.ensure_store_supported()
    checked = [(each, _check_cluster(each)) for each in engine.cluster_configs]
    if as_json:
        write_document(sys.stdout, _describe(config, checked), indent=2)
    else:
        addresses = ", ".join(render_host_port(*each.api.advertised) for each, _ in checked)
        lines: list[str] = [messages.ENGINE_FILE_VALID(path=config, address=addresses)]
        for each, cluster in checked:
            lines += _render_cluster(each, cluster)
        print_lines(sys.stdout, lines)
    raise typer.Exit(ExitCode.DONE)


def _check_cluster(config: ClusterConfig) -> Cluster:
    cluster = ClusterFile(config.file, FLAVOURS).current
    config.check_name(cluster.name)
    return cluster


def _describe(
    engine_file: Path, checked: Sequence[tuple[ClusterConfig, Cluster]]
) -> dict[str, object]:
    """Return the JSON document; the keys of one cluster are at the top, those of several below."""
    clusters: list[dict[str, object]] = [
        {
            "cluster_file": str(config.file),
            "cluster": cluster.name,
            "flavour": cluster.flavour.name,
            "servers": [{"server": s.name, "zone": s.zone} for s in cluster.servers],
            "notices": [*cluster.notices],
        }
        for config, cluster in checked
    ]
    document: dict[str, object] = {"engine_file": str(engine_file)}
    return document | (clusters[0] if len(clusters) == 1 else {"clusters": clusters})


def _render_cluster(config: ClusterConfig, cluster: Cluster) -> list[str]:
    valid = messages.CLUSTER_FILE_VALID(
        path=config.file,
        name=cluster.name,
        flavour=cluster.flavour.name,
        servers=len(cluster.servers),
        zones=len({server.zone for server in cluster.servers}),
    )
    return [valid, *(f"  {s.zone}  {s.name}" for s in cluster.servers), *cluster.notices]


def render_cluster_file(
    servers: Sequence[str], *, name: str, flavour: str, user: str, home: str
) -> str:
    """Return the text of a cluster file with one zone for each server."""
    zones = "".join(
        f"  zone{number}:\n    - {{ip: {_quote(ip)}}}\n"
        for number, ip in enumerate(servers, start=1)
    )
    return _CLUSTER_TEMPLATE.format(
        name=_quote(name),
        flavour=flavour,
        user=_quote(user),
        home=_quote(home),
        program=_find_flavour(flavour).program,
        zones=zones,
    )


def write_files(contents: dict[Path, str], *, check: Callable[[], object]) -> None:
    """Create all files, or none of them, and the directories that they need.

    Args:
        contents: the text of each file.
        check: raises ConfigError if the files cannot be used.

    Raises:
        ConfigError: a file exists already, cannot be written, or `check` has failed.
    """
    written: list[Path] = []
    parents = {parent for path in contents for parent in path.parents if _is_missing(parent)}
    try:
        for path, content in contents.items():
            _write_file(path, content)
            written.append(path)
        check()
    except ConfigError:
        for path in written:
            path.unlink()
        for parent in sorted(parents, reverse=True):  # the inner ones first
            with suppress(OSError):
                parent.rmdir()
        raise


def _is_missing(directory: Path) -> bool:
    try:
        return not directory.exists()
    except OSError:  # not to be removed again, and to be reported when a file is written
        return False


def _write_file(path: Path, content: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        create_file(path, content.encode())
    except FileExistsError as exc:
        raise ConfigError(
            messages.FILE_EXISTS(path=path), remedy=messages.NAME_DIRECTORY()
        ) from exc
    except OSError as exc:
        raise ConfigError(
            messages.FILE_UNWRITABLE(path=path, reason=exc.strerror),
            remedy=messages.NAME_DIRECTORY(),
        ) from exc


def _check_options(servers: Sequence[str], texts: Mapping[str, str], home: str) -> None:
    """Check the options that become values of the cluster file.

    Raises:
        typer.BadParameter: one of them is not valid there; the message names the option.
    """
    for server in servers:
        try:
            ipaddress.ip_address(server)
        except ValueError as exc:
            raise typer.BadParameter(messages.OPTION_NOT_IP(server=server)) from exc
        if servers.count(server) > 1:
            raise typer.BadParameter(messages.OPTION_TWICE(server=server))
    for option, text in texts.items():
        if not text or not text.isprintable():
            raise typer.BadParameter(messages.OPTION_NOT_TEXT(option=option, value=text))
    if home and (not home.startswith("/") or not home.strip("/") or not _is_plain(home)):
        raise typer.BadParameter(messages.OPTION_NOT_PATH(value=home))


def _is_plain(path: str) -> bool:
    return path.isprintable() and "\\" not in path


def _find_flavour(name: str) -> Flavour:
    if name not in _FLAVOURS_BY_NAME:
        raise typer.BadParameter(messages.FLAVOUR_UNKNOWN(name=name, known=_KINDS))
    return _FLAVOURS_BY_NAME[name]


def _quote(text: str) -> str:
    """Return the text as a YAML scalar; quoted, unless it is plain in every version of YAML."""
    import yaml  # noqa: PLC0415

    scalar: str = yaml.safe_dump(text, default_style='"', width=10_000)
    return scalar.strip()


def _next_commands(engine_file: Path) -> list[str]:
    return [
        messages.NEXT_CONFIG_CHECK(path=engine_file),
        messages.NEXT_TRUST(path=engine_file),
        messages.NEXT_DOCTOR(path=engine_file),
        messages.NEXT_SERVE(path=engine_file),
    ]

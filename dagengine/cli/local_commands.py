"""Commands that work on the files of this machine, without a controller."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from dagengine.cli import messages
from dagengine.cli.completion import Shell, render_script
from dagengine.cli.options import EngineFile, OneOfClusters, Reason
from dagengine.cli.views.screen import print_lines
from dagengine.errors import ConfigError
from dagengine.model.fencing import MAX_CHOSEN_EPOCH
from dagengine.runtime.clock import SystemClock
from dagengine.runtime.terminal import write_lines

STORE_EXAMPLES = (
    "dagengine store new-epoch -c engine.yaml",
    "dagengine store migrate mysql://USER@HOST:PORT/DATABASE --password-file FILE",
    "dagengine store copy FILE mysql://USER@HOST:PORT/DATABASE --password-file FILE",
)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    config: EngineFile,
    cluster: OneOfClusters = None,
) -> None:
    """Copy the store and its key, also while the controller runs (on its machine).

    A shared store (`store.url`) is backed up with its database.
    """
    # Imported here: the commands that call a controller do not need it.
    from dagengine.server.config import load_config  # noqa: PLC0415
    from dagengine.server.local_store import backup_controller, key_file_of  # noqa: PLC0415

    loaded = load_config(config, os.environ)
    if loaded.store.url is not None:
        raise ConfigError(
            messages.BACKUP_OF_DATABASE(store=loaded.store.url),
            remedy=messages.BACK_UP_DATABASE(key=loaded.key_file),
        )
    size_bytes = backup_controller(loaded.find_cluster(cluster), file)
    # A store that no controller has served yet has no key.
    if (key := key_file_of(file)).exists():
        message = messages.BACKUP_WRITTEN(file=file, size_bytes=size_bytes, key=key)
    else:
        message = messages.BACKUP_WRITTEN_NO_KEY(file=file, size_bytes=size_bytes)
    print_lines(sys.stdout, [message])


def store(
    action: Annotated[Literal["new-epoch", "migrate", "copy"], typer.Argument()],
    source: Annotated[
        str | None,
        typer.Argument(metavar="FROM", help="`copy`: what to copy. `migrate`: the database."),
    ] = None,
    target: Annotated[str | None, typer.Argument(metavar="TO", help="`copy`: where to.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="`new-epoch`: the engine file; default: engine.yaml here or in /etc/dagengine.",
        ),
    ] = None,
    password_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the password of the database's user."),
    ] = None,
    tls_ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the CA certificates to trust for the database; default: those of the "
            "system, and no TLS to an address of this machine.",
        ),
    ] = None,
    at_least: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=MAX_CHOSEN_EPOCH + 1,
            help="`new-epoch`: the smallest new epoch, if a host knows one in the future.",
        ),
    ] = 1,
    cluster: OneOfClusters = None,
    reason: Reason = "",
) -> None:
    """Prepare stores; except for `migrate`, their controllers must be stopped.

    `new-epoch` lets hosts accept the commands of a restored store; `migrate` creates or upgrades
    the schema of a shared store; `copy` copies clusters between SQLite files and a shared store.

    A database is mysql://USER@HOST:PORT/DATABASE; other places are a file, or a directory with a
    file per cluster.
    """
    # Imported here: the commands that call a controller do not need it.
    from dagengine.cli.store_commands import (  # noqa: PLC0415
        AccessFiles,
        copy_stores,
        migrate_stores,
        renew_shared_epochs,
    )
    from dagengine.server.config import find_engine_file, load_config  # noqa: PLC0415
    from dagengine.server.local_store import start_new_epoch  # noqa: PLC0415

    places = [place for place in (source, target) if place is not None]
    match action:
        case "migrate":
            migrate_stores(places, AccessFiles(password_file, tls_ca_file))
        case "copy":
            copy_stores(places, AccessFiles(password_file, tls_ca_file), cluster)
        case "new-epoch":
            path = find_engine_file() if config is None else config
            loaded = load_config(path, os.environ)
            if loaded.store.url is not None:
                renew_shared_epochs(loaded, cluster, reason, at_least=at_least)
                return
            chosen = loaded.find_cluster(cluster)
            before, after = start_new_epoch(chosen, SystemClock().now(), reason, at_least=at_least)
            message = messages.EPOCH_RENEWED(
                path=chosen.store, epoch=after.epoch, before=before.epoch
            )
            print_lines(sys.stdout, [message])


def print_completion(
    shell: Annotated[Shell, typer.Argument(help="The shell that completes.")],
) -> None:
    """Print the script with which a shell completes ids, zones, servers and names of checks."""
    write_lines(sys.stdout, render_script(shell).splitlines())

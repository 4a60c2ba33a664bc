"""The commands: typer on one side, the client on the other. `serve` is in cli.py."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Annotated, Any, NoReturn, TextIO, TypeAlias

import typer

from dagengine.cli_follow import follow
from dagengine.cli_render import Json, next_commands, render_dag, render_list, render_logs
from dagengine.client import Client
from dagengine.clock import SystemClock
from dagengine.errors import DagengineError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_REFUSED = 4
EXIT_INTERRUPTED = 130

PASSWORD_VARIABLE = "DAGENGINE_PASSWORD"  # noqa: S105

Url: TypeAlias = Annotated[
    str, typer.Option(envvar="DAGENGINE_URL", help="Where the controller answers.")
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")
]
DagId: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="The DAG's id.")]

DEFAULT_URL = "http://127.0.0.1:2886"

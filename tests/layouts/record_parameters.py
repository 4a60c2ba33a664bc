"""Record the parameters of the installed seekdb, with the values that it refuses.

    python -m tests.layouts.record_parameters

writes tasks/cluster/seekdb_parameters.tsv. It boots the program once for their names and types
(`SHOW PARAMETERS`), and starts it some 250 times with one value of one parameter, a minute in
total: the descriptions of the parameters contain ranges that the program does not enforce. A bound
or a list of values is recorded only if the program refuses a value beyond it.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dagengine.mysql import open_connection
from tasks.cluster.parameters import (
    PARAMETERS_FILE,
    Parameter,
    ParameterType,
    read_number,
    render_parameters,
)
from tasks.demo.hosts import free_port
from tests.layouts.real_seekdb import RealSeekdb, find_program, size_options

STATEMENT = "SHOW PARAMETERS"
_POLL_S = 0.02
_RANGE = re.compile(r"[Rr]ang(?:e|es)?:?\s*(?:0, )?[\[(]\s*([^,\])]*?)\s*,\s*([^\])]*?)\s*[\])]")
_WORD = re.compile(r"[A-Za-z][\w.]*")
_UNITS = {ParameterType.CAPACITY: "b", ParameterType.TIME: "us"}
_NONSENSE = "NONSENSE"


@contextmanager
def booted_seekdb(home: Path) -> Iterator[int]:
    """Boot the installed program in an empty home; yields its SQL port."""
    port = free_port()
    server = RealSeekdb(home)
    server.boot("--base-dir", home, "--port", str(port), *size_options(), cwd=home)
    try:
        yield port
    finally:
        server.kill()


def is_refused(name: str, value: str) -> bool:
    """Return whether the program ends, without a line in its log, because of this value."""
    with tempfile.TemporaryDirectory(prefix="dagengine-parameter-") as directory:
        home, option = Path(directory), f"{name}={value}"
        log = home / "log" / "seekdb.log"
        command = [find_program(), "--nodaemon", "--base-dir", home, "--parameter", option]
        command += ["--port", str(free_port())]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, cwd=home, stdout=quiet, stderr=quiet) as server:
            try:
                while not (log.exists() and log.stat().st_size):
                    try:
                        server.wait(_POLL_S)
                    except subprocess.TimeoutExpired:
                        continue
                    return not (log.exists() and log.stat().st_size)
            finally:
                server.kill()
        return False


async def read_parameters(port: int) -> dict[str, tuple[Parameter, str]]:
    """Return each parameter without its limits, and its description."""
    async with open_connection(("127.0.0.1", port), user="root", password="") as connection:
        result = await connection.query(STATEMENT)
    columns = [result.columns.index(name) for name in ("name", "data_type", "info")]
    parameters = {}
    for row in result.rows:
        name, data_type, info = (str(row[column]) for column in columns)
        parameters[name] = Parameter(name, ParameterType(data_type)), info
    return parameters


def measure_limits(parameter: Parameter, info: str) -> Parameter:
    """Return the parameter with the limits that its description names and the program enforces."""
    name = parameter.name
    if parameter.type is ParameterType.STRING:
        if not is_refused(name, _NONSENSE):
            return parameter
        words = {word.rstrip(".").lower(): word.rstrip(".") for word in _WORD.findall(info)}
        values = (word for word in words.values() if not is_refused(name, word))
        return replace(parameter, values=tuple(values))
    limits = _RANGE.search(info)
    if limits is None or parameter.type in (ParameterType.BOOL, ParameterType.MOMENT):
        return parameter
    low, high = (_read_bound(parameter, text) for text in limits.groups())
    unit = _UNITS.get(parameter.type, "")
    minimum = low if low is not None and is_refused(name, f"{low - 1}{unit}") else None
    maximum = high if high is not None and is_refused(name, f"{high + 1}{unit}") else None
    if minimum is not None and is_refused(name, f"{minimum}{unit}"):
        minimum += 1  # the bound itself is excluded
    if maximum is not None and is_refused(name, f"{maximum}{unit}"):
        maximum -= 1
    takes_zero = minimum is not None and minimum > 0 and not is_refused(name, "0")
    return replace(parameter, minimum=minimum, maximum=maximum, values=("0",) if takes_zero else ())


def _read_bound(parameter: Parameter, text: str) -> int | None:
    value = text.removesuffix(" in integer")
    if parameter.type is ParameterType.CAPACITY and value.isdecimal():
        value += "B"
    number = read_number(parameter.type, value)
    return None if number is None else int(number)


def main() -> None:
    """Write the file."""
    with (
        tempfile.TemporaryDirectory(prefix="dagengine-parameters-") as directory,
        booted_seekdb(Path(directory)) as port,
    ):
        parameters = asyncio.run(read_parameters(port))
    measured = [measure_limits(*parameters[name]) for name in sorted(parameters)]
    PARAMETERS_FILE.write_text(render_parameters(measured), encoding="utf-8")


if __name__ == "__main__":
    main()

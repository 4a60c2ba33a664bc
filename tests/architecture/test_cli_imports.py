"""Modules that commands load: no engine, SSH or SQLite for a client, no library for `--help`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dagengine.cli.commands  # noqa: F401  # adds the commands to `app`
from dagengine.cli.extensions import find_own_commands

ROOT = Path(__file__).parents[2]
LIBRARIES = {"asyncssh", "cryptography", "pydantic", "yaml", "aiohttp", "structlog", "sqlite3"}
NOT_OF_A_CLIENT = {
    *("asyncssh", "yaml", "structlog", "sqlite3", "aiosqlite", "prometheus_client"),
    *("dagengine.engine", "dagengine.store", "dagengine.remote", "dagengine.api"),
}
ON_THE_CONTROLLER = {"serve", "backup"}
# Modules that Python for Windows does not have.
WITHOUT_POSIX = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "resource", "pwd"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in ("fcntl", "resource", "pwd"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Blocker())
"""


def client_commands() -> list[str]:
    """Return the names of the commands that only call the API."""
    return sorted(find_own_commands() - ON_THE_CONTROLLER)


def run_commands(*commands: list[str], expected: int = 0) -> set[str]:
    """Run commands in one process without POSIX modules; return the loaded modules."""
    program = (
        f"{WITHOUT_POSIX}\nfrom dagengine.cli import main\n"
        f"codes = [main(command) for command in {list(commands)!r}]\n"
        f"assert codes == [{expected}] * {len(commands)}, codes\n"
        "print('loaded:', *sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


def test_client_commands_are_found() -> None:
    assert {"start", "stop", "show", "list", "logs", "retry", "cancel"} <= {*client_commands()}


def test_help_loads_no_library() -> None:
    loaded = run_commands(["--help"])
    assert {"typer", "tasks", "dagengine.cli.commands"} <= loaded
    assert loaded & {*LIBRARIES, "asyncio"} == set()


def test_help_of_each_client_command_loads_no_library() -> None:
    loaded = run_commands(*([name, "--help"] for name in client_commands()))
    # typer itself uses pydantic for the values of options.
    assert loaded & LIBRARIES <= {"pydantic"}


def test_client_command_without_posix_calls_the_controller() -> None:
    unreachable = 3
    loaded = run_commands(["list", "--url", "http://127.0.0.1:1"], expected=unreachable)
    assert {"aiohttp", "dagengine.client.client"} <= loaded
    assert loaded & NOT_OF_A_CLIENT == set()


@pytest.mark.parametrize("module", ["fcntl", "resource", "pwd"])
def test_blocker_with_posix_module_raises(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{WITHOUT_POSIX}\nimport {module}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"No module named '{module}'" in done.stderr

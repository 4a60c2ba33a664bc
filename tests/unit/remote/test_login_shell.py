"""Command lines for login shells: each shell passes the same arguments on."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from dagengine.remote.command import script
from dagengine.remote.login_shell import render_for_login_shell

SHELLS = ("sh", "bash", "zsh", "ksh", "fish", "tcsh")
ARGUMENTS = (
    *("it's", 'say "x"', "a\\b\\\\c\\n\\0101", "!x !! !$", "$HOME `id` ~ * ? {a,b}", "%s %d", "-n"),
    *("", " ", "two\nlines\n", "\t\x1b[31m", "grün", "\udcff", "# no comment", "x" * 20_000),
)


@pytest.mark.parametrize("shell", SHELLS)
def test_login_shell_passes_arguments_unchanged(shell: str, tmp_path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"not installed: {shell}")
    command = script('printf "%s|" "$@"', "name", *ARGUMENTS)
    result = subprocess.run(
        [shell, "-c", render_for_login_shell(command.render())],
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        check=False,
    )
    expected = "".join(f"{argument}|" for argument in ARGUMENTS)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode("utf-8", "surrogateescape") == expected

"""The name and home of this process's user, also without an entry in the user database."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dagengine.errors import ConfigError
from dagengine.local_user import expand_home, find_user_name

ROOT = Path(__file__).parents[2]
OTHER_USER = """
import os
os.environ.clear()
os.setuid(54321)
from dagengine.local_user import find_user_name
print(find_user_name())
"""


def test_find_user_name_is_that_of_the_login() -> None:
    assert find_user_name() == getpass.getuser()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_find_user_name_without_entry_is_the_id() -> None:
    source = (ROOT / "dagengine/local_user.py").read_text(encoding="utf-8")
    program = OTHER_USER.replace("from dagengine.local_user import find_user_name\n", "")
    program = f"{source}\n{program.replace('from __future__ import annotations', '')}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "54321\n"


@pytest.mark.parametrize(
    ("text", "expected"), [("~/a", "HOME/a"), ("a/~b", "a/~b"), ("/a", "/a"), ("~", "HOME")]
)
def test_expand_home_replaces_leading_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_home(Path(text)) == Path(expected.replace("HOME", str(tmp_path)))


def test_expand_home_of_unknown_user_is_refused() -> None:
    with pytest.raises(ConfigError, match="the home directory in ~no-such-user/a is unknown") as e:
        expand_home(Path("~no-such-user/a"))
    assert "absolute path" in e.value.remedy

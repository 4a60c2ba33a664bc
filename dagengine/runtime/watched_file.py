"""Files whose content is kept, and read again only after they have changed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from dagengine.errors import ConfigError
from dagengine.runtime import messages
from dagengine.runtime.clock import Clock, SystemClock

T = TypeVar("T")

_FileVersion: TypeAlias = tuple[int, int, int, int]

# A file that was changed more recently than this may change again with the same time stamp.
_SETTLED_S = 2.0


class WatchedFile(Generic[T]):
    """The parsed content of a file.

    Args:
        path: path of the file; a symbolic link is followed.
        parse: reads and parses the file at the path. If it raises, the previous content is
            forgotten, and the next `read` parses again.
        clock: if given, a file that changed within the last two seconds is parsed at every `read`,
            because another change may have the same time stamp.
    """

    def __init__(
        self, path: Path, parse: Callable[[Path], T], *, clock: Clock | None = None
    ) -> None:
        self.path = path
        self._parse = parse
        self._clock = clock
        self._version: _FileVersion | None = None
        self._content: list[T] = []  # one value; empty before the first successful `read`

    def read(self) -> T:
        """Return the content of the file as it is now.

        Raises:
            OSError: the file cannot be read, or is a pipe, which might block for ever; `parse` may
                raise other errors.
        """
        file_stat = self._stat()
        version = _version_of(file_stat)
        if version != self._version:
            self._version = None
            self._content = [self._parse(self.path)]
            self._version = version if self._has_settled(file_stat) else None
        return self._content[0]

    def check(self) -> None:
        """Parse the file if `read` would parse it, but keep the previous content; raises as `read`.

        The next `read` parses it again.
        """
        if _version_of(self._stat()) != self._version:
            self._parse(self.path)

    def is_current(self) -> bool:
        """Return True if `read` would return at once, without parsing. Raises OSError."""
        return self._version is not None and _version_of(self.path.stat()) == self._version

    def find_version(self) -> object:
        """Return a value that differs after the file has changed. Raises OSError."""
        return _version_of(self.path.stat())

    def modified_at(self) -> datetime:
        """Return when the file was modified. Raises OSError."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    def _stat(self) -> os.stat_result:
        file_stat = self.path.stat()
        if stat.S_ISFIFO(file_stat.st_mode):
            raise OSError(errno.EINVAL, messages.NOT_REGULAR_FILE(), str(self.path))
        return file_stat

    def _has_settled(self, file_stat: os.stat_result) -> bool:
        if self._clock is None:
            return True
        return self._clock.now().timestamp() - file_stat.st_ctime > _SETTLED_S


def _version_of(file_stat: os.stat_result) -> _FileVersion:
    """Return a value that differs after the file has changed."""
    return file_stat.st_mtime_ns, file_stat.st_ctime_ns, file_stat.st_size, file_stat.st_ino


def read_first_line(path: Path) -> str:
    """Return the first line of a text file, without its end. Raises OSError, UnicodeDecodeError."""
    return path.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")


class PasswordFile:
    """The current first line of a file.

    Args:
        path: path of the file; a symbolic link is followed.
        key: the configuration key of the file, for messages.
        clock: determines the time since the last change of the file.
    """

    def __init__(self, path: Path, key: str, clock: Clock | None = None) -> None:
        self.path = path
        self._key = key
        self._file = WatchedFile(path, read_first_line, clock=clock or SystemClock())

    def read(self) -> str:
        """Return the password; it may be empty.

        Raises:
            ConfigError: the file cannot be read.
        """
        try:
            return self._file.read()
        except OSError as exc:
            raise ConfigError(
                messages.FILE_UNREADABLE(key=self._key, path=self.path, reason=exc.strerror),
                remedy=messages.GRANT_READ(),
            ) from exc
        except UnicodeDecodeError:  # its message would show the password
            raise ConfigError(messages.FILE_NOT_UTF8(key=self._key, path=self.path)) from None


def read_agent_password(file: PasswordFile | None) -> str:
    """Return the agent password, the first line of its file; empty if no file is configured.

    Raises:
        ConfigError: the file cannot be read or its first line is empty.
    """
    if file is None:
        return ""
    if not (password := file.read()).strip():
        raise ConfigError(
            messages.AGENT_PASSWORD_EMPTY(path=file.path),
            remedy=messages.WRITE_AGENT_PASSWORD(),
        )
    return password

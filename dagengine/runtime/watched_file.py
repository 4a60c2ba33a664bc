"""A password file that is read again only after it has changed, not for each request."""

from __future__ import annotations

from pathlib import Path

from dagengine.errors import ConfigError
from dagengine.runtime.clock import Clock, SystemClock

# A file that was changed more recently than this may change again with the same time stamp.
_SETTLED_S = 2.0

_Stamp = tuple[int, int, int, int]


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
        self._clock = clock or SystemClock()
        self._stamp: _Stamp | None = None
        self._text = ""

    def read(self) -> str:
        """Return the password; it may be empty.

        Raises:
            ConfigError: the file cannot be read.
        """
        try:
            found = self.path.stat()
            stamp = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
            if stamp != self._stamp:
                self._text = self.path.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
                settled = self._clock.now().timestamp() - found.st_ctime > _SETTLED_S
                self._stamp = stamp if settled else None
        except OSError as exc:
            raise ConfigError(
                f"cannot read {self._key} {self.path}: {exc.strerror}",
                remedy="let this user read it, or name another file",
            ) from exc
        except UnicodeDecodeError:  # its message would show the password
            raise ConfigError(f"cannot read {self._key} {self.path}: it is not UTF-8") from None
        return self._text


def read_agent_password(file: PasswordFile | None) -> str:
    """Return the agent password, the first line of its file; empty if no file is configured.

    Raises:
        ConfigError: the file cannot be read or its first line is empty.
    """
    if file is None:
        return ""
    if not (password := file.read()).strip():
        raise ConfigError(
            f"the first line of api.agent_password_file {file.path} is empty",
            remedy="write the agent password there, or remove the key: then there is only root@sys",
        )
    return password

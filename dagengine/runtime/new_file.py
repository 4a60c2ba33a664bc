"""Creation of files that no link planted by another user can divert.

A file is written completely under a random name, with O_EXCL and O_NOFOLLOW, before it gets its own
name. What has that name already is never opened: a symbolic link there is refused or replaced, but
not followed.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

from dagengine.runtime import messages

PRIVATE_MODE = 0o600

_EXCLUSIVE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)  # VFAT, some network file systems
_NAME_CHARS = 100  # of the name, within that of the draft


def create_file(path: Path, content: bytes = b"", *, mode: int = PRIVATE_MODE) -> None:
    """Create a file with its whole content.

    Raises:
        OSError: the file cannot be written, and nothing is left of it; FileExistsError if something
            has this name, even a link to nothing.
    """
    draft = _write_draft(path, content, mode)
    try:
        publish_file(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes, *, mode: int = PRIVATE_MODE) -> None:
    """Create a file or replace it; a symbolic link of this name is replaced, not followed.

    Raises:
        OSError: the file cannot be written; it is unchanged.
    """
    draft = _write_draft(path, content, mode)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def publish_file(draft: Path, path: Path) -> None:
    """Move a complete file to its own name, in the same file system, and replace nothing there.

    Raises:
        FileExistsError: something has this name, even a link to nothing.
        OSError: the file cannot be moved.
    """
    try:
        os.link(draft, path, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from exc
        draft.rename(path)
    else:
        draft.unlink()


def open_lock_file(path: str, flags: int) -> int:
    """Open or create a file that is kept for its lock; an opener for `open`.

    Raises:
        OSError: it is a symbolic link or not a regular file, or cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_MODE)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, messages.IS_LINK(), path) from exc
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, messages.NOT_REGULAR_FILE(), path)
    return descriptor


def is_dangling_link(path: Path) -> bool:
    """Return whether the path is a symbolic link to something that does not exist."""
    return path.is_symlink() and not path.exists()


def ensure_no_dangling_link(path: Path) -> None:
    """Raise OSError if the path is a symbolic link to something that does not exist."""
    if is_dangling_link(path):
        raise OSError(errno.ELOOP, messages.LINK_TO_NOTHING(), str(path))


def _write_draft(path: Path, content: bytes, mode: int) -> Path:
    draft = path.with_name(f".{path.name[:_NAME_CHARS]}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, _EXCLUSIVE, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask is
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft

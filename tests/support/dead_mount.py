"""A file system that stops answering, as NFS and FUSE do when their server is lost."""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.fake_servers import NOBODY

_HEADER = "<IIQQIIII"
_GETATTR, _INIT, _FORGET, _INTERRUPT, _BATCH_FORGET = 3, 26, 2, 36, 42
_ENOSYS = 38
_DETACH = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


class DeadMount:
    """An empty FUSE file system in this process; needs root and /dev/fuse.

    Only processes of an unprivileged user reach it, so that nothing else on the machine can hang.
    """

    def __init__(self, directory: Path, device: int) -> None:
        self.path = directory
        self._device = device
        self._answers = True
        self._stop = os.pipe()
        self._is_initialised = threading.Event()

    def die(self) -> None:
        """Stop answering: accesses hang in the kernel until the file system is closed."""
        self._answers = False

    def detach(self) -> None:
        """Remove it from every mount table, as `umount -l` does; processes in it stay there."""
        if _LIBC.umount2(bytes(self.path), _DETACH):
            raise OSError(ctypes.get_errno(), "umount")

    def wait_until_mounted(self) -> None:
        assert self._is_initialised.wait(10)

    def stop(self) -> None:
        """End `serve`."""
        os.write(self._stop[1], b".")

    def serve(self) -> None:
        """Answer the kernel until `stop`."""
        while True:
            ready, _, _ = select.select([self._device, self._stop[0]], [], [])
            if self._stop[0] in ready:
                return
            try:
                request = os.read(self._device, 1 << 20)
            except OSError:  # the request was withdrawn
                continue
            _, code, unique, *_ = struct.unpack(_HEADER, request[:40])
            if not self._answers or code in (_FORGET, _INTERRUPT, _BATCH_FORGET):
                continue
            error, body = _reply(code)
            try:
                os.write(self._device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)
            except OSError:
                continue
            if code == _INIT:
                self._is_initialised.set()


def find_missing() -> str:
    """Return what a dead mount needs and this machine lacks; empty if it has everything."""
    lacks = {
        "root": os.geteuid() != 0,
        "a writable /dev/fuse": not os.access("/dev/fuse", os.W_OK),
        "unshare (util-linux)": shutil.which("unshare") is None,
        "setpriv (util-linux)": shutil.which("setpriv") is None,
    }
    missing = ", ".join(what for what, is_lacking in lacks.items() if is_lacking)
    return f"this machine lacks {missing}" if missing else ""


@contextmanager
def mount(directory: Path) -> Iterator[DeadMount]:
    """Mount on a directory, which every user must be able to reach."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id={NOBODY},group_id={NOBODY}".encode()
    if _LIBC.mount(b"dead", bytes(directory), b"fuse", 6, options):
        os.close(device)
        raise OSError(ctypes.get_errno(), "mount")
    mounted = DeadMount(directory, device)
    thread = threading.Thread(target=mounted.serve, name="dead mount", daemon=True)
    thread.start()
    try:
        mounted.wait_until_mounted()
        yield mounted
    finally:
        mounted.stop()
        thread.join(10)
        _LIBC.umount2(bytes(directory), _DETACH)
        os.close(device)  # closing the last descriptor ends every hanging request


def _reply(code: int) -> tuple[int, bytes]:
    if code == _INIT:
        numbers = (7, 31, 65536, 0, 0, 0, 65536, 1, 0, 0, 0, *([0] * 7))
        return 0, struct.pack("<IIIIHHIIHHI7I", *numbers)
    if code == _GETATTR:
        attributes = (1, 4096, 8, 0, 0, 0, 0, 0, 0, 0o40777, 2, NOBODY, NOBODY, 0, 4096, 0)
        return 0, struct.pack("<QII", 0, 0, 0) + struct.pack("<QQQQQQIIIIIIIIII", *attributes)
    return -_ENOSYS, b""

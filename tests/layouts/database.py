"""A row in the real database of a layout; reading it later proves that the database is the same."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql

from tests.layouts.real_seekdb import RealSeekdb

_DEADLINE_S = 60.0
_STEP_S = 0.05
_ANSWER_BOUND_S = 10.0


def write_row(home: Path, password: str, word: str) -> None:
    """Write a row into a server right after its first boot, and set root's password.

    Args:
        home: the server's home; root has no password yet.
        password: the password to set.
        word: content of the row.
    """
    with _connect(home, "") as cursor:
        cursor.execute("CREATE DATABASE layouts")
        cursor.execute("CREATE TABLE layouts.evidence (word VARCHAR(64))")
        cursor.execute("INSERT INTO layouts.evidence VALUES (%s)", (word,))
        cursor.execute("COMMIT")
        cursor.execute("ALTER USER root IDENTIFIED BY %s", (password,))


def read_row(home: Path, password: str) -> str:
    """Return the row's content; the server may still be booting.

    Raises:
        OSError, pymysql.Error: the server does not respond, or has no such table.
    """
    begun_s = time.monotonic()
    while True:
        try:
            with _connect(home, password) as cursor:
                cursor.execute("SELECT word FROM layouts.evidence")
                ((word,),) = cursor.fetchall()
                return str(word)
        except (OSError, pymysql.OperationalError):
            if time.monotonic() - begun_s > _DEADLINE_S:
                raise
            time.sleep(_STEP_S)


def boot_with_row(password: str, word: str) -> Callable[[RealSeekdb], None]:
    """Return a replacement of `RealSeekdb.wait_until_booted` that writes the row as well."""
    wait_until_booted = RealSeekdb.wait_until_booted

    def wait(server: RealSeekdb) -> None:
        wait_until_booted(server)
        write_row(server.home, password, word)

    return wait


@contextmanager
def _connect(home: Path, password: str) -> Iterator[pymysql.cursors.Cursor]:
    # pymysql does not close a socket that it created and could not connect.
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(_ANSWER_BOUND_S)
        stream.connect(str(home / "run/sql.sock"))
        connection = pymysql.Connection(user="root", password=password, defer_connect=True)
        connection.connect(stream)
        with connection, connection.cursor() as cursor:
            yield cursor

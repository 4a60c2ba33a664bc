"""Exit with 0 if the controller at a unix socket works, as a health check: `healthcheck.py SOCKET`.

It needs the standard library only.
"""

from __future__ import annotations

import socket
import sys

TIMEOUT_S = 5.0
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def main(path: str) -> int:
    """Return 0 if /healthz responds with 200, else 1 after printing the reason."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(path)
            connection.sendall(REQUEST)
            status_line = connection.makefile("rb").readline().decode("ascii", "replace").strip()
    except OSError as exc:
        sys.stderr.write(f"{path}: {exc}\n")
        return 1
    sys.stdout.write(f"{status_line}\n")
    return 0 if status_line.split()[1:2] == ["200"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

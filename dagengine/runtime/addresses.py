"""`host:port`, with brackets around an IPv6 address: the one parser and the one renderer.

Two other notations are in the modules that need them: the names of hosts in a known_hosts file
(`remote/ssh/known_hosts.py`) and the addresses of a request, which are read as OBShell reads them
(`tasks/cluster/scope.py`).
"""

from __future__ import annotations

from dagengine.runtime import messages


def render_host_port(host: str, port: int) -> str:
    """Render `host:port`, or `[ip]:port` for an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_host_port(text: str) -> tuple[str, int]:
    """Parse `host:port` or `[ip]:port`; the range of the port is not checked.

    Raises:
        ValueError: the text has no port, or an IPv6 address has no brackets.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(messages.NOT_ADDRESS())
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        raise ValueError(messages.IPV6_WITHOUT_BRACKETS())
    return host, int(port)

"""Why an sshd does not permit a forwarded connection.

After a login, OpenSSH's sshd sends the options of the accepted line of authorized_keys, as shown by
`ssh -v`: `FILE:LINE: key options: agent-forwarding port-forwarding pty …`.
"""

from __future__ import annotations

import re

import asyncssh

from dagengine.errors import ForwardingProhibited
from dagengine.remote import messages
from dagengine.remote.runner import HostAddress
from dagengine.runtime.addresses import render_host_port

_KEY_OPTIONS = re.compile(r"(?P<line>\S.*:[0-9]+): key options:(?P<options>.*)")
_INFO_NAME = "dagengine_key_options"


class ForwardingClient(asyncssh.SSHClient):
    """Keeps what sshd reports about the key's options; see `key_options_of`."""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn

    def debug_msg_received(self, msg: str, lang: str, always_display: bool) -> None:
        if _KEY_OPTIONS.match(msg):
            self._connection.set_extra_info(**{_INFO_NAME: msg})


def key_options_of(connection: asyncssh.SSHClientConnection) -> str:
    """Return sshd's report about the options of the key; empty if there was none."""
    return str(connection.get_extra_info(_INFO_NAME, ""))


def forwarding_prohibited_error(
    address: HostAddress, host: str, port: int, key_options: str
) -> ForwardingProhibited:
    """Build the error for a connection to `host:port` that names the setting.

    `key_options` is what `key_options_of` returned.
    """
    destination = render_host_port(host, port)
    match = _KEY_OPTIONS.match(key_options)
    options = match["options"].split() if match else []
    if match is None:
        remedy = messages.PERMIT_FORWARDING(user=address.user, destination=destination)
    elif "port-forwarding" not in options:
        remedy = messages.DROP_RESTRICT(line=match["line"])
    elif "permitopen" in options:
        remedy = messages.PERMIT_OPEN(line=match["line"], destination=destination)
    else:
        remedy = messages.PERMIT_IN_SSHD_CONFIG(destination=destination)
    return ForwardingProhibited(
        messages.HOST_PROHIBITS_FORWARDING(address=address, destination=destination),
        host=str(address),
        remedy=remedy,
    )

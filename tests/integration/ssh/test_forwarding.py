"""A host whose sshd permits no connection to a port: the error names the setting."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dagengine import SystemClock
from dagengine.errors import ForwardingProhibited
from dagengine.remote.ssh.runner import SshRunner
from tasks.preflight.inspect import gather_facts
from tests.support.factories import make_server
from tests.support.sshd import MISSING, SshLab

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

PORT = 2881


async def runner_with(lab: SshLab, pool, lines: tuple[str, ...], options: str) -> SshRunner:
    host, key = await lab.sshd(*lines), await lab.key("key")
    public = Path(f"{key}.pub").read_text()
    (host.directory / "authorized_keys").write_text(f"{options} {public}")
    return pool.runner(lab.address(host, key_file=key))


@pytest.mark.parametrize(
    ("lines", "options", "setting"),
    [
        (("AllowTcpForwarding no",), "", "sshd_config: AllowTcpForwarding"),
        (("AllowTcpForwarding remote",), "", "sshd_config: AllowTcpForwarding"),
        (("DisableForwarding yes",), "", "DisableForwarding"),
        (("PermitOpen 192.0.2.1:80",), "", "PermitOpen"),
        ((), "restrict", "authorized_keys:1 there"),
        ((), "no-port-forwarding", "no-port-forwarding from"),
        ((), 'permitopen="127.0.0.1:1"', f"add 127.0.0.1:{PORT} to permitopen in"),
    ],
)
async def test_forwarding_prohibited_names_setting(lab, ssh_pool, lines, options, setting):
    runner = await runner_with(lab, ssh_pool, lines, options)
    with pytest.raises(ForwardingProhibited) as caught:
        await runner.ensure_forwarding("127.0.0.1", PORT)
    assert caught.value.host == str(runner.address)
    assert f"does not permit connections to 127.0.0.1:{PORT}" in caught.value.message
    assert setting in caught.value.remedy


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        ((), ""),
        (("AllowTcpForwarding local",), ""),
        (("AllowStreamLocalForwarding no",), ""),
        ((f"PermitOpen 127.0.0.1:{PORT}",), ""),
        ((), "restrict,port-forwarding"),
    ],
)
async def test_forwarding_permitted_returns(lab, ssh_pool, lines, options):
    runner = await runner_with(lab, ssh_pool, lines, options)
    await runner.ensure_forwarding("127.0.0.1", PORT)  # where nothing listens

    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    if not lines:
        async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await runner.ensure_forwarding("127.0.0.1", port)


@pytest.mark.parametrize(
    ("lines", "is_prohibited"), [((), False), (("AllowTcpForwarding no",), True)]
)
async def test_gather_facts_reports_prohibited_forwarding(
    lab, ssh_pool, tmp_path, lines, is_prohibited
):
    """Stage 2 of a start reports it, before the server is started."""
    runner = await runner_with(lab, ssh_pool, lines, "")
    server = make_server(home=str(tmp_path), sql_port=PORT)
    facts = await gather_facts(server, runner, SystemClock())
    assert ("AllowTcpForwarding" in facts.forwarding_remedy) is is_prohibited
    assert (f"127.0.0.1:{PORT}" in facts.forwarding_problem) is is_prohibited

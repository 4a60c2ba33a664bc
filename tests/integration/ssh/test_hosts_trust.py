"""`dagengine hosts trust` against real sshds; a changed key is never trusted silently."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dagengine.cli import main
from dagengine.remote.command import Command
from tests.support.sshd import MISSING, Sshd, SshLab, run, user_name

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@dataclass(frozen=True, slots=True)
class TrustResult:
    """Output of the command."""

    code: int
    printed: str
    document: Mapping[str, Any]

    def states(self) -> list[tuple[str, bool]]:
        return [(host["state"], host["pinned"]) for host in self.document["hosts"]]


@pytest.fixture
def trust(
    lab: SshLab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Awaitable[TrustResult]]:
    """Run the command with `answer` as the standard input."""

    async def run_trust(*options: str, answer: str = "") -> TrustResult:
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        cluster = str(lab.directory / "cluster.yaml")
        code = await asyncio.to_thread(
            main, ["hosts", "trust", "--json", "--cluster", cluster, *options]
        )
        out, err = capsys.readouterr()
        return TrustResult(code, err, json.loads(out) if out else {})

    return run_trust


def write_cluster(lab: SshLab, *hosts: Sshd, **ssh: object) -> None:
    entries = [
        {"ip": host.ip, "agent_port": 3000 + n, "sql_port": 4000 + n, "ssh": {"port": host.port}}
        for n, host in enumerate(hosts)
    ]
    content = {
        "name": "c",
        "id": 1,
        "flavour": "seekdb",
        "ssh": {"user": user_name(), "known_hosts": "known_hosts", **ssh},
        "defaults": {"home": "/h"},
        "zones": {"z": entries},
    }
    (lab.directory / "cluster.yaml").write_text(yaml.safe_dump(content))


async def fingerprint(host: Sshd) -> str:
    return (await run("ssh-keygen", "-l", "-f", str(host.host_key))).split()[1]


async def renew_key(host: Sshd) -> None:
    await host.stop()
    for file in (host.host_key, host.host_key.with_suffix("")):
        file.unlink()
    options = ("-q", "-t", "ecdsa", "-N", "", "-f", str(host.host_key.with_suffix("")))
    await run("ssh-keygen", *options)
    await host.start()


async def test_hosts_trust_confirmed_pins_new_keys(lab, trust, ssh_pool):
    hosts = [await lab.sshd(known=False) for _ in range(2)]
    write_cluster(lab, *hosts)
    refused = await trust(answer="\n")
    assert (refused.code, lab.known_hosts.read_text()) == (1, "")
    for host in hosts:
        assert await fingerprint(host) in refused.printed
    assert "Pin these 2 keys? [y/N]" in refused.printed

    confirmed = await trust(answer="y\n")
    assert confirmed.code == 0
    assert confirmed.states() == [("new", True), ("new", True)]
    key = await lab.key("key")
    lab.let_in(key, *hosts)
    for host in hosts:
        address = lab.address(host, key_file=key)
        done = await ssh_pool.runner(address).run(Command(("true",)), timeout_s=30)
        assert done.exit_status == 0

    before = lab.known_hosts.read_text()
    repeated = await trust()
    assert (repeated.code, repeated.states()) == (0, [("known", False), ("known", False)])
    assert lab.known_hosts.read_text() == before
    assert "Pin" not in repeated.printed


async def test_hosts_trust_yes_keeps_changed_key_until_replace(lab, trust):
    changed, new = await lab.sshd(), await lab.sshd(known=False)
    before = lab.known_hosts.read_text()
    old_fingerprint = await fingerprint(changed)
    await renew_key(changed)
    write_cluster(lab, changed, new)
    result = await trust("--yes")
    assert result.code == 1
    assert result.states() == [("changed", False), ("new", True)]
    assert result.document["hosts"][0]["pinned_before"] == [old_fingerprint]
    assert f"--replace '127.0.0.1:{changed.port}'" in result.printed
    assert lab.known_hosts.read_text().startswith(before)

    unknown_host = await trust("--yes", "--replace", "10.9.9.9")
    assert unknown_host.code == 2
    assert "does not contain this host" in unknown_host.printed
    result = await trust("--yes", "--replace", f"127.0.0.1:{changed.port}")
    assert (result.code, result.states()) == (0, [("changed", True), ("known", False)])
    assert before not in lab.known_hosts.read_text()
    assert (await trust()).code == 0


async def test_hosts_trust_pins_bastion_before_host_behind_it(lab, trust):
    bastion, host = await lab.sshd(known=False), await lab.sshd(known=False)
    key = await lab.key("key")
    lab.let_in(key, bastion)
    jump = f"{user_name()}@127.0.0.1:{bastion.port}"
    write_cluster(lab, host, jump=jump, key_file="key")
    declined = await trust(answer="n\n")
    assert declined.code == 1
    assert [state for state, _ in declined.states()] == ["new", "unreachable"]
    assert "the bastion of" in declined.document["hosts"][1]["problem"]

    result = await trust(answer="y\ny\n")
    assert (result.code, result.states()) == (0, [("new", True), ("new", True)])
    assert [h["via"] for h in result.document["hosts"]] == [None, f"127.0.0.1:{bastion.port}"]
    assert host.logins() == 0


async def test_hosts_trust_unreachable_host_does_not_block_others(lab, trust):
    down, host = await lab.sshd(known=False), await lab.sshd(known=False)
    await down.stop()
    write_cluster(lab, down, host)
    result = await trust("--yes")
    assert (result.code, result.states()) == (1, [("unreachable", False), ("new", True)])
    assert "cannot be reached" in result.document["hosts"][0]["problem"]


async def test_hosts_trust_certified_host_needs_no_pin(lab, trust):
    authority, host = await lab.key("authority"), await lab.sshd(known=False)
    options = ("-q", "-s", str(authority), "-I", "id", "-h", "-n", "127.0.0.1")
    await run("ssh-keygen", *options, str(host.host_key))
    await host.stop()
    host.lines = (f"HostCertificate {host.directory}/host_key-cert.pub",)
    await host.start()
    public = Path(f"{authority}.pub").read_text()
    lab.known_hosts.write_text(f"@cert-authority [127.0.0.1]:* {public}")
    write_cluster(lab, host)
    result = await trust()
    assert (result.code, result.states()) == (0, [("certified", False)])


async def test_hosts_trust_reads_cluster_file_of_engine_file(lab):
    host = await lab.sshd(known=False)
    write_cluster(lab, host)
    (lab.directory / "engine.yaml").write_text("cluster: cluster.yaml\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dagengine", "hosts", "trust", "--yes"),
        *("-c", str(lab.directory / "engine.yaml")),
        env={k: v for k, v in os.environ.items() if not k.startswith("DAGENGINE_")},
        stderr=asyncio.subprocess.PIPE,
    )
    await process.communicate()
    assert process.returncode == 0
    assert host.name in lab.known_hosts.read_text()


def disconnect(text: bytes) -> bytes:
    """Return the first bytes of a server: its version and a DISCONNECT packet with this reason."""
    size = len(text).to_bytes(4, "big")
    payload = b"\x01" + (2).to_bytes(4, "big") + size + text + (0).to_bytes(4, "big")
    padding = 16 - (len(payload) + 5) % 8
    length = (len(payload) + 1 + padding).to_bytes(4, "big")
    return b"SSH-2.0-x\r\n" + length + bytes([padding]) + payload + bytes(padding)


@pytest.mark.parametrize(
    "greeting",
    [
        disconnect(b"\x1b]0;own\x07\x1b[2J\nFORGED\xc2\x9b31m\xe2\x80\xae"),
        b"SSH-1.0-\x1b]0;own\x07\x1b[2J\r\n",
        b"\x1b[2JFORGED\r\n" * 3 + b"not SSH \x1b[31m\r\n",
    ],
    ids=["disconnect", "version", "banner"],
)
async def test_trust_text_of_unknown_peer_is_escaped(
    lab: SshLab,
    trust: Callable[..., Awaitable[TrustResult]],
    greeting: bytes,
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await reader.read(4096)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1")
    async with server:
        port = server.sockets[0].getsockname()[1]
        content = {
            "name": "c",
            "id": 1,
            "flavour": "seekdb",
            "defaults": {"home": "/h"},
            "ssh": {"user": user_name(), "known_hosts": "known_hosts"},
            "zones": {"z": [{"ip": "127.0.0.1", "ssh": {"port": port}}]},
        }
        (lab.directory / "cluster.yaml").write_text(yaml.safe_dump(content))
        result = await trust()
    assert result.code == 1
    lines = result.printed.splitlines()
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("FORGED") for line in lines)
    assert result.document["hosts"][0]["problem"].isprintable()


async def test_hosts_trust_creates_missing_file_safely(lab, trust):
    host = await lab.sshd(known=False)
    write_cluster(lab, host, known_hosts="keys/known_hosts")
    file = lab.directory / "keys" / "known_hosts"
    lab.known_hosts.unlink()
    assert (await trust("--yes")).states() == [("new", True)]
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert (await trust()).states() == [("known", False)]

    file.unlink()
    file.symlink_to(lab.directory / "planted")
    refused = await trust("--yes")
    assert refused.code == 2
    assert "a symbolic link to a file that does not exist" in refused.printed
    assert not (lab.directory / "planted").exists()


async def test_hosts_trust_reports_skipped_lines(lab, trust):
    host = await lab.sshd()
    lab.known_hosts.write_bytes(b"=======\n" + lab.known_hosts.read_bytes() + b"# caf\xe9\n")
    write_cluster(lab, host)
    result = await trust()
    assert (result.code, result.states()) == (0, [("known", False)])
    assert f"line 1 of {lab.known_hosts} is skipped" in result.printed

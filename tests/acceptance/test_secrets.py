"""No output contains a secret, in full runs with failures.

`secret_leak_scan.py` lists the searched places and the secrets.
"""

from __future__ import annotations

import json
import secrets
import subprocess

import pytest

from dagengine.client import Client, signing
from dagengine.security.replay import KEYS_BYTES
from tasks.demo.cluster import DemoCluster
from tasks.demo.hosts import DemoHosts
from tests.acceptance.conftest import ClusterTestbed, all_log_lines, wait_dag
from tests.acceptance.obd_clusters import ObdSeekdb
from tests.acceptance.secret_leak_scan import (
    SECRETS,
    TrafficRecorder,
    backup_controller,
    find_leaks,
    preview_and_stop,
    read_everything,
    run_client_commands,
    run_file_commands,
    send_refused_requests,
)
from tests.support.sshd import MISSING, PROGRAMS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


def break_cluster(testbed: ClusterTestbed) -> None:
    """A locked key with the wrong passphrase, and a second server that cannot boot."""
    cluster = testbed.cluster
    key = cluster.server_entry(0)["ssh"]["key_file"]
    command = [str(PROGRAMS["ssh-keygen"]), "-q", "-p", "-P", "", "-N", SECRETS["key passphrase"]]
    subprocess.run([*command, "-f", key], check=True)
    for number in range(2):
        cluster.server_entry(number)["ssh"]["key_passphrase_file"] = "passphrase"
    (cluster.directory / "passphrase").write_text(SECRETS["wrong passphrase"])
    cluster.server_entry(1)["start_options"] = {"memory_limit": "2G", "log_disk_size": "1G"}
    cluster.write()
    engine = cluster.engine_file
    (cluster.directory / "agent_password").write_text(SECRETS["agent password"])
    engine.write_text(
        engine.read_text().replace("api:\n", "api:\n  agent_password_file: agent_password\n", 1)
    )


def fix(testbed: ClusterTestbed, *, passphrase: bool = False, options: bool = False) -> None:
    if passphrase:
        file = testbed.cluster.directory / "passphrase"
        file.write_text(SECRETS["key passphrase"] + "\n")
    if options:
        del testbed.cluster.server_entry(1)["start_options"]
        testbed.cluster.write()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Record the keys of every call signed in this process."""
    made: list[bytes] = []
    token_bytes = secrets.token_bytes

    def keep(size: int) -> bytes:
        new = token_bytes(size)
        if size == KEYS_BYTES:  # an idempotency key is generated in the same way, but is not secret
            made.append(new)
        return new

    monkeypatch.setattr(signing.secrets, "token_bytes", keep)
    return made


async def run_with_troubles(testbed: ClusterTestbed, client: Client, url: str) -> None:
    """Refused logins, a failed start, two RETRYs and a success, then all outputs."""
    dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
    assert dag["state"] == "FAILED"
    assert "the passphrase for the key file" in json.dumps(dag)
    fix(testbed, passphrase=True)
    await client.operate_dag(dag["id"], "RETRY", reason="the passphrase is corrected")
    dag = await wait_dag(client, dag["id"])
    assert dag["state"] == "FAILED"
    assert "root had no password; set the configured one" in json.dumps(dag)
    fix(testbed, options=True)
    await client.operate_dag(dag["id"], "RETRY", reason="the options are corrected")
    dag = await wait_dag(client, dag["id"])
    assert dag["state"] == "SUCCEED", all_log_lines(dag)
    await read_everything(client, url, dag)


async def test_secrets_of_cluster_appear_in_no_output(keys: list[bytes]) -> None:
    async with DemoHosts(2) as hosts:
        testbed = ClusterTestbed(hosts, DemoCluster(hosts, password=SECRETS["root password"]))
        break_cluster(testbed)
        recorder = TrafficRecorder(int(testbed.cluster.url.rpartition(":")[2]))
        output = await run_file_commands(testbed)
        await testbed.start_controller()
        try:
            async with recorder.opened() as url:
                async with Client(url, testbed.cluster.password) as client:
                    await run_with_troubles(testbed, client, url)
                    output += await run_file_commands(testbed)
                    stopped = await preview_and_stop(client)
                    await read_everything(client, url, stopped)
                output += await run_client_commands(
                    testbed, stopped["id"]
                ) + await backup_controller(testbed)
                await send_refused_requests(url)
        finally:
            await testbed.end_controller()
        leaks = find_leaks(testbed, recorder, keys, output, {"passphrase", "agent_password"})

    assert b"wrongword-90ab13de" in recorder.sent_bytes  # the relay does see what is sent
    assert len(keys) > 20
    assert leaks == []


async def test_secrets_of_obd_file_appear_only_in_it(keys: list[bytes]) -> None:
    async with DemoHosts(1) as hosts:
        cluster = ObdSeekdb(hosts, password=SECRETS["root password"])
        cluster.entries["user"]["password"] = SECRETS["obd's password of the user"]
        other = SECRETS["obd's password of another component"]
        cluster.entries["seekdb"]["global"]["proxyro_password"] = other
        cluster.entries["obproxy-ce"] = {"global": {"obproxy_sys_password": other}}
        cluster.write()
        (cluster.directory / ".ssh" / "known_hosts").unlink()
        testbed = ClusterTestbed(hosts, cluster)
        recorder = TrafficRecorder(int(cluster.url.rpartition(":")[2]))
        output = await run_file_commands(testbed)  # it pins the host's key, too
        await testbed.start_controller()
        try:
            async with recorder.opened() as url:
                async with Client(url, cluster.password) as client:
                    dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
                    assert dag["state"] == "SUCCEED", all_log_lines(dag)
                    await read_everything(client, url, dag)
                    output += await run_file_commands(testbed)
                    await read_everything(client, url, await preview_and_stop(client))
                output += await run_client_commands(testbed, dag["id"]) + await backup_controller(
                    testbed
                )
                await send_refused_requests(url)
        finally:
            await testbed.end_controller()
        leaks = find_leaks(testbed, recorder, keys, output, {"cluster.yaml"})

    assert b"is in this file in clear" in output
    assert leaks == []

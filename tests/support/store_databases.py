"""Real database servers for shared stores: seekdb of the wheel, and Debian's MariaDB."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path

import pytest

from dagengine.errors import StoreUnavailable
from dagengine.model.fencing import Ownership, StoreIdentity
from dagengine.mysql import Connection, MysqlError, Options, open_connection
from dagengine.store.mysql.clusters import NewCluster, create_cluster
from dagengine.store.mysql.connection import open_store_connection
from dagengine.store.mysql.migrate import migrate_store
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.store import MysqlStore
from dagengine.testing import eventually
from tasks.demo.cluster import find_seekdb
from tasks.demo.hosts import LOOPBACK, free_port
from tasks.demo.reaper import ProcessReaper
from tests.support.authority import Authority

STORE_ID = "00112233445566778899aabbccddeeff"
CONTROLLER = 7
"""Id of the controller that owns the clusters of the tests."""

_SEEKDB_PARAMETERS = {
    "memory_limit": "1G",
    "datafile_size": "2G",
    "log_disk_size": "2G",
    "ssl_client_authentication": "True",  # offer TLS
}
_READY_BOUND_S = 120.0


@dataclass(frozen=True)
class StoreDatabase:
    """A database with the schema of a store; each test uses clusters of its own.

    Attributes:
        settings: its address and account.
        home: the home of the seekdb server; None for another server.
        authority: has signed the server's certificate, for 127.0.0.1 only.
    """

    settings: MysqlSettings
    home: Path | None = None
    authority: Authority | None = None
    _numbers: Iterator[int] = field(default_factory=count)

    async def own_cluster(self, name: str | None = None, epoch: int = 1) -> Ownership:
        """Create a cluster that CONTROLLER owns."""
        name = f"cluster{next(self._numbers)}" if name is None else name
        connection = await open_store_connection(self.settings)
        try:
            identity = StoreIdentity(STORE_ID, epoch)
            await create_cluster(
                connection, NewCluster(name, 1, "seekdb", "2886 127.0.0.1", identity)
            )
            await connection.query(
                f"UPDATE cluster SET owner = {CONTROLLER:d} WHERE name = '{name}'"
            )
        finally:
            connection.close()
        return Ownership(name, CONTROLLER, epoch, 0)

    async def take_cluster(self, name: str) -> Ownership:
        """Let CONTROLLER take over an existing cluster."""
        await self.query(
            f"UPDATE cluster SET owner = {CONTROLLER:d}, epoch = epoch + 1, "
            f"commit_no = commit_no + 1 WHERE name = '{name}'"
        )
        ((epoch, number),) = await self.query(
            f"SELECT epoch, commit_no FROM cluster WHERE name = '{name}'"
        )
        return Ownership(name, CONTROLLER, int(str(epoch)), int(str(number)))

    async def make_database(self, name: str) -> StoreDatabase:
        """Return another database of the same server, with the schema of a store."""
        await self.query(f"CREATE DATABASE IF NOT EXISTS {name}")
        settings = replace(self.settings, database=name)
        await migrate_store(settings)
        return StoreDatabase(settings)

    async def forget_identity(self) -> None:
        """Let the next store that is opened pin the address at which it finds the server.

        A MariaDB server is identified by its address only, and a proxy has another one.
        """
        await self.query("DELETE FROM meta WHERE name = 'store_identity'")

    async def make_store(self) -> MysqlStore:
        """Return a store that is not yet open, for a new cluster."""
        return MysqlStore(self.settings, await self.own_cluster())

    @property
    def ca_file(self) -> Path:
        """Return the certificate of the server's authority."""
        assert self.authority is not None
        return self.authority.file

    async def query(self, statement: str) -> Sequence[tuple[object, ...]]:
        """Execute a statement on a connection of its own."""
        connection: Connection = await open_store_connection(self.settings)
        try:
            return (await connection.query(statement)).rows
        finally:
            connection.close()


@contextmanager
def run_seekdb() -> Iterator[StoreDatabase]:
    """Run the seekdb server of the wheel with an empty store; it offers TLS."""
    reaper = ProcessReaper("dagengine-store-")
    try:
        home, port = reaper.directory / "seekdb", free_port()
        home.mkdir()
        reaper.watch_home(home)
        authority = _fill_wallet(home)
        options = (("--parameter", f"{name}={value}") for name, value in _SEEKDB_PARAMETERS.items())
        command = [str(find_seekdb()), "--base-dir", str(home), "--port", str(port)]
        _run([*command, *chain.from_iterable(options)])
        yield replace(_prepare(port), home=home, authority=authority)
    finally:
        reaper.close()


@contextmanager
def run_mariadb() -> Iterator[StoreDatabase]:
    """Run Debian's MariaDB server with an empty store; it offers TLS.

    Skip the test if the server is not installed.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    server, installer = (
        shutil.which(name, path=path) for name in ("mariadbd", "mariadb-install-db")
    )
    if server is None or installer is None:
        pytest.skip("mariadb-server is not installed")
    reaper = ProcessReaper("dagengine-store-")
    try:
        data, port = reaper.directory / "data", free_port()
        user = ["--user=root"] if os.geteuid() == 0 else []
        common = ["--no-defaults", f"--datadir={data}", *user]
        install = [installer, *common, "--skip-test-db"]
        _run([*install, "--auth-root-authentication-method=normal"])
        place = [f"--socket={reaper.directory / 'socket'}", f"--port={port}"]
        authority = Authority(reaper.directory, "authority")
        certificate, key = authority.issue("server")
        tls = [f"--ssl-ca={authority.file}", f"--ssl-cert={certificate}", f"--ssl-key={key}"]
        process = subprocess.Popen(
            [server, *common, *place, *tls, "--skip-log-bin", f"--bind-address={LOOPBACK}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        reaper.watch_process(process.pid)
        try:
            yield replace(_prepare(port), authority=authority)
        finally:
            process.kill()
            process.wait()
    finally:
        reaper.close()


def _fill_wallet(home: Path) -> Authority:
    """Write the certificate, which seekdb reads when it starts."""
    wallet = home / "wallet"
    wallet.mkdir()
    authority = Authority(wallet, "ca")
    certificate, key = authority.issue("server")
    authority.file.rename(wallet / "ca.pem")
    authority.file = wallet / "ca.pem"
    certificate.rename(wallet / "server-cert.pem")
    key.rename(wallet / "server-key.pem")
    return authority


def _run(command: Sequence[str]) -> None:
    quiet = subprocess.DEVNULL
    subprocess.run(command, stdout=quiet, stderr=quiet, check=True)


def _prepare(port: int) -> StoreDatabase:
    """Wait for the server and create the schema, in a thread without a running event loop."""
    settings = MysqlSettings(LOOPBACK, port, "root", "dagengine")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, _create(settings)).result()
    return StoreDatabase(settings)


async def _create(settings: MysqlSettings) -> None:
    address = (settings.host, settings.port)

    async def has_database() -> bool:
        try:
            async with open_connection(
                address, user=settings.user, password="", options=Options()
            ) as connection:
                await connection.query(f"CREATE DATABASE IF NOT EXISTS {settings.database}")
            await migrate_store(settings)
        except (MysqlError, StoreUnavailable):
            return False
        return True

    await eventually(has_database, timeout_s=_READY_BOUND_S, every_s=0.2)

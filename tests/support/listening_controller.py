"""A controller with any section `api`, and a certificate authority for its listener."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dagengine.server.config import load_config
from dagengine.server.controller import Controller, run_controller
from tasks import EXTENSION
from tasks.demo.hosts import free_port

PASSWORD = "r00t-p@ss"
CLUSTER = """
name: x
id: 1
flavour: seekdb
root_password_file: password
ssh: {port: 1}
zones: {z1: [{ip: 127.0.0.1, home: /srv/seekdb}]}
"""


@asynccontextmanager
async def open_controller(directory: Path, **api: Any) -> AsyncIterator[Controller]:
    """A controller with these keys of the engine file's section `api`."""
    (directory / "password").write_text(PASSWORD)
    (directory / "cluster.yaml").write_text(CLUSTER)
    port = free_port()
    section = {"host": "127.0.0.1", "port": port, "advertise": f"127.0.0.1:{port}"} | api
    engine = {"api": section, "store": {"path": "store.sqlite"}, "cluster": "cluster.yaml"}
    (directory / "engine.yaml").write_text(json.dumps(engine))
    async with run_controller(load_config(directory / "engine.yaml", {}), [EXTENSION]) as opened:
        yield opened


class Authority:
    """Signs certificates."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.file = directory / f"{name}.crt"
        certificate = self._sign(self._name, self._key.public_key(), is_authority=True)
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key files for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), is_authority=False)
        cert_file, key_file = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return cert_file, key_file

    def _sign(self, subject: x509.Name, key: Any, *, is_authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )
        if not is_authority:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())

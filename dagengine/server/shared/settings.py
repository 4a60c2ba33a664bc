"""The database that an engine file names."""

from __future__ import annotations

import hashlib

from dagengine.security.server_key import ServerKey
from dagengine.server.config import EngineConfig
from dagengine.store.mysql.settings import MysqlSettings, parse_store_url


def read_settings(config: EngineConfig) -> MysqlSettings:
    """Return the database that the engine file names.

    Raises:
        ConfigError: the URL, the password file or the CA file cannot be used.
    """
    store = config.store
    assert store.url is not None
    return parse_store_url(
        store.url,
        password_file=store.password_file,
        tls_ca_file=store.tls_ca_file,
        lease_s=store.lease_s,
    )


def render_fingerprint(key: ServerKey) -> str:
    """Return the fingerprint of the RSA key, which all controllers of a store must have."""
    return hashlib.sha256(key.public_key.encode()).hexdigest()

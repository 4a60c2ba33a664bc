"""The engine file. Environment variables override it, it overrides defaults; unknown keys fail."""

from __future__ import annotations

from dagengine.server.config.engine_config import SERVICE, ClusterConfig, EngineConfig
from dagengine.server.config.engine_file import (
    ENGINE_FILES,
    ENV_PREFIX,
    find_engine_file,
    load_config,
)
from dagengine.server.config.sections import (
    NO_SOCKET,
    ApiConfig,
    ClusterEntry,
    NoPasswordConsent,
    PlaintextConsent,
    ServiceConfig,
    StoreConfig,
)

__all__ = [
    "ENGINE_FILES",
    "ENV_PREFIX",
    "NO_SOCKET",
    "SERVICE",
    "ApiConfig",
    "ClusterConfig",
    "ClusterEntry",
    "EngineConfig",
    "NoPasswordConsent",
    "PlaintextConsent",
    "ServiceConfig",
    "StoreConfig",
    "find_engine_file",
    "load_config",
]

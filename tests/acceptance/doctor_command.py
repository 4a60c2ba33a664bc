"""`dagengine doctor` as an administrator runs it, and its findings."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from tests.acceptance.conftest import ClusterTestbed


async def doctor(testbed: ClusterTestbed, *options: str) -> tuple[int, dict[str, Any]]:
    """Run the command in a separate process; return its exit code and document."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dagengine", "doctor", "-c", str(testbed.cluster.engine_file)),
        *("--json", *options),
        env=testbed.cluster.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(output)


def find_entry(document: dict[str, Any], subject: str, check: str) -> dict[str, Any]:
    entries = [e for e in document["found"] if (e["subject"], e["check"]) == (subject, check)]
    assert len(entries) == 1, document
    entry: dict[str, Any] = entries[0]
    return entry

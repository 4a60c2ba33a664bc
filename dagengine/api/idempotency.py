"""The header that identifies a repeated request."""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel

from dagengine.errors import IllegalArgument
from dagengine.model.operation import IdempotencyKey

IDEMPOTENCY_KEY = "Idempotency-Key"
_LIMIT = 200  # characters; a UUID has 36


def parse_key(text: str | None, *, route: str, body: BaseModel) -> IdempotencyKey | None:
    """Parse the idempotency key of a request that creates a DAG; None if the header is absent.

    The key contains a digest of route and body, so that its reuse for another request is detected.

    Args:
        text: value of the header.
        route: method and path of the request.
        body: the validated body; the order of its fields and omitted defaults do not change the
            digest.

    Raises:
        IllegalArgument: the value is not 1 to 200 visible ASCII characters.
    """
    if text is None:
        return None
    if not (0 < len(text) <= _LIMIT and text.isascii() and text.isprintable() and " " not in text):
        raise IllegalArgument(
            f"the header {IDEMPOTENCY_KEY} has {len(text)} characters, or some that are not taken",
            remedy=f"send 1 to {_LIMIT} visible ASCII characters, such as a UUID",
        )
    asked = json.dumps([route, body.model_dump(mode="json", by_alias=True)], sort_keys=True)
    return IdempotencyKey(text, hashlib.sha256(asked.encode()).hexdigest())

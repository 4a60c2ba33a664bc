"""Hooks of schemathesis that sign every request, and checks of the responses."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import requests
import schemathesis
from openapi_signer import TO_BE_SIGNED, Signer
from requests.auth import AuthBase

PROBED = Path(os.environ["WIRE_PROBED"])
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")
HEADERS = ("X-OCS-Header", "X-OCS-Agent-Header")
TIMEOUT_S = 30

done: set[str] = set()


@schemathesis.auth()
class Password:
    """Marks what is to be signed, so that schemathesis knows which requests have a login."""

    def get(self, case: Any, ctx: Any) -> str:
        return TO_BE_SIGNED

    def set(self, case: Any, data: str, ctx: Any) -> None:
        if case.operation.definition.raw["security"]:
            case.headers["X-OCS-Header"] = data


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    kwargs["auth"] = Signer()


@schemathesis.check
def nothing_is_unexpected(ctx: Any, response: Any, case: Any) -> None:
    try:
        answer = response.json()
    except ValueError:
        return
    error = answer.get("error") if isinstance(answer, dict) else None
    assert not error or error["errCode"] != "Common.Unexpected", error


@schemathesis.check
def unknown_methods_are_not_found(ctx: Any, response: Any, case: Any) -> None:
    """Replaces `unsupported_method`: a path that is not served returns 404 to every caller."""
    path = case.operation.path
    if not is_first(f"method {path}"):
        return
    document = case.operation.schema.raw_schema
    for method in sorted({*METHODS} - methods_at(path, document)):
        for auth in (None, Signer()):
            probe_response = send(response, case.operation, method=method, auth=auth)
            where = f"{method} {path}: {probe_response.status_code} {probe_response.text[:300]}"
            assert probe_response.status_code == 404, where
            assert "Allow" not in probe_response.headers, where
            if method != "HEAD":
                validate({"$ref": "#/components/schemas/Failure"}, probe_response, document)
                assert probe_response.json()["error"]["errCode"] == "Common.NotFound", where


@schemathesis.check
def nobody_is_served_without_the_password(ctx: Any, response: Any, case: Any) -> None:
    """Replaces `ignored_auth`: a missing or damaged login or a wrong password gets no data."""
    operation = case.operation
    method = operation.method.upper()
    described = operation.definition.raw
    if not described["security"] or not is_first(f"login {method} {operation.path}"):
        return
    attempts: list[tuple[AuthBase | None, dict[str, str], str]] = [
        (None, {}, "Request.Header.NotFound"),
        (None, dict.fromkeys(HEADERS, ""), "Request.Header.NotFound"),
        *((None, {name: "spoiled"}, "Header.DecryptFailed") for name in HEADERS),
        (Signer("a guess"), {}, "IncorrectOceanbasePassword"),
    ]
    for auth, headers, code in attempts:
        probe_response = send(response, operation, method=method, auth=auth, headers=headers)
        result = f"{probe_response.status_code} {probe_response.text[:300]}"
        where = f"{method} {operation.path} with {headers}: {result}"
        status = str(probe_response.status_code)
        assert status in described["responses"], where
        content = described["responses"][status]["content"]["application/json"]
        validate(content["schema"], probe_response, operation.schema.raw_schema)
        answer = probe_response.json()
        assert "data" not in answer, where
        # A client that was refused too often has to pause; its requests are not examined.
        is_throttled = probe_response.status_code == 429 and "Retry-After" in probe_response.headers
        assert is_throttled or answer["error"]["errCode"].endswith(code), where


# --- internal functions ---


def is_first(key: str) -> bool:
    """True once for each text; it is written down, so that the test knows what was probed."""
    if key in done:
        return False
    done.add(key)
    with PROBED.open("a") as file:
        file.write(f"{key}\n")
    return True


def methods_at(path: str, document: dict[str, Any]) -> set[str]:
    """Return the methods served at a path, also by a route whose `{id}` matches it."""
    return {
        method.upper()
        for template, methods in document["paths"].items()
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
        for method in methods
    }


def send(
    response: Any,
    operation: Any,
    *,
    method: str,
    auth: AuthBase | None,
    headers: dict[str, str] | None = None,
) -> requests.Response:
    """Send a request for the path of the operation to the server of the response."""
    url = urlsplit(response.request.url)
    base = f"{url.scheme}://{url.netloc}"
    path = operation.path
    for parameter in operation.definition.raw.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["schema"]["examples"][0])
    marked = {} if auth is None else {"X-OCS-Header": TO_BE_SIGNED}
    return requests.request(
        method,
        base + path,
        headers={**marked, **(headers or {})},
        auth=auth,
        timeout=TIMEOUT_S,
        allow_redirects=False,
    )


def validate(
    schema: dict[str, Any], probe_response: requests.Response, document: dict[str, Any]
) -> None:
    whole = {**schema, "components": document["components"]}
    jsonschema_rs.validate(whole, probe_response.json())

"""Commands whose `--url` names a server that answers valid JSON of another form."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dagengine.cli.dispatch import run_command
from dagengine.cli.exit_codes import ExitCode

COMMANDS = ["status", "show", "list", "start --no-wait", "show 20168430081028861", "audit"]


@contextmanager
def answering(data: Any) -> Iterator[str]:
    """Run a server that answers every request with these data; yields its URL."""
    body = json.dumps({"data": data}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # the name that the library calls

        def log_message(self, *_values: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("data", [[], {}, "text", 5, {"public_key": "AAAA"}, {"public_key": 5}])
def test_command_foreign_json_names_url_and_remedy(
    data: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGENGINE_PASSWORD", "x")
    with answering(data) as url:
        for command in COMMANDS:
            assert run_command([*command.split(), "--url", url]) != ExitCode.DONE, command
            error = capsys.readouterr().err
            assert "check that --url is the address of a controller" in error, (command, error)


def test_command_own_defect_is_not_blamed_on_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while a valid response is rendered is a defect of the command line."""

    def render(*_values: object, **_options: object) -> list[str]:
        raise KeyError("state")

    monkeypatch.setattr("dagengine.cli.commands.render_list", render)
    monkeypatch.setenv("DAGENGINE_PASSWORD", "x")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    encoded = key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    data = {"public_key": base64.b64encode(encoded).decode(), "contents": []}
    with answering(data) as url, pytest.raises(KeyError, match="state"):
        run_command(["list", "--url", url])

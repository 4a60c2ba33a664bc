"""Reference server: bare aiohttp handlers. `python bare_aiohttp.py DIRECTORY KEY_FILE`.

Prints its URL. `/info` returns DIRECTORY/info.json and renders it for each request. `/dag` does the
same with DIRECTORY/dag.json, but first decrypts the header with the controller's key in worker
threads, as the controller does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from aiohttp import web

from dagengine.security.header import decode_header, parse_header
from dagengine.security.server_key import load_or_create_key


async def serve(directory: Path, key_file: Path) -> None:
    info = json.loads((directory / "info.json").read_text())
    dag = json.loads((directory / "dag.json").read_text())
    key = load_or_create_key(key_file)

    async def get_info(_request: web.Request) -> web.Response:
        return web.json_response(info)

    async def get_dag(request: web.Request) -> web.Response:
        header = await key.decrypt(decode_header(request.headers["X-OCS-Header"]))
        parse_header(header, is_agent=False)
        return web.json_response(dag)

    app = web.Application()
    app.router.add_get("/info", get_info)
    app.router.add_get("/dag", get_dag)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))

"""A process in a network namespace of its own reaches package mirrors by sockets of the one that it left."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

INSIDE = """
import asyncio, sys
import aiohttp
from service.lab.netns import enter_private_namespace
from service.lab.outside import Outside

outside = Outside()
enter_private_namespace()

async def fetch(connector):
    try:
        async with aiohttp.ClientSession(connector=connector) as session, session.get(sys.argv[1]) as answer:
            return await answer.text()
    except aiohttp.ClientError as err:
        return type(err).__name__

async def main():
    print(await fetch(aiohttp.TCPConnector()), await fetch(outside.connector()), await fetch(aiohttp.TCPConnector()))

asyncio.run(main())
"""


class Hello(BaseHTTPRequestHandler):
    """Says where it is asked."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"outside")

    def log_message(self, *_: object) -> None:
        pass


async def test_only_sockets_made_outside_lead_there() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, for the network namespace")
    with HTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://localhost:{server.server_address[1]}/"
        inside = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "ignore", "-c", INSIDE, url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complaint = await inside.communicate()
        server.shutdown()
    assert said.decode().split() == ["ClientConnectorError", "outside", "ClientConnectorError"], complaint.decode()

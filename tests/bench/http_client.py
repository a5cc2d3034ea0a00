"""A client that costs little: `python -m tests.bench.http_client PORT PATH TOKEN CLIENTS SECONDS`.

Prints how many POSTs a second were answered by 201, and how many otherwise. Plain sockets with keep-alive: a client
library would take more of the machine than the service that it is to measure.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from uuid import uuid4


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-len"))
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


async def main(port: int, path: str, token: str, clients: int, seconds: float) -> None:
    """Send for so long, and print."""
    counts = {True: 0, False: 0}
    end = time.perf_counter() + seconds
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nX-Auth-Token: {token}\r\nContent-Type: application/json\r\n"

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            body = json.dumps({"owner": str(uuid4()), "slot": "bench"})
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            counts[await _answer(reader) == 201] += 1
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    print(counts[True] / (time.perf_counter() - began), counts[False])


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))

"""Our TFTP server in a process of its own: `python -m tests.bench.tftp_server ADDRESS PORT FOLDER`.

It says "ready", and for each line that it reads how many transfers are under way, until its input ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pxe.priority import answer_first
from pxe.tftp.files import load_files
from pxe.tftp.server import TftpSettings, serve_tftp


async def _serve(listen: str, port: int, folder: Path) -> None:
    async with serve_tftp(TftpSettings(listen=listen, port=port), load_files(folder)) as server:
        print("ready", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(server.transfers, flush=True)


if __name__ == "__main__":
    answer_first()  # as a boot node does that is nothing else
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))

"""In the in-RAM installer of a virtual machine: each way of writing in turn, from an empty disk; prints the seconds.

Run by the installer's own Python beside its agent: `python3 write_guest.py IMAGE CLASSIC_URL ROUNDS`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from images.agent import blockdev, stream

DISK = "/dev/vda"
_PEER = "{run} /peer/bin/curl -s {url} | {run} /peer/bin/zstd -q -d --sparse -f -o {disk} && sync"
_RUN = "/peer/lib/ld-linux-x86-64.so.2 --library-path /peer/lib"


def main() -> None:
    """All rounds."""
    image, url, rounds = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    for _ in range(rounds):
        _empty()
        begun = time.monotonic()
        stream.write_image(image, [stream.Target(0, image["disk_bytes"], DISK, 0)], lambda done, total: None)
        print(f"bench: ours {time.monotonic() - begun:.3f}", flush=True)
        _empty()
        begun = time.monotonic()
        subprocess.run(["sh", "-c", _PEER.format(run=_RUN, url=url, disk=DISK)], check=True)
        print(f"bench: peer {time.monotonic() - begun:.3f}", flush=True)


def _empty() -> None:
    fd = os.open(DISK, os.O_RDWR)
    for _ in blockdev.punch(fd, 0, blockdev.size_of(fd)):
        pass
    blockdev.drop_cache(fd)
    os.close(fd)


if __name__ == "__main__":
    main()

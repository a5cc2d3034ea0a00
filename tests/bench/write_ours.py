"""One install's write in a process of its own: `python -m tests.bench.write_ours IMAGE TARGET`; prints its seconds.

IMAGE is `images.protocol.Image` as JSON. The time is that of the call: an agent is running when its work comes.
"""

from __future__ import annotations

import json
import sys
import time

from images.agent import stream


def main() -> None:
    """Write and print."""
    image, target = json.loads(sys.argv[1]), sys.argv[2]
    whole = stream.Target(0, image["disk_bytes"], target, 0)
    begun = time.monotonic()
    stream.write_image(image, [whole], lambda done, total: None)
    print(time.monotonic() - begun)


if __name__ == "__main__":
    main()

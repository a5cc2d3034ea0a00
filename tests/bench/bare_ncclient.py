"""ncclient with nothing round it, as a program: lock, edit-config, commit and unlock so many times; seconds of each.

In a process of its own, as the driver changes ncclient's defaults in the one that it is in.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from ncclient import manager


def main() -> None:
    """The edits to make in turn are lines of standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--username", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--transactions", type=int, required=True)
    asked = parser.parse_args()
    edits = sys.stdin.read().splitlines()
    login = {"username": asked.username, "password": asked.password, "hostkey_verify": False}
    took = []
    with manager.connect(host=asked.host, port=asked.port, **login, allow_agent=False, look_for_keys=False) as session:
        for number in range(asked.transactions):
            began = time.perf_counter()
            with session.locked("candidate"):
                session.edit_config(target="candidate", config=f"<config>{edits[number % len(edits)]}</config>")
                session.commit()
            took.append(time.perf_counter() - began)
    print(json.dumps(took))


if __name__ == "__main__":
    main()

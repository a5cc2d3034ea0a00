"""A reader that costs next to nothing: `python -m tests.bench.http_sink PORT PATH CLIENTS ROUNDS`.

Prints the bytes that came, and the seconds. The kernel drops what it has received (MSG_TRUNC), so that a slow reader
does not hide how fast the server is.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

_MOST = 4 << 20


def _round(port: int, path: str, clients: int) -> int:
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()
    buffer, total = bytearray(_MOST), 0
    with select.epoll() as ready:
        open_ones: dict[int, socket.socket] = {}
        for _ in range(clients):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.sendall(request)
            open_ones[sock.fileno()] = sock
            ready.register(sock, select.EPOLLIN)
        while open_ones:
            for fd, _ in ready.poll():
                got = open_ones[fd].recv_into(buffer, _MOST, socket.MSG_TRUNC)
                total += got
                if not got:
                    ready.unregister(fd)
                    open_ones.pop(fd).close()
    return total


def main(port: int, path: str, clients: int, rounds: int) -> None:
    """Fetch, and print."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    began = time.perf_counter()
    total = sum(_round(port, path, clients) for _ in range(rounds))
    print(total, time.perf_counter() - began)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

"""A way to netconfd on which a client's hello is read before its first call is there to be read.

netconfd throws away what it reads together with a hello when that is framed in chunks; RFC 6242 §4.1 lets a client
send it as soon as it has seen the server's hello, and under load the two arrive as one.
"""

from __future__ import annotations

import fcntl
import socket
import socketserver
import struct
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_END = b"]]>]]>"
_GREETINGS = 2  # netconf-subsystem's own, then the client's hello


def _unread(sock: socket.socket) -> int:
    """How many bytes the other end has not read yet (Linux, unix(7): SIOCOUTQ)."""
    (count,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
    return int(count)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for sock in (source, target):
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


class _Session(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.connect(str(self.server.daemon))
            answers = threading.Thread(target=_copy, args=(daemon, self.request))
            answers.start()
            with suppress(OSError):
                self._greet(daemon)
            _copy(self.request, daemon)
            answers.join()

    def _greet(self, daemon: socket.socket) -> None:
        heard = b""
        while heard.count(_END) < _GREETINGS:
            data = self.request.recv(1 << 16)
            if not data:
                break
            heard += data
        *greetings, rest = heard.split(_END, _GREETINGS)
        daemon.sendall(b"".join(one + _END for one in greetings))
        while _unread(daemon):
            time.sleep(0.001)
        daemon.sendall(rest)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, daemon: Path) -> None:
        super().__init__(str(path), _Session)
        self.daemon = daemon


@contextmanager
def paced(path: Path, daemon: Path) -> Iterator[None]:
    """Listen at `path` for clients of the netconfd that listens at `daemon`, while the block runs."""
    with _Server(path, daemon) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()

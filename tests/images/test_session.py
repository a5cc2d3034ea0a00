"""The agent's conversation with a service that fails, stalls and changes its mind, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from images.agent import session, wire
from images.agent.cmdline import Arguments
from images.agent.errors import HelloRefused, SessionEnded, WorkDropped
from images.agent.worker import Reporter, carry_out
from images.protocol import Work


class Service(ThreadingHTTPServer):
    """Answers each path by its own list of (status, body), the last one for ever; keeps what it was told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.told: list[tuple[str, str | None, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def bodies(self, path: str) -> list[Any]:
        """Everything that was sent to one path."""
        return [body for told, _, body in self.told if told == path]


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.told.append((path, self.headers.get("Authorization"), json.loads(raw) if raw else None))
        answers = self.server.answers.get(path, [(204, None)])
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def greeted(service: Service, pauses: list[float] | None = None) -> session.Session:
    service.answers.setdefault("/agent/v1/hello", [(200, {"session": "s1", "machine": "m1"})])
    sleep = (lambda seconds: None) if pauses is None else pauses.append
    return session.hello(Arguments(service.url, "t1", "52:54:00:00:01:01"), {"cpu": 1}, sleep)


def test_hello_is_repeated_with_growing_pauses_until_it_is_answered(service: Service) -> None:
    service.answers["/agent/v1/hello"] = [(503, None), (500, None), (404, None), (200, {"session": "s1"})]
    pauses: list[float] = []
    greeted(service, pauses)
    assert (
        service.bodies("/agent/v1/hello") == [{"token": "t1", "mac": "52:54:00:00:01:01", "inventory": {"cpu": 1}}] * 4
    )
    assert len(pauses) == 3
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1]


def test_a_foreign_token_is_refused_and_not_repeated(service: Service) -> None:
    service.answers["/agent/v1/hello"] = [(403, None)]
    with pytest.raises(HelloRefused):
        greeted(service)
    assert len(service.told) == 1


def test_work_is_asked_for_until_there_is_some(service: Service) -> None:
    work = {"id": "w1", "kind": "reboot", "spec": {}}
    service.answers["/agent/v1/work"] = [(204, None), (502, None), (200, work)]
    assert greeted(service).next_work() == work
    assert [auth for path, auth, _ in service.told if path == "/agent/v1/work"] == ["Bearer s1"] * 3


def test_an_ended_session_ends_the_wait(service: Service) -> None:
    service.answers["/agent/v1/work"] = [(401, None)]
    with pytest.raises(SessionEnded):
        greeted(service).next_work()


def test_the_end_of_work_is_told_until_it_is_heard(service: Service) -> None:
    path = "/agent/v1/work/w1/done"
    service.answers[path] = [(500, None), (204, None)]
    greeted(service).done("w1", {"a": 1})
    assert service.bodies(path) == [{"result": {"a": 1}}] * 2


@pytest.mark.parametrize("status", [404, 409])
def test_work_that_is_not_wanted_any_more_is_dropped(service: Service, status: int) -> None:
    service.answers["/agent/v1/work/w1/done"] = [(status, None)]
    with pytest.raises(WorkDropped):
        greeted(service).done("w1", {})


def test_a_reboot_is_told_as_done_before_it_happens(service: Service) -> None:
    work: Work = {"id": "w1", "kind": "reboot", "spec": {}}
    assert carry_out(greeted(service), work, ()) == "reboot"
    assert service.bodies("/agent/v1/work/w1/done") == [{"result": {}}]


def test_what_cannot_be_done_is_told_as_failed_and_the_agent_stays(service: Service) -> None:
    spec = {"disks": ["/dev/no-such-disk"], "sample_count": 1, "limit_s": 60}
    work: Work = {"id": "w1", "kind": "erase", "spec": spec}  # type: ignore[typeddict-item]
    assert carry_out(greeted(service), work, ()) is None
    [failure] = service.bodies("/agent/v1/work/w1/failed")
    assert failure["stage"] == "erasing"
    assert "/dev/no-such-disk" in failure["reason"]
    assert service.bodies("/agent/v1/work/w1/done") == []


def test_an_unknown_kind_of_work_is_a_failure(service: Service) -> None:
    work: Work = {"id": "w1", "kind": "dance", "spec": {}}  # type: ignore[typeddict-item]
    assert carry_out(greeted(service), work, ()) is None
    assert "dance" in service.bodies("/agent/v1/work/w1/failed")[0]["reason"]


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (b"", "ended in its head"),
        (b"HTTP/1.0 200", "ended in its head"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not an HTTP reply"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nshort", "5 bytes early"),
        (b"HTTP/1.0 200 OK\r\n" + b"x: " + b"y" * 70_000, "too long"),
    ],
)
def test_what_is_no_whole_reply_is_an_error_of_the_wire(reply: bytes, complaint: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65_536)
                peer.sendall(reply)
                peer.shutdown(socket.SHUT_WR)
                peer.recv(1)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(wire.WireError, match=complaint):
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            with wire.request("GET", url, timeout_s=5) as response:
                response.body()
        thread.join(5)


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65_536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nX-A:  b \r\n\r\nfirst ")
                peer.sendall(b"second")

        threading.Thread(target=answer, daemon=True).start()
        with wire.request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=5) as response:
            assert response.headers["x-a"] == "b"
            assert response.body() == b"first second"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://192.0.2.1", ("192.0.2.1", 80, "/")),
        ("http://192.0.2.1:8080/a?b=c", ("192.0.2.1", 8080, "/a?b=c")),
        ("HTTP://[2001:db8::1]:81/x", ("2001:db8::1", 81, "/x")),
        ("http://[2001:db8::1]/", ("2001:db8::1", 80, "/")),
    ],
)
def test_urls_are_taken_apart(url: str, parts: tuple[str, int, str]) -> None:
    assert wire.split(url) == parts


def test_waiting_for_days_takes_no_memory(service: Service) -> None:
    """A machine of the pool asks every 25 s: two thousand times are most of a day."""
    service.answers["/agent/v1/hello"] = [(200, {"session": "s1"})]
    service.answers["/agent/v1/work"] = [*[(204, None)] * 2000, (200, {"id": "w1", "kind": "reboot", "spec": {}})]
    kept: list[int] = []

    def pause(_: float) -> None:
        service.told.clear()
        kept.append(tracemalloc.get_traced_memory()[0])

    waiting = session.hello(Arguments(service.url, "t1", ""), {}, pause)
    tracemalloc.start()
    try:
        assert waiting.next_work()["id"] == "w1"
    finally:
        tracemalloc.stop()
    assert len(kept) == 2000
    assert max(kept[1000:]) - max(kept[:1000]) < 100_000


def test_more_of_the_inventory_is_told_until_it_is_heard(service: Service) -> None:
    service.answers["/agent/v1/inventory"] = [(503, None), (204, None)]
    greeted(service).inventory({"tpm": "2.0"})
    assert service.bodies("/agent/v1/inventory") == [{"inventory": {"tpm": "2.0"}}] * 2


def test_progress_tells_how_fast_it_goes_and_what_is_known_already(service: Service) -> None:
    service.answers["/agent/v1/work/w1/progress"] = [(204, None)]
    report = Reporter(greeted(service), "w1")
    report("writing", 0, 100)
    time.sleep(0.6)
    report("writing", 50, 100, result={"half": True})
    report.close()
    told = service.bodies("/agent/v1/work/w1/progress")[-1]
    assert (told["stage"], told["percent"], told["bytes_done"], told["result"]) == ("writing", 50.0, 50, {"half": True})
    assert 0 < told["bytes_per_s"] < 100
    assert told["message"].startswith("writing: 50.0 %, ")


def test_what_is_told_after_the_work_was_dropped_ends_it(service: Service) -> None:
    service.answers["/agent/v1/work/w1/progress"] = [(409, None)]
    report = Reporter(greeted(service), "w1")
    report("rescue", 0, 0)
    with pytest.raises(WorkDropped):
        for _ in range(1200):
            time.sleep(0.05)
            report("rescue", 0, 0)
    report.close()

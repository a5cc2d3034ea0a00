"""An operator's bundle: unpacked, run, limited in time, and its word taken."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from images.agent import firmware
from images.agent.errors import WorkFailed
from images.protocol import FirmwareSpec


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    made = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path / "served")))
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()


def bundle(tmp_path: Path, server: str, script: str, *, mode: str = "w", **spec: Any) -> FirmwareSpec:
    """A bundle with one program, served."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as tar:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("tools/update")
        content = f"#!/bin/sh\n{script}\n".encode()
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
    sha256 = hashlib.sha256(made.getvalue()).hexdigest()
    (tmp_path / "served" / sha256).write_bytes(made.getvalue())
    wanted = {"url": f"{server}/{sha256}", "sha256": sha256, "program": "tools/update", "arguments": [], "limit_s": 30}
    return {**wanted, **spec}  # type: ignore[typeddict-item]


def quiet(*_: object, **__: object) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("mode", ["w", "w:gz"], ids=["plain", "gzip"])
def test_its_last_object_is_its_result(tmp_path: Path, server: str, mode: str) -> None:
    script = (
        'echo "{\\"early\\": 1}"; echo "flashing $1 in $(basename $PWD)"; echo "{\\"version\\": \\"2.1\\"}"; echo bye'
    )
    spec = bundle(tmp_path, server, script, mode=mode, arguments=["nic0"])
    found = firmware.run_bundle(spec, quiet, str(tmp_path / "work"))
    assert found["told"] == {"version": "2.1"}
    assert "flashing nic0 in work" in found["output"]
    assert found["exit_code"] == 0
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("script", "changes", "complaint"),
    [
        ("echo no such board; exit 7", {}, "ended with exit code 7: no such board"),
        ("sleep 60", {"limit_s": 0}, "took longer than 0 s"),
        ("true", {"program": "tools/other"}, "has no program tools/other"),
        ("true", {"program": "../../../bin/sh"}, r"has no program \.\./"),
    ],
    ids=["failed", "too long", "no program", "outside"],
)
def test_what_goes_wrong_is_told(
    tmp_path: Path, server: str, script: str, changes: dict[str, Any], complaint: str
) -> None:
    spec = bundle(tmp_path, server, script, **changes)
    with pytest.raises(WorkFailed, match=complaint):
        firmware.run_bundle(spec, quiet, str(tmp_path / "work"))
    assert not (tmp_path / "work").exists()


def test_a_bundle_that_is_gone_or_no_archive_is_told(tmp_path: Path, server: str) -> None:
    spec = bundle(tmp_path, server, "true")
    with pytest.raises(WorkFailed, match="there is no bundle"):
        firmware.run_bundle({**spec, "url": f"{server}/other"}, quiet, str(tmp_path / "work"))
    with pytest.raises(WorkFailed, match="cannot unpack"):
        firmware.unpack(bytearray(b"\x1f\x8b no archive"), str(tmp_path))

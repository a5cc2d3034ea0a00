"""What the log says of an error, and what it does not."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

FAILS = """
import structlog
from service.log import configure_log

def open_door(kept):
    raise ValueError("the door is locked")

configure_log("info")
try:
    open_door("pa55" + "w0rd")
except ValueError:
    structlog.get_logger().warning("door_stays_shut", token="t0ken", exc_info=True)
"""


def _piped() -> str:
    return subprocess.run(
        [sys.executable, "-c", FAILS], stderr=subprocess.PIPE, text=True, check=True, timeout=60
    ).stderr


def _at_a_terminal() -> str:
    line, its = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", FAILS], stderr=its) as process:
        os.close(its)
        said = b""
        try:
            while data := os.read(line, 1 << 16):
                said += data
        except OSError:  # Linux' way to say that the other end is closed (tty_ioctl(4): EIO)
            pass
        finally:
            os.close(line)
    assert process.returncode == 0
    return said.decode()


@pytest.mark.parametrize("text", [_piped, _at_a_terminal])
def test_an_error_is_told_with_its_place_and_nobodys_values(text: object) -> None:
    assert callable(text)
    said = text()
    assert "the door is locked" in said and "in open_door" in said and "***" in said
    assert "pa55w0rd" not in said and "t0ken" not in said


def test_an_error_is_one_event_on_one_line() -> None:
    (line,) = _piped().splitlines()
    assert json.loads(line)["event"] == "door_stays_shut"

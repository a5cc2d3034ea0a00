"""How names and addresses of hardware are spelled wherever they are told to us: patterns of the whole text."""

from __future__ import annotations

MAC = r"[0-9a-f]{2}(:[0-9a-f]{2}){5}"
HARDWARE = r"[a-z0-9][a-z0-9.-]{0,62}"  # a machine's name, or a leaf's
RACK = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
PORT = r"(xe|et|ge)-\d+/\d+/\d+(:\d+)?"  # of a leaf that runs Junos

"""Whether a self-encrypting disk is under somebody's password: TCG Storage Architecture Core 2.01, Level 0 Discovery.

Pure: nothing here talks to a device.
"""

from __future__ import annotations

from images.agent.errors import Malformed

PROTOCOL, DISCOVERY = 0x01, 0x0001  # security protocol and ComID (3.3.6)
ANSWER_BYTES = 512
_HEADER_BYTES = 48
_LOCKING_FEATURE = 0x0002
_ENABLED = 1 << 1  # LockingEnabled (3.1.1.3 of the Opal SSC): somebody has taken the disk over


def is_taken(data: bytes) -> bool:
    """True where locking is switched on: the disk locks itself at the next power cycle. Raises Malformed."""
    if len(data) < _HEADER_BYTES:
        raise Malformed(f"a Level 0 discovery has {len(data)} bytes")
    end = min(len(data), 4 + int.from_bytes(data[0:4], "big"))
    at = _HEADER_BYTES
    while at + 4 <= end:
        code, length = int.from_bytes(data[at : at + 2], "big"), data[at + 3]
        if code == _LOCKING_FEATURE and length >= 1 and at + 5 <= end:
            return bool(data[at + 4] & _ENABLED)
        at += 4 + length
    return False

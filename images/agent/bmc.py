"""The board's management controller, asked over the kernel's IPMI device (IPMI 2.0 §20.1 and §23.2)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEVICES = ("/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0")
_LIMIT_S = 2.0
_APP, _TRANSPORT = 0x06, 0x0C
_GET_DEVICE_ID, _GET_LAN_PARAMETERS = 0x01, 0x02
_ADDRESS, _MAC = 3, 5  # LAN parameters, table 23-4
_CHANNELS = (1, 8, 2)  # where boards have their LAN
_SYSTEM_INTERFACE, _BMC_CHANNEL = 0x0C, 0x0F  # linux/ipmi.h


class _Address(ctypes.Structure):
    """struct ipmi_system_interface_addr."""

    _fields_ = (("addr_type", ctypes.c_int), ("channel", ctypes.c_short), ("lun", ctypes.c_ubyte))


class _Message(ctypes.Structure):
    """struct ipmi_msg."""

    _fields_ = (
        ("netfn", ctypes.c_ubyte),
        ("cmd", ctypes.c_ubyte),
        ("data_len", ctypes.c_ushort),
        ("data", ctypes.c_void_p),
    )


class _Request(ctypes.Structure):
    """struct ipmi_req."""

    _fields_ = (
        ("addr", ctypes.c_void_p),
        ("addr_len", ctypes.c_uint),
        ("msgid", ctypes.c_long),
        ("msg", _Message),
    )


class _Received(ctypes.Structure):
    """struct ipmi_recv."""

    _fields_ = (
        ("recv_type", ctypes.c_int),
        ("addr", ctypes.c_void_p),
        ("addr_len", ctypes.c_uint),
        ("msgid", ctypes.c_long),
        ("msg", _Message),
    )


_SEND = 0x80000000 | ctypes.sizeof(_Request) << 16 | ord("i") << 8 | 13  # IPMICTL_SEND_COMMAND
_RECEIVE = 0xC0000000 | ctypes.sizeof(_Received) << 16 | ord("i") << 8 | 11  # IPMICTL_RECEIVE_MSG_TRUNC


class Silent(Exception):
    """The controller does not answer, or refuses."""


def take() -> dict[str, Any]:
    """Whether there is a controller, its firmware, address and MAC address; empty where it does not say."""
    path = next((path for path in _DEVICES if os.path.exists(path)), None)
    if path is None:
        return {"present": False}
    found: dict[str, Any] = {"present": True, "firmware": "", "address": "", "mac": ""}
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return found
    try:
        found |= identity(_ask(fd, _APP, _GET_DEVICE_ID, b""))
        for channel in _CHANNELS:
            try:
                address = _ask(fd, _TRANSPORT, _GET_LAN_PARAMETERS, bytes((channel, _ADDRESS, 0, 0)))
                mac = _ask(fd, _TRANSPORT, _GET_LAN_PARAMETERS, bytes((channel, _MAC, 0, 0)))
            except Silent:
                continue
            if len(address) >= 5 and len(mac) >= 7:
                return found | {"address": ".".join(map(str, address[1:5])), "mac": mac[1:7].hex(":")}
    except (Silent, OSError) as err:
        print(f"roundhouse: BMC: {err}", flush=True)
    finally:
        os.close(fd)
    return found


def identity(answer: bytes) -> dict[str, Any]:
    """Decode the answer to Get Device ID (§20.1), which the completion code has been taken from. Raises Silent."""
    if len(answer) < 11:
        raise Silent(f"a device id of {len(answer)} bytes")
    return {
        "firmware": f"{answer[2] & 0x7F}.{answer[3]:02x}",  # the minor part is binary-coded decimal
        "ipmi": f"{answer[4] & 15}.{answer[4] >> 4}",
        "maker": int.from_bytes(answer[6:9], "little"),  # of IANA's list of enterprises
        "product": int.from_bytes(answer[9:11], "little"),
    }


def _ask(fd: int, netfn: int, command: int, data: bytes) -> bytes:
    """One command; the answer behind its completion code. Raises Silent, OSError."""
    to = _Address(_SYSTEM_INTERFACE, _BMC_CHANNEL, 0)
    sent = ctypes.create_string_buffer(data, max(len(data), 1))
    message = _Message(netfn, command, len(data), ctypes.addressof(sent))
    fcntl.ioctl(fd, _SEND, _Request(ctypes.addressof(to), ctypes.sizeof(to), 1, message))
    if not select.select([fd], [], [], _LIMIT_S)[0]:
        raise Silent("no answer")
    room, came_from = ctypes.create_string_buffer(272), ctypes.create_string_buffer(64)
    received = _Received(
        addr=ctypes.addressof(came_from),
        addr_len=len(came_from),
        msg=_Message(data_len=len(room), data=ctypes.addressof(room)),
    )
    fcntl.ioctl(fd, _RECEIVE, received)
    answer = room.raw[: received.msg.data_len]
    if not answer or answer[0] != 0:
        raise Silent(f"completion code {answer[:1].hex() or 'missing'}")
    return answer[1:]

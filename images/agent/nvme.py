"""NVMe admin commands for erasing, as bytes: NVM Express Base Specification 2.0, Linux's passthrough structure.

Pure: nothing here talks to a device. Decoders raise Malformed, and nothing else, for what is too short.
"""

from __future__ import annotations

import struct

from images.agent.errors import Malformed

IOCTL_ID = 0x4E40  # _IO('N', 0x40): the namespace's id, linux/nvme_ioctl.h
IOCTL_ADMIN = 0xC0484E41  # _IOWR('N', 0x41, struct nvme_passthru_cmd), linux/nvme_ioctl.h
_PASSTHRU = struct.Struct("=BBHIIIQQII6III")
_ALL_NAMESPACES = 0xFFFFFFFF

_GET_LOG_PAGE, _IDENTIFY, _FORMAT, _SECURITY_RECEIVE, _SANITIZE = 0x02, 0x06, 0x80, 0x82, 0x84
_SANITIZE_LOG, _SANITIZE_LOG_BYTES = 0x81, 512
_IDENTIFY_BYTES = 4096

EXIT_FAILURE, BLOCK, OVERWRITE, CRYPTO = 1, 2, 3, 4  # sanitize actions (SANACT, Figure 303)
USER_DATA_ERASE, CRYPTO_ERASE = 1, 2  # secure erase settings of Format NVM (SES, Figure 184)
IDLE, COMPLETED, IN_PROGRESS, FAILED, COMPLETED_UNEXPECTEDLY = 0, 1, 2, 3, 4  # sanitize status (SSTAT, Figure 239)
_NO_ESTIMATE = 0xFFFFFFFF


class Command:
    """An admin command: what goes into the submission queue entry, and how many bytes come back."""

    __slots__ = ("cdw10", "cdw11", "data_bytes", "nsid", "opcode")

    def __init__(self, opcode: int, nsid: int, cdw10: int, cdw11: int = 0, data_bytes: int = 0) -> None:
        self.opcode, self.nsid, self.cdw10, self.cdw11, self.data_bytes = opcode, nsid, cdw10, cdw11, data_bytes

    def encode(self, address: int, timeout_ms: int) -> bytes:
        """The structure that the kernel's ioctl takes; `address` is where the answer's data goes."""
        words = (self.cdw10, self.cdw11, 0, 0, 0, 0)
        return _PASSTHRU.pack(
            self.opcode, 0, 0, self.nsid, 0, 0, 0, address, 0, self.data_bytes, *words, timeout_ms & 0xFFFFFFFF, 0
        )


def identify_controller() -> Command:
    """Identify, CNS 01h (5.17.2.1)."""
    return Command(_IDENTIFY, 0, 1, data_bytes=_IDENTIFY_BYTES)


def identify_namespace(nsid: int) -> Command:
    """Identify, CNS 00h (NVM Command Set Specification 4.1.5.1)."""
    return Command(_IDENTIFY, nsid, 0, data_bytes=_IDENTIFY_BYTES)


def allocated_namespaces() -> Command:
    """Identify, CNS 10h: the namespaces that exist, attached or not (5.17.2.9)."""
    return Command(_IDENTIFY, 0, 0x10, data_bytes=_IDENTIFY_BYTES)


def sanitize_log() -> Command:
    """Get Log Page, Sanitize Status (5.16.1.25)."""
    dwords = _SANITIZE_LOG_BYTES // 4 - 1
    return Command(_GET_LOG_PAGE, _ALL_NAMESPACES, _SANITIZE_LOG | dwords << 16, data_bytes=_SANITIZE_LOG_BYTES)


def security_receive(protocol: int, specific: int, size: int) -> Command:
    """Security Receive (5.25) of so many bytes."""
    return Command(_SECURITY_RECEIVE, 0, protocol << 24 | specific << 8, size, data_bytes=size)


def sanitize(action: int) -> Command:
    """Sanitize (5.24): all of the subsystem. Overwrite means one pass of zeros.

    AUSE is set: after a failure the disk may be let go again and another method tried.
    """
    passes = 1 << 4 if action == OVERWRITE else 0
    unrestricted = 0 if action == EXIT_FAILURE else 1 << 3
    return Command(_SANITIZE, 0, action | unrestricted | passes)


def format_namespace(nsid: int, block_format: int, setting: int) -> Command:
    """Format NVM (5.14) of one namespace with the low bits of its format index as it is, and a secure erase setting."""
    return Command(_FORMAT, nsid, block_format | setting << 9)


class Controller:
    """What Identify Controller tells of erasing (Figure 275)."""

    __slots__ = (
        *("can_block", "can_crypto", "can_format", "can_format_crypto", "can_list", "can_overwrite", "has_security"),
        *("firmware", "format_takes_all", "model", "serial", "unallocated_bytes"),
    )

    def __init__(self, data: bytes) -> None:
        if len(data) < _IDENTIFY_BYTES:
            raise Malformed(f"Identify Controller has {len(data)} bytes")
        self.serial, self.model, self.firmware = (_text(data[a:b]) for a, b in ((4, 24), (24, 64), (64, 72)))
        optional = int.from_bytes(data[256:258], "little")  # OACS
        self.has_security = bool(optional & 1)
        self.can_format, self.can_list = bool(optional & 1 << 1), bool(optional & 1 << 3)
        self.unallocated_bytes = int.from_bytes(data[296:312], "little")  # UNVMCAP
        sanitizing = int.from_bytes(data[328:332], "little")  # SANICAP
        self.can_crypto, self.can_block, self.can_overwrite = (bool(sanitizing & 1 << bit) for bit in range(3))
        self.format_takes_all = bool(data[524] & 3)  # FNA
        self.can_format_crypto = self.can_format and bool(data[524] & 4)


def _text(field: bytes) -> str:
    return field.decode("ascii", "replace").strip("\0 ")


class Namespace:
    """What Identify Namespace tells of erasing: the format in use, so that a Format NVM keeps it."""

    __slots__ = ("block_bytes", "blocks", "format_fields")

    def __init__(self, data: bytes) -> None:
        if len(data) < 384:
            raise Malformed(f"Identify Namespace has {len(data)} bytes")
        self.blocks = int.from_bytes(data[0:8], "little")
        index = data[26] & 0xF | (data[26] >> 5 & 3) << 4  # FLBAS, whose upper bits are above 16 formats
        format_at = 128 + 4 * index
        if format_at + 4 > 384 or not 9 <= data[format_at + 2] <= 32:
            raise Malformed(f"block format {index} has no block size")
        self.block_bytes = 1 << data[format_at + 2]
        metadata_inline = data[26] >> 4 & 1
        protection, protection_first = data[29] & 7, data[29] >> 3 & 1  # DPS
        # LBAFL, MSET, PI, PIL and LBAFU as Format NVM's CDW10 has them.
        low = index & 0xF | metadata_inline << 4 | protection << 5 | protection_first << 8
        self.format_fields = low | index >> 4 << 12


def namespaces(data: bytes) -> list[int]:
    """The namespace ids of a list: ascending, ended by a zero. Raises Malformed."""
    if len(data) < _IDENTIFY_BYTES:
        raise Malformed(f"a namespace list has {len(data)} bytes")
    found = []
    for (nsid,) in struct.iter_unpack("<I", data[:_IDENTIFY_BYTES]):
        if nsid == 0:
            break
        found.append(nsid)
    return found


class SanitizeStatus:
    """The sanitize status log: state, progress from 0 to 1, and estimates in seconds by action (absent: none given)."""

    __slots__ = ("action", "estimates", "progress", "state")

    def __init__(self, data: bytes) -> None:
        if len(data) < 20:
            raise Malformed(f"the sanitize status has {len(data)} bytes")
        progress, status, dword10, overwrite, block, crypto = struct.unpack_from("<HHIIII", data)
        self.state = status & 7
        self.progress = progress / 65536 if self.state == IN_PROGRESS else 1.0
        self.action = dword10 & 7
        times = {OVERWRITE: overwrite, BLOCK: block, CRYPTO: crypto}
        self.estimates = {action: seconds for action, seconds in times.items() if seconds != _NO_ESTIMATE}


_STATUS_WORDS = {  # Figures 126 to 128 (status code type and status code)
    0x001: "invalid command opcode",
    0x002: "invalid field in command",
    0x006: "internal error",
    0x00B: "invalid namespace or format",
    0x015: "operation denied",
    0x01C: "sanitize failed",
    0x01D: "sanitize in progress",
    0x020: "namespace is write protected",
    0x10A: "invalid format",
    0x10B: "firmware activation requires a conventional reset",
    0x286: "access denied",
}


def status_text(status: int) -> str:
    """A completion's status field in words."""
    code = status & 0x7FF
    return _STATUS_WORDS.get(code, f"status {code:#05x}")

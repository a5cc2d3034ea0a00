"""What a DHCP message says about the machine that boots, as the value that a decision is made from."""

from __future__ import annotations

import uuid
from ipaddress import IPv4Address

from pxe.decide import Arch, BootRequest, Stage
from pxe.dhcp import options as opt
from pxe.dhcp.circuit import readings
from pxe.dhcp.message import UNSPECIFIED, Message

# RFC 4578 §2.1 as IANA's registry corrects it: 7 is what x64 firmware sends, 9 what the RFC meant for it.
ARCHITECTURES = {
    0: Arch.BIOS,
    7: Arch.UEFI_X64,
    9: Arch.UEFI_X64,
    11: Arch.UEFI_ARM64,
    16: Arch.UEFI_X64,
    19: Arch.UEFI_ARM64,
}


def boot_request(message: Message, link: IPv4Address | None = None) -> BootRequest:
    """Reduce a message to what a decision may depend on. Never raises: what cannot be read is left out.

    `link` is our own address on the client's link, where the message came from there and not through a relay.
    """
    agent = relay_agent(message)
    circuit_id, remote_id = agent.get(opt.CIRCUIT_ID), agent.get(opt.REMOTE_ID)
    relayed = message.giaddr != UNSPECIFIED
    return BootRequest(
        stage=stage_of(message),
        arch=architecture(message) or Arch.BIOS,
        mac=message.chaddr.hex(":"),
        giaddr=_address(agent.get(opt.LINK_SELECTION)) or (message.giaddr if relayed else link),
        circuit_id=text(circuit_id),
        remote_id=text(remote_id),
        ciaddr=message.ciaddr if message.ciaddr != UNSPECIFIED else None,
        uuid=_uuid(message.options.get(opt.CLIENT_UUID, b"")),
        readings=readings(circuit_id, remote_id) if circuit_id else (),
    )


def relay_agent(message: Message) -> dict[int, bytes]:
    """The sub-options of option 82. None where no relay stands in giaddr: a client may have written them itself."""
    if message.giaddr == UNSPECIFIED:
        return {}
    return opt.read_sub_options(message.options.get(opt.AGENT_INFORMATION, b""))


def server_id_override(message: Message) -> IPv4Address | None:
    """The address that the relay wants hosts to take for the server (RFC 5107), None where it asks for none."""
    return _address(relay_agent(message).get(opt.SERVER_ID_OVERRIDE))


def stage_of(message: Message) -> Stage:
    """Who asks. An iPXE without HTTP counts as firmware: it can do no more with a URL than a ROM can."""
    vendor_class = message.options.get(opt.VENDOR_CLASS, b"")
    if opt.IPXE in message.options:
        features = opt.read_sub_options(message.options[opt.IPXE])
        return Stage.IPXE if features.get(opt.IPXE_HTTP, b"\0") != b"\0" else Stage.FIRMWARE
    if b"iPXE" in opt.user_classes(message.options.get(opt.USER_CLASS, b"")):
        return Stage.IPXE
    if vendor_class.startswith(b"HTTPClient"):
        return Stage.HTTP_FIRMWARE
    if vendor_class.startswith(b"PXEClient"):
        return Stage.FIRMWARE
    return Stage.SYSTEM


def architecture(message: Message) -> Arch | None:
    """The first architecture of option 93 that has a first-stage file, None where none has (or none is told)."""
    value = message.options.get(opt.CLIENT_ARCH, b"")
    for at in range(0, len(value) - 1, 2):
        if arch := ARCHITECTURES.get(int.from_bytes(value[at : at + 2], "big")):
            return arch
    return None


def _address(value: bytes | None) -> IPv4Address | None:
    return IPv4Address(value) if value is not None and len(value) == 4 and any(value) else None


def text(value: bytes | None) -> str | None:
    """What a relay calls something, for people to read."""
    return None if value is None else value.decode("ascii", "backslashreplace")


def _uuid(value: bytes) -> str | None:
    """Option 97: type 0, then the UUID in the byte order of SMBIOS (RFC 4578 §2.3)."""
    return str(uuid.UUID(bytes_le=value[1:])) if len(value) == 17 and value[0] == 0 else None

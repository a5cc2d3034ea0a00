"""The first seconds of a light machine: DHCP through the leaf's relay, the first stage by TFTP, iPXE's script."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

import structlog
from aiohttp import ClientError

from pxe.decide import Arch, Stage
from pxe.dhcp import options as opt
from pxe.dhcp.message import BOOTREPLY, BOOTREQUEST, BROADCAST_FLAG, Malformed, Message, decode, encode
from service.lab.board import Board, Http, NoBoot
from service.lab.ipxe_script import Outcome, ScriptRun
from service.lab.relay import Relay
from service.lab.tftp_client import fetch_tftp

log = structlog.get_logger()

_ARCH_CODES = {Arch.BIOS: 0, Arch.UEFI_X64: 7, Arch.UEFI_ARM64: 11}


@dataclass(frozen=True, slots=True)
class Binding:
    """What DHCP gave."""

    address: IPv4Interface
    next_server: IPv4Address
    file: str


class _Wire:
    """The machine's end of the cable for DHCP: broadcasts to the leaf's relay, with the card's faults."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()
        settings = board.settings
        self._relay = Relay(board.nic.port, self._take, server_port=settings.dhcp_port, relay_port=settings.relay_port)

    def send(self, datagram: bytes) -> None:
        if not self._lost():
            self._relay.from_client(datagram)

    async def receive(self) -> bytes:
        return await self._heard.get()

    def close(self) -> None:
        self._relay.close()

    def _take(self, datagram: bytes) -> None:
        if not self._lost():
            self._heard.put_nowait(datagram)

    def _lost(self) -> bool:
        faults = self._board.faults
        return faults.dead_nic or (faults.lose_dhcp > 0 and self._board.random.random() < faults.lose_dhcp)


async def acquire(board: Board, stage: Stage) -> Binding:
    """One DHCP exchange as `stage` does it: DISCOVER, OFFER, REQUEST, ACK. Raises NoBoot after the last try."""
    wire = _Wire(board)
    client = _Client(board, stage)
    try:
        for attempt in range(board.settings.dhcp_tries):
            wire.send(client.next_message())
            try:
                # RFC 2131 §4.1 begins at 4 s; firmware is less patient.
                async with asyncio.timeout(min(0.5 * 2**attempt, 4.0)):
                    while True:
                        if (binding := client.take(await wire.receive())) is not None:
                            return binding
                        if client.has_news:
                            wire.send(client.next_message())
            except TimeoutError:
                continue
    finally:
        wire.close()
    raise NoBoot("no DHCP answer")


class _Client:
    """The client's side of one exchange (RFC 2131 §4.4). A repeat keeps its xid, so that a late answer is good too."""

    def __init__(self, board: Board, stage: Stage) -> None:
        self._mac = bytes.fromhex(board.nic.mac.replace(":", ""))
        self._xid = board.random.getrandbits(32)
        self._options = _options(board.settings.arch, stage)
        self._offer: Message | None = None
        self.has_news = False  # an offer came, which is to be taken at once

    def next_message(self) -> bytes:
        """The REQUEST for the offer that came, else the DISCOVER."""
        self.has_news = False
        more = {opt.MESSAGE_TYPE: bytes((opt.DISCOVER,))}
        if self._offer is not None:
            more = {
                opt.MESSAGE_TYPE: bytes((opt.REQUEST,)),
                opt.REQUESTED_ADDRESS: self._offer.yiaddr.packed,
                opt.SERVER_ID: self._offer.options.get(opt.SERVER_ID, b""),
            }
        return encode(
            Message(op=BOOTREQUEST, xid=self._xid, chaddr=self._mac, flags=BROADCAST_FLAG, options=more | self._options)
        )

    def take(self, datagram: bytes) -> Binding | None:
        """A message from the wire; the binding where it was the ACK."""
        try:
            message = decode(datagram)
        except Malformed:
            return None
        if (message.op, message.xid, message.chaddr) != (BOOTREPLY, self._xid, self._mac):
            return None
        match message.kind:
            case opt.OFFER if self._offer is None:
                self._offer, self.has_news = message, True
            case opt.NAK:  # begin again, with the next try
                self._offer = None
            case opt.ACK if self._offer is not None:
                mask = message.address(opt.SUBNET_MASK) or IPv4Address("255.255.255.255")
                file = message.options.get(opt.BOOT_FILE, message.file).rstrip(b"\0").decode("ascii", "replace")
                return Binding(IPv4Interface(f"{message.yiaddr}/{mask}"), message.siaddr, file)
        return None


def _options(arch: Arch, stage: Stage) -> dict[int, bytes]:
    asked = bytes((opt.SUBNET_MASK, opt.ROUTER, opt.NAMESERVERS, opt.HOSTNAME, opt.CLASSLESS_ROUTES, opt.BOOT_FILE))
    options = {opt.PARAMETERS: asked, opt.MAX_SIZE: (1472).to_bytes(2, "big")}
    if stage is Stage.SYSTEM:
        return options
    code = _ARCH_CODES[arch]
    options |= {
        opt.CLIENT_ARCH: code.to_bytes(2, "big"),
        opt.CLIENT_NDI: bytes((1, 2, 1)),
        opt.VENDOR_CLASS: f"PXEClient:Arch:{code:05}:UNDI:002001".encode(),
    }
    if stage is Stage.IPXE:
        options |= {opt.USER_CLASS: b"iPXE", opt.IPXE: opt.sub_options({opt.IPXE_HTTP: b"\x01"})}
    return options


async def network_boot(board: Board) -> Outcome:
    """PXE: DHCP, first stage, iPXE's DHCP, script. Returns what the script ended in. Raises NoBoot."""
    await board.enter("dhcp")
    binding = await acquire(board, Stage.FIRMWARE)
    if not binding.file:
        raise NoBoot("no boot file offered")
    await board.enter("first-stage")
    if not board.carries(binding.address.ip):
        raise NoBoot("no carrier")
    await fetch_tftp(binding.address.ip, (str(binding.next_server), board.settings.tftp_port), binding.file)
    await board.enter("ipxe")
    binding = await acquire(board, Stage.IPXE)
    if not binding.file:
        raise NoBoot("no boot script offered")
    async with board.http(binding.address.ip) as http:
        run = ScriptRun(
            load=http.load,
            text=lambda url, form: _text(http, url, form),
            sleep=board.clock.sleep,
            disk_boots=any(disk.installed for disk in board.disks),
            settings={
                "net0/mac": board.nic.mac,
                "net0/ip": str(binding.address.ip),
                "filename": binding.file,
                "platform": "pcbios" if board.settings.arch is Arch.BIOS else "efi",
            },
        )
        try:
            script = await _text(http, binding.file, None)
        except (ClientError, OSError, TimeoutError) as err:
            raise NoBoot(f"no boot script: {err}") from err
        return await run.run(script)


async def _text(http: Http, url: str, form: dict[str, str] | None) -> str:
    status, body = await http.call("GET" if form is None else "POST", url, form=form)
    if status >= 400:
        raise OSError(f"{url}: HTTP {status}")
    return body.decode("utf-8", "replace")

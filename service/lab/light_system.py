"""The installed system of a light machine: metadata, phone-home, and a real SSH server on the order's addresses."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Interface, ip_interface

import asyncssh
import structlog
from aiohttp import ClientError

from images.protocol import InstallSpec
from service.lab.board import Board, Installed
from service.lab.console import Login
from service.lab.ssh_connections import Connected

log = structlog.get_logger()


async def run_system(board: Board, installed: Installed) -> None:
    """Run until cancelled, which is how the power goes."""
    await board.enter("system")
    await board.clock.sleep(board.settings.system_s)
    Login(board.console, installed.spec["hostname"]).begin("Light system")
    addresses = own_addresses(installed.spec)
    listens = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_serve_ssh(board, installed, addresses, listens))
        if addresses:
            await listens.wait()  # as the real unit, which is ordered after the SSH server
            tasks.create_task(_phone_home(board, installed.spec, addresses[0]))


def own_addresses(spec: InstallSpec) -> list[IPv4Address]:
    """The public IPv4 addresses of the order, or else its private ones; a light rack has no IPv6 address to bind to."""
    given = spec["network"]["addresses"]
    of_four = [(address["public"], ip_interface(address["address"])) for address in given]
    found = {public: address.ip for public, address in of_four if isinstance(address, IPv4Interface)}
    return [found[True in found]] if found else []


def _image(spec: InstallSpec) -> str:
    """The hash of the image that the system came from."""
    return spec["image"]["url"].rpartition("/")[2]


async def _phone_home(board: Board, spec: InstallSpec, address: IPv4Address) -> None:
    """Read the metadata and phone home, at every boot, until both were heard."""
    if board.faults.never_phones_home or _image(spec) in board.faults.mute_images:
        return
    metadata = f"{spec['metadata_url'].rstrip('/')}/metadata"
    failures = 0
    while True:
        version = board.version
        if not board.carries(address):  # the order's port change is not through yet
            await board.newer_than(version)
            continue
        try:
            async with board.http(address) as http:
                status, _ = await http.call("GET", metadata)
                if status == 200:
                    body = {"instance_id": spec["instance_id"]}
                    status, _ = await http.call("POST", spec["phone_home_url"], json=body)
                if 200 <= status < 300:
                    return
                log.debug("light_phone_home_refused", machine=board.name, status=status)
        except (ClientError, OSError, TimeoutError) as err:
            log.debug("light_phone_home_failed", machine=board.name, detail=str(err))
        await board.clock.sleep(board.back_off_s(failures))
        failures += 1


async def _serve_ssh(board: Board, installed: Installed, addresses: list[IPv4Address], listens: asyncio.Event) -> None:
    """Listen on each address for as long as the port carries it; `listens` is set with the first."""
    listening: dict[IPv4Address, _Sshd] = {}
    try:
        while True:
            version = board.version
            for address in addresses:
                if board.carries(address) and address not in listening:
                    try:
                        listening[address] = await _Sshd.listen(board, installed, address)
                        listens.set()
                    except OSError as err:  # two machines with one address, or one that cannot be had here
                        log.warning("light_address_in_use", machine=board.name, address=str(address), detail=str(err))
                elif not board.carries(address) and address in listening:
                    listening.pop(address).close()
            await board.newer_than(version)
    finally:
        for sshd in listening.values():
            sshd.close()


class _Sshd:
    """An SSH server on one address, with the order's keys and the host key that the installer made."""

    def __init__(self) -> None:
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._acceptor: asyncssh.SSHAcceptor | None = None

    @classmethod
    async def listen(cls, board: Board, installed: Installed, address: IPv4Address) -> _Sshd:
        """Start it. Raises OSError where the address cannot be had."""
        sshd = cls()
        strange = _image(installed.spec) in board.faults.strange_images
        key = (
            asyncssh.generate_private_key("ssh-ed25519") if strange else asyncssh.import_private_key(installed.host_key)
        )
        keys = "\n".join(key for key in installed.spec["ssh_keys"] if key.strip())
        sshd._acceptor = await asyncssh.listen(
            str(address),
            board.settings.ssh_port,
            server_factory=lambda: Connected(sshd._connections),
            server_host_keys=[key],
            authorized_client_keys=asyncssh.import_authorized_keys(keys) if keys else None,
            process_factory=_session,
        )
        return sshd

    def close(self) -> None:
        """Stop, and cut the connections as a pulled cable or a lost power supply would."""
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self._connections):
            connection.abort()


async def _session(process: asyncssh.SSHServerProcess[str]) -> None:
    """Say a command back, or each line of a shell."""
    if process.command is not None:
        process.stdout.write(process.command + "\n")
    else:
        async for line in process.stdin:
            process.stdout.write(line)
    process.exit(0)
